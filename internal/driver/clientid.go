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
	"github.com/vaultferry/vaultferry/internal/classrule"
)

const (
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
	account := p.context[serviceAccountKey]
	if strings.TrimSpace(class.Spec.Parameters[classrule.ClientIDParameter]) == "" || account == "" || n.Accounts == nil {
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
		if other := classrule.OtherIdentity(class, account, annotations); other != nil {
			n.Events.Warn(p.pod, other.Reason.Name, other.Error())
		}
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
