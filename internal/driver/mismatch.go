// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// lookTimeout bounds the reads of a pod and a ServiceAccount. No mount waits for them.
	lookTimeout = 10 * time.Second
	// lookWorkers is for how many pods they are made at a time, so that a node full of pods that start at once is not a burst of
	// requests, each with a pod in memory.
	lookWorkers = 2
	// accountLife is how long annotations of a ServiceAccount are taken for its own.
	accountLife = time.Minute
)

// Accounts reads ServiceAccounts.
type Accounts interface {
	// Annotations returns a ServiceAccount's.
	Annotations(ctx context.Context, namespace, name string) (map[string]string, error)
}

// tellMismatches tells a pod that has just mounted a class what does not go together although everything works: it lacks the label that gives its
// own containers the identity, the class reads with another identity than the one that its ServiceAccount names, or a container will not see a rotation.
func (n *Node) tellMismatches(ctx context.Context, p publication, class *v1.SecretProviderClass) {
	since := time.Now()
	n.background.Go(func() {
		n.looks <- struct{}{}
		defer func() { <-n.looks }()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		defer cancel()
		n.Rush.pass(ctx, since)
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
		found = append(found, classrule.Unlabelled(p.class, clientID, pod.Metadata.Labels, "metadata.labels"))
	}
	if n.RefreshInterval > 0 {
		found = append(found, pod.subPaths("SecretProviderClass "+p.class, ofClass(p.class))...)
		for _, object := range class.Spec.SecretObjects {
			if object == nil {
				continue
			}
			if name := strings.TrimSpace(object.SecretName); name != "" {
				found = append(found, pod.subPaths("Secret "+name, ofSecret(name))...)
			}
		}
	}
	return slices.DeleteFunc(found, func(e *reason.Error) bool { return e == nil || classrule.Ignored(pod.Metadata.Annotations, e.Reason) })
}

func (n *Node) otherIdentity(ctx context.Context, p publication, class *v1.SecretProviderClass) *reason.Error {
	account := p.context[serviceAccountKey]
	if account == "" || n.Accounts == nil || classrule.ClientID(class) == "" {
		return nil
	}
	annotations, err := n.seenAccounts.annotations(ctx, n.Accounts, p.pod.namespace, account)
	if err != nil {
		n.Log.DebugContext(ctx, "Reading a service account", slog.String("pod", p.pod.String()), slog.Any("error", err))
		return nil
	}
	return classrule.OtherIdentity(class, account, annotations)
}

// accountCache keeps the annotations of ServiceAccounts for a while, so that pods of one that start together are one read.
type accountCache struct {
	reads singleflight.Group
	mu    sync.Mutex
	seen  map[string]seenAccount // by namespace/name
}

type seenAccount struct {
	annotations map[string]string
	until       time.Time
}

// annotations are those that were read less than accountLife ago. Failures are not kept.
func (c *accountCache) annotations(ctx context.Context, from Accounts, namespace, name string) (map[string]string, error) {
	key := namespace + "/" + name
	annotations, err, _ := c.reads.Do(key, func() (any, error) {
		if kept, ok := c.kept(key); ok {
			return kept, nil
		}
		read, err := from.Annotations(ctx, namespace, name)
		if err == nil {
			c.keep(key, read)
		}
		return read, err
	})
	read, _ := annotations.(map[string]string)
	return read, err
}

func (c *accountCache) kept(key string) (map[string]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	account, ok := c.seen[key]
	return account.annotations, ok && time.Now().Before(account.until)
}

func (c *accountCache) keep(key string, annotations map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(c.seen, func(_ string, account seenAccount) bool { return !now.Before(account.until) })
	if c.seen == nil {
		c.seen = map[string]seenAccount{}
	}
	c.seen[key] = seenAccount{annotations, now.Add(accountLife)}
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
