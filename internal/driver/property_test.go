// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// machine is a driver with its volumes and Secret, to which everything happens in any order. The vault's value only grows, and every file
// of a payload holds the same one, so that a mixture and a step back both show.
type machine struct {
	*clockwork
	secrets *secretWorld
	stop    func()
	// value is what the vault holds; class is how many files the class asks for.
	value, class int
	// seen is the highest value that each mounted volume, and the Secret, has shown.
	seen       map[int]int
	seenSecret int
	// edited says that somebody else wrote the Secret last.
	edited bool
	// delays says by how much the next answer of the provider is late.
	delays atomic.Int64
}

const machineVolumes = 2

func newMachine(tb *testing.T) *machine {
	m := &machine{
		clockwork: newClockwork(tb), secrets: newSecretWorld(tb), value: 1, class: 1, seen: map[int]int{},
	}
	m.content()
	m.setClass(m.wanted)
	m.begin()
	return m
}

// wanted is the class with its number of files.
func (m *machine) wanted(class *v1.SecretProviderClass) {
	class.Spec.Parameters["files"] = strconv.Itoa(m.class)
	class.Spec.SecretObjects = []*v1.SecretObject{
		{SecretName: "app-db", Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "db", Key: "k"}}},
	}
}

func (m *machine) content() {
	files := map[string]string{"db": strconv.Itoa(m.value)}
	for i := 1; i < m.class; i++ {
		files[fmt.Sprint("more-", i)] = strconv.Itoa(m.value)
	}
	m.set(files, nil)
}

// begin starts a driver that knows nothing, on the mounts and Secrets that are there.
func (m *machine) begin() {
	mounter := m.Mounter
	m.restart()
	fresh := newSecretWorld(m.t)
	fresh.secrets, fresh.version, fresh.pods, fresh.fail = m.secrets.secrets, m.secrets.version, m.secrets.pods, m.secrets.fail
	fresh.pods["payments/web"].UID = "uid"
	m.secrets = fresh
	m.Mounter, m.Providers, m.Secrets = mounter, m, fresh
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	node := m.Node
	running.Go(func() { node.Run(ctx) })
	running.Go(func() { fresh.Run(ctx) })
	m.stop = func() { cancel(); running.Wait() }
}

// Mount implements [ContentSource]. An answer takes a while to arrive, one longer than another, so that what was read first can be written last.
func (m *machine) Mount(
	ctx context.Context, provider string, req *v1alpha1.MountRequest, waiting func(*reason.Error),
) (*v1alpha1.MountResponse, error) {
	answer, err := m.clockwork.Mount(ctx, provider, req, waiting)
	if err != nil {
		return nil, err
	}
	delay := m.delays.Add(7)
	if delay%2 == 0 { // not every provider tells
		answer.ReadAtUnixMilli = time.Now().UnixMilli()
	}
	time.Sleep(time.Duration(delay%30) * time.Millisecond)
	return answer, nil
}

func (m *machine) mounted(volume int) bool {
	there, err := m.Mounter.Mounted(filepath.Join(m.dir, strconv.Itoa(volume)))
	return there && err == nil
}

func (m *machine) actions() map[string]func(*rapid.T) {
	volume := func(t *rapid.T) int { return rapid.IntRange(0, machineVolumes-1).Draw(t, "volume") }
	return map[string]func(*rapid.T){
		"kubelet publishes": func(t *rapid.T) {
			v := volume(t)
			was := m.mounted(v)
			_, err := m.publishLocked(context.Background(), m.publication(v, "t"))
			switch {
			case err != nil && was:
				t.Fatalf("a volume that was mounted fails: %v", err)
			case err == nil && !was:
				m.seen[v] = 0
			}
		},
		"kubelet unpublishes": func(t *rapid.T) {
			v := volume(t)
			if err := m.unpublishLocked(context.Background(), filepath.Join(m.dir, strconv.Itoa(v))); err != nil {
				t.Fatal(err)
			}
			delete(m.seen, v)
		},
		"the vault gets a new value": func(*rapid.T) {
			time.Sleep(10 * time.Millisecond) // reads in the same millisecond cannot be told apart
			m.value++
			m.content()
		},
		"the vault is away": func(*rapid.T) { m.set(nil, reason.New(reason.VaultUnreachable, "", "no answer")) },
		"the vault is back": func(*rapid.T) { m.content() },
		"the class is edited": func(t *rapid.T) {
			m.class = rapid.IntRange(1, 4).Draw(t, "files")
			m.content()
			m.setClass(m.wanted)
			m.tellClass()
		},
		"somebody asks for a rotation": func(t *rapid.T) {
			m.setClass(func(class *v1.SecretProviderClass) {
				m.wanted(class)
				class.Annotations = map[string]string{v1.RotateAnnotation: rapid.StringN(1, 4, -1).Draw(t, "when")}
			})
			m.tellClass()
		},
		"somebody edits the Secret": func(*rapid.T) {
			m.changeSecret(func() {
				if s := m.secrets.secrets["payments/app-db"]; s != nil {
					m.secrets.version++
					s.Data, s.ResourceVersion, m.edited = map[string][]byte{"k": []byte("by hand")}, strconv.Itoa(m.secrets.version), true
				}
			})
		},
		"somebody deletes the Secret": func(*rapid.T) {
			m.changeSecret(func() { delete(m.secrets.secrets, "payments/app-db"); m.edited, m.seenSecret = false, 0 })
		},
		"the API server refuses": func(*rapid.T) { m.apiFails(apierrors.NewInternalError(errors.New("etcd"))) },
		"the API server is back": func(*rapid.T) { m.apiFails(nil) },
		"the driver restarts":    func(*rapid.T) { m.stop(); m.begin() },
		"a moment passes":        func(*rapid.T) { time.Sleep(3 * time.Second) },
		"an interval passes":     func(*rapid.T) { time.Sleep(testInterval) },
		"":                       m.check,
	}
}

