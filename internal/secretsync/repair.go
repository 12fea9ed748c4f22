// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vaultferry/vaultferry/internal/core"
)

const (
	// mostRepairs in repairWindow bound how often changes of a Secret are undone: somebody who makes them again and again, such as another
	// controller, is told instead of fought.
	mostRepairs  = 3
	repairWindow = 10 * time.Minute
)

// repairs remembers when changes were undone.
type repairs struct {
	mu   sync.Mutex
	done map[types.NamespacedName][]time.Time
}

// allow reports whether a change of our Secret may be undone, and counts it. A change is a person's if it was an update; who applies a field
// means to keep it, and a conflict between two that apply is for people to settle.
func (r *repairs) allow(key types.NamespacedName, current *core.Secret, managers []string, now time.Time) bool {
	if current == nil || len(managers) == 0 {
		return false
	}
	for _, entry := range current.ManagedFields {
		if entry.Operation == metav1.ManagedFieldsOperationApply && slices.Contains(managers, entry.Manager) {
			return false
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	recent := slices.DeleteFunc(r.done[key], func(at time.Time) bool { return now.Sub(at) >= repairWindow })
	if len(recent) >= mostRepairs {
		r.done[key] = recent
		return false
	}
	if r.done == nil || len(r.done) > 10_000 {
		r.done = map[types.NamespacedName][]time.Time{}
	}
	r.done[key] = append(recent, now)
	return true
}
