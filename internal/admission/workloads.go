// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"bytes"
	"context"
	"log/slog"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/vaultferry/vaultferry/internal/lint"
)

// Workloads answers reviews of pods and of what makes pods: warnings at most.
func (v *Validator) Workloads(ctx context.Context, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	workload, err := lint.WorkloadOf(request.Kind.Kind, request.Namespace, request.Name, request.Object.Raw)
	if workload == nil || err != nil {
		return allowed(nil) // a deletion, a kind without pods, or what the API server itself will refuse
	}
	if len(workload.Pod.Spec.Containers) == 0 || v.sameTemplate(request, workload) {
		return allowed(nil)
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	findings, err := lint.Pod(ctx, v.World, *workload)
	if err != nil {
		v.Log.DebugContext(ctx, "Reading what a workload uses",
			slog.String("kind", request.Kind.Kind), slog.String("name", request.Namespace+"/"+request.Name), slog.Any("error", err))
	}
	return allowed(warnings(findings))
}

// sameTemplate reports whether an update leaves the pods as they are.
func (v *Validator) sameTemplate(request *admissionv1.AdmissionRequest, workload *lint.Workload) bool {
	if len(request.OldObject.Raw) == 0 || bytes.Equal(request.OldObject.Raw, []byte("null")) {
		return false
	}
	old, err := lint.WorkloadOf(request.Kind.Kind, request.Namespace, request.Name, request.OldObject.Raw)
	return err == nil && old != nil && equality.Semantic.DeepEqual(old.Pod, workload.Pod)
}