func (m *machine) tellClass() {
	var targets []string
	for v := range machineVolumes {
		targets = append(targets, filepath.Join(m.dir, strconv.Itoa(v)))
	}
	m.classes.changed(m.classes.classes["payments/app-kv"], targets)
}

func (m *machine) apiFails(err error) {
	m.secrets.mu.Lock()
	defer m.secrets.mu.Unlock()
	m.secrets.fail = err
}

// changeSecret has somebody else do something with the Secret, and the watch tell of it.
func (m *machine) changeSecret(how func()) {
	synctest.Wait()
	m.secrets.mu.Lock()
	how()
	var uid types.UID
	version := ""
	if s := m.secrets.secrets["payments/app-db"]; s != nil {
		uid, version = s.UID, s.ResourceVersion
	}
	tell := m.secrets.watches["payments/app-db"]
	m.secrets.mu.Unlock()
	if tell != nil {
		tell(uid, version)
	}
}

// check looks at everything as pods and other controllers see it.
func (m *machine) check(t *rapid.T) {
	synctest.Wait()
	for v := range m.seen {
		if !m.mounted(v) {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(m.dir, strconv.Itoa(v)))
		if err != nil {
			t.Fatal(err)
		}
		shown := -1
		for _, entry := range entries {
			if entry.Name()[0] == '.' {
				continue
			}
			content, err := os.ReadFile(filepath.Join(m.dir, strconv.Itoa(v), entry.Name()))
			if err != nil {
				t.Fatalf("volume %d: %v", v, err)
			}
			value, err := strconv.Atoi(string(content))
			if err != nil || shown >= 0 && value != shown {
				t.Fatalf("volume %d mixes payloads: %s holds %q beside %d", v, entry.Name(), content, shown)
			}
			shown = value
		}
		if shown < m.seen[v] {
			t.Fatalf("volume %d went from %d to %d", v, m.seen[v], shown)
		}
		m.seen[v] = shown
	}
	m.secrets.mu.Lock()
	defer m.secrets.mu.Unlock()
	s := m.secrets.secrets["payments/app-db"]
	if s == nil {
		return
	}
	value, err := strconv.Atoi(string(s.Data["k"]))
	switch {
	case err != nil && !m.edited:
		t.Fatalf("the Secret holds %q", s.Data["k"])
	case err != nil:
		return
	case value < m.seenSecret:
		t.Fatalf("the Secret went from %d to %d", m.seenSecret, value)
	}
	m.seenSecret, m.edited = value, false
}

// settle takes all trouble away and waits: then every volume, and the Secret where there is a volume, holds what the vault does.
func (m *machine) settle(t *rapid.T) {
	m.content()
	m.apiFails(nil)
	for range 2 {
		for v := range m.seen {
			if _, err := m.publishLocked(context.Background(), m.publication(v, "t")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2*testInterval + syncRetryMost)
	}
	m.check(t)
	for v, shown := range m.seen {
		if shown != m.value {
			t.Errorf("in the end volume %d holds %d, the vault %d", v, shown, m.value)
		}
	}
	if len(m.seen) > 0 && m.seenSecret != m.value {
		t.Errorf("in the end the Secret holds %d, the vault %d", m.seenSecret, m.value)
	}
}

func TestWhateverHappensAVolumeHoldsOnePayload(t *testing.T) {
	synctest.Test(t, func(tb *testing.T) {
		rapid.Check(withoutDeadline{tb}, func(t *rapid.T) {
			m := newMachine(tb)
			defer func() { m.stop() }()
			t.Repeat(m.actions())
			m.settle(t)
		})
	})
}

// withoutDeadline hides testing.T's deadline, which has no meaning in a bubble of fake time.
type withoutDeadline struct{ testing.TB }
