// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/vaultferry/vaultferry/internal/core"
)

// fingerprint identifies what a class wants of a Secret. It is keyed, so that a memory dump does not let anybody guess short secrets.
type fingerprint [sha256.Size]byte

// known is a Secret that was seen to hold what is wanted.
type known struct {
	version
	wanted fingerprint
	owners sets.Set[types.UID]
	// confirmed is the latest time at which this content was read from its source.
	confirmed time.Time
	// seen is when the API server last told of it; zero where it is to be looked at first.
	seen time.Time
}

// version is one state of a Secret; the zero value, that it is gone.
type version struct {
	uid             types.UID
	resourceVersion string
}

func versionOf(s *core.Secret) version { return version{s.UID, s.ResourceVersion} }

// forgetAfter is how long an entry is kept that nobody asks for.
const forgetAfter = time.Hour

// memory holds what is known of Secrets: no content, only fingerprints.
type memory struct {
	key     [32]byte
	recheck time.Duration

	mu      sync.Mutex
	secrets map[types.NamespacedName]known
	// underway holds the Secrets that are being looked at and written, with the state that a watch last told of since that began; nil for none.
	underway map[types.NamespacedName]*version
	// sweepAt is the number of entries at which old ones are looked for.
	sweepAt int
}

func newMemory(recheck time.Duration) *memory {
	m := &memory{
		recheck: recheck, secrets: map[types.NamespacedName]known{}, underway: map[types.NamespacedName]*version{}, sweepAt: 64,
	}
	_, _ = rand.Read(m.key[:]) // never fails
	return m
}

// unchanged reports whether a Secret needs no look: what is wanted is what was there not long ago. The read time is kept.
func (m *memory) unchanged(key types.NamespacedName, wanted fingerprint, owners []metav1.OwnerReference, readAt, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.secrets[key]
	if !ok || k.wanted != wanted || now.Sub(k.seen) >= m.recheck {
		return false
	}
	for _, owner := range owners {
		if !k.owners.Has(owner.UID) {
			return false
		}
	}
	if readAt.After(k.confirmed) {
		k.confirmed = readAt
		m.secrets[key] = k
	}
	return true
}

// confirmed returns when the content of current was last read, zero if that is not known of this very version.
func (m *memory) confirmed(key types.NamespacedName, current *core.Secret) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.secrets[key]; ok && current != nil && k.version == versionOf(current) {
		return k.confirmed
	}
	return time.Time{}
}

// begin has what a watch tells of a Secret from now on count for [memory.keep], until end. There is one such time for a Secret at once.
func (m *memory) begin(key types.NamespacedName) (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.underway[key] = nil
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.underway, key)
	}
}

// keep remembers that current holds what is wanted, read at the given time. read is the Secret as it was before, nil if it was absent.
// Current is not believed if a watch has told of yet another state meanwhile: it may be the later one, and nobody tells of it again.
func (m *memory) keep(key types.NamespacedName, wanted fingerprint, read, current *core.Secret, confirmed, now time.Time) {
	owners := sets.New[types.UID]()
	for _, owner := range current.OwnerReferences {
		owners.Insert(owner.UID)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := known{version: versionOf(current), wanted: wanted, owners: owners, confirmed: confirmed, seen: now}
	if told := m.underway[key]; told != nil && *told != kept.version && (read == nil || *told != versionOf(read)) {
		kept.seen = time.Time{}
	}
	m.secrets[key] = kept
	if len(m.secrets) < m.sweepAt {
		return
	}
	maps.DeleteFunc(m.secrets, func(_ types.NamespacedName, k known) bool { return now.Sub(k.seen) > m.recheck+forgetAfter })
	m.sweepAt = max(64, 2*len(m.secrets))
}

// observe drops what is known of a Secret unless it is about this very version.
func (m *memory) observe(key types.NamespacedName, uid types.UID, resourceVersion string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	told := version{uid, resourceVersion}
	if k, ok := m.secrets[key]; ok && k.version != told {
		delete(m.secrets, key)
	}
	if _, ok := m.underway[key]; ok {
		m.underway[key] = &told
	}
}

// doubt has a Secret looked at before it is believed to hold what it did. When its content was read stays known.
func (m *memory) doubt(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.secrets[key]; ok {
		k.seen = time.Time{}
		m.secrets[key] = k
	}
	if _, ok := m.underway[key]; ok {
		m.underway[key] = &version{}
	}
}

func (m *memory) fingerprint(class string, want Secret) fingerprint {
	digest := hmac.New(sha256.New, m.key[:])
	field(digest, []byte(class))
	field(digest, []byte(want.Type))
	for _, pairs := range []map[string]string{want.Labels, want.Annotations} {
		number(digest, len(pairs))
		for _, key := range slices.Sorted(maps.Keys(pairs)) {
			field(digest, []byte(key))
			field(digest, []byte(pairs[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Data)) {
		field(digest, []byte(key))
		field(digest, want.Data[key].Reveal())
	}
	var f fingerprint
	digest.Sum(f[:0])
	return f
}

// field writes content behind its length, so that no two Secrets share an encoding.
func field(digest hash.Hash, content []byte) {
	number(digest, len(content))
	digest.Write(content)
}

func number(digest hash.Hash, n int) { _ = binary.Write(digest, binary.BigEndian, uint64(n)) }
