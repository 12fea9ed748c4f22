// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

const (
	// clientIDAnnotation on a ServiceAccount is the client id that its pods act with (Azure AD Workload Identity, "Service Account labels and
	// annotations"); clientIDParameter on a class is the one that the class reads with.
	clientIDAnnotation = "azure.workload.identity/client-id"
	clientIDParameter  = "clientID"
	// clientIDMismatch is the event's reason.
	clientIDMismatch = "ClientIDMismatch"
	// accountTimeout bounds the read of a ServiceAccount. No mount waits for it.
	accountTimeout = 10 * time.Second
)

// Accounts reads ServiceAccounts.
type Accounts interface {
	// Annotations returns a ServiceAccount's.
	Annotations(ctx context.Context, namespace, name string) (map[string]string, error)
}

// compareClientIDs tells the pod when its class reads with another identity than the one that its ServiceAccount names. Both work by
// themselves, so that nobody else would.
func (n *Node) compareClientIDs(ctx context.Context, p publication, class *v1.SecretProviderClass) {
	used, account := strings.TrimSpace(class.Spec.Parameters[clientIDParameter]), p.context[serviceAccountKey]
	if used == "" || account == "" || n.Accounts == nil {
		return
	}
	n.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), accountTimeout)
		defer cancel()
		annotations, err := n.Accounts.Annotations(ctx, p.pod.namespace, account)
		if err != nil {
			n.Log.DebugContext(ctx, "Reading a service account", slog.String("pod", p.pod.String()), slog.Any("error", err))
			return
		}
		named := strings.TrimSpace(annotations[clientIDAnnotation])
		if named == "" || strings.EqualFold(named, used) {
			return
		}
		n.Events.Warn(p.pod, clientIDMismatch, "SecretProviderClass "+p.class+" reads with clientID "+used+", but ServiceAccount "+account+
			" is annotated with "+clientIDAnnotation+": "+named+"; the class's counts for the mount, the annotation for the pod's own Azure calls: make them equal unless both are meant")
	})
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
