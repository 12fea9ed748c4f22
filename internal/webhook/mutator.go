// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// AccountReader finds ServiceAccounts.
type AccountReader interface {
	Account(ctx context.Context, namespace, name string) (Account, error)
}

// MutatorConfig is what a [Mutator] needs.
type MutatorConfig struct {
	Settings Settings
	Accounts AccountReader
	Metrics  *Metrics
	Log      *slog.Logger
}

// Mutator gives pods what workload identity needs.
type Mutator struct{ config MutatorConfig }

// NewMutator returns a Mutator.
func NewMutator(config MutatorConfig) *Mutator { return &Mutator{config} }

// Handle is a [Handler] for pods that are created. It does not look for the label: the webhook's configuration selects by it.
func (m *Mutator) Handle(ctx context.Context, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	start := time.Now()
	defer func() { m.config.Metrics.mutated(request.Namespace, time.Since(start)) }()
	p, err := parsePod(request.Object.Raw)
	if err != nil {
		return m.deny(ctx, request, "", reason.New(reason.RequestInvalid, "", "%w", err))
	}
	account, err := m.config.Accounts.Account(ctx, request.Namespace, p.serviceAccount())
	if err != nil {
		return m.deny(ctx, request, p.displayName(), err)
	}
	patch, warnings, err := m.config.Settings.mutate(p, account)
	if err != nil {
		return m.deny(ctx, request, p.displayName(), err)
	}
	response := &admissionv1.AdmissionResponse{Allowed: true, Warnings: warnings}
	if len(patch) == 0 {
		return response
	}
	if response.Patch, err = json.Marshal(patch); err != nil {
		return m.deny(ctx, request, p.displayName(), fmt.Errorf("encoding the patch: %w", err))
	}
	response.PatchType = new(admissionv1.PatchTypeJSONPatch)
	m.config.Log.DebugContext(ctx, "Pod mutated", slog.String("namespace", request.Namespace), slog.String("pod", p.displayName()),
		slog.String("service-account", p.serviceAccount()), slog.Int("operations", len(patch)))
	return response
}

// deny refuses a pod. The message begins with what version 1.6.0 of the Azure webhook says, and the reason's name is the status's.
func (m *Mutator) deny(ctx context.Context, request *admissionv1.AdmissionRequest, name string, err error) *admissionv1.AdmissionResponse {
	m.config.Log.WarnContext(ctx, "Pod denied", slog.String("namespace", request.Namespace), slog.String("pod", name), slog.Any("error", err))
	status := &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusBadRequest, Message: err.Error()}
	if e, ok := reason.From(err); ok {
		status.Reason, status.Message = metav1.StatusReason(e.Reason.Name), e.Message
		if e.Next != "" {
			status.Message += "; " + e.Next
		}
	}
	return &admissionv1.AdmissionResponse{Result: status}
}
