// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/consumption"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// lookTimeout bounds the reads of a pod and a ServiceAccount. No mount waits for them.
	lookTimeout = 10 * time.Second
	// lookWorkers is for how many pods they are made at a time, so that a node full of pods that start at once is not a burst of
	// requests, each with a pod in memory.
	lookWorkers = 2
)

// Accounts reads ServiceAccounts.
type Accounts interface {
	// Annotations returns a ServiceAccount's.
	Annotations(ctx context.Context, namespace, name string) (map[string]string, error)
}

// PodReader reads pods.
type PodReader interface {
	// ReadPod returns a pod as it was not long ago, nil if it is gone.
	ReadPod(ctx context.Context, namespace, name string) (*corev1.Pod, error)
}

// tellMismatches tells a pod that has just mounted a class what does not go together although everything works: it lacks the label that gives its
// own containers the identity, the class reads with another identity than the one that its ServiceAccount names, or a container will not see a rotation.
func (n *Node) tellMismatches(ctx context.Context, p publication, class *v1.SecretProviderClass) {
	n.background.Go(func() {
		n.looks <- struct{}{}
		defer func() { <-n.looks }()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		defer cancel()
		for _, mismatch := range append(n.podMismatches(ctx, p, class), n.otherIdentity(ctx, p, class)) {
			if mismatch != nil {
				n.Events.Warn(p.pod, mismatch.Reason.Name, mismatch.Error())
			}
		}
	})
}

func (n *Node) podMismatches(ctx context.Context, p publication, class *v1.SecretProviderClass) []*reason.Error {
	clientID := classrule.ClientID(class)
	if n.Pods == nil || clientID == "" && n.RefreshInterval == 0 {
		return nil
	}
	pod, err := n.Pods.ReadPod(ctx, p.pod.namespace, p.pod.name)
	if err != nil || pod == nil {
		n.Log.DebugContext(ctx, "Reading a pod", slog.String("pod", p.pod.String()), slog.Any("error", err))
		return nil
	}
	var found []*reason.Error
	if clientID != "" {
		found = append(found, classrule.Unlabelled(p.class, clientID, pod.Labels, "metadata.labels"))
	}
	if n.RefreshInterval > 0 {
		found = append(found, subPaths(pod, consumption.Change{Class: p.class})...)
		for _, object := range class.Spec.SecretObjects {
			if object != nil {
				found = append(found, subPaths(pod, consumption.Change{Secret: strings.TrimSpace(object.SecretName)})...)
			}
		}
	}
	return slices.DeleteFunc(found, func(e *reason.Error) bool { return e == nil || classrule.Ignored(pod.Annotations, e.Reason) })
}

// subPaths returns the mounts of a pod that never see what changes.
func subPaths(pod *corev1.Pod, change consumption.Change) []*reason.Error {
	var found []*reason.Error
	for _, container := range consumption.Of(pod, change) {
		for _, use := range container.Consumptions {
			if use.BySubPath() {
				found = append(found, classrule.SubPath(string(container.Role), container.Name, use.Part, change.Name(), use.Ref))
			}
		}
	}
	return found
}

func (n *Node) otherIdentity(ctx context.Context, p publication, class *v1.SecretProviderClass) *reason.Error {
	account := p.context[serviceAccountKey]
	if account == "" || n.Accounts == nil || classrule.ClientID(class) == "" {
		return nil
	}
	annotations, err := n.Accounts.Annotations(ctx, p.pod.namespace, account)
	if err != nil {
		n.Log.DebugContext(ctx, "Reading a service account", slog.String("pod", p.pod.String()), slog.Any("error", err))
		return nil
	}
	return classrule.OtherIdentity(class, account, annotations)
}

// Annotations implements [Accounts].
func (k *Kube) Annotations(ctx context.Context, namespace, name string) (map[string]string, error) {
	content, err := k.core.Get().Namespace(namespace).Resource("serviceaccounts").Name(name).
		SetHeader("Accept", metadataOnly).Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("reading service account %s/%s: %w", namespace, name, err)
	}
	var account metav1.PartialObjectMetadata
	if err := json.Unmarshal(content, &account); err != nil {
		return nil, fmt.Errorf("reading service account %s/%s: %w", namespace, name, err)
	}
	return account.Annotations, nil
}

// ReadPod implements [PodReader].
func (k *Kube) ReadPod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	content, err := k.core.Get().Namespace(namespace).Resource("pods").Name(name).Param("resourceVersion", "0").Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // as the interface says
	}
	if err != nil {
		return nil, fmt.Errorf("reading pod %s/%s: %w", namespace, name, err)
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(content, pod); err != nil {
		return nil, fmt.Errorf("reading pod %s/%s: %w", namespace, name, err)
	}
	return pod, nil
}
