// SPDX-License-Identifier: Apache-2.0

package secretsync_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

// cluster is several nodes with a Syncer each, one API server, one vault, and everybody else who writes Secrets. Each file of a volume
// holds "<file>@<version>", and the vault's versions only grow, so a Secret tells how old its content is.
type cluster struct {
	server *server
	nodes  []*node
	// classes map Secret → key → file.
	classes map[string]map[string]map[string]string
	vault   map[string]int
	clock   time.Time

	// foreign are Secrets of others, as they were made.
	foreign map[string]*corev1.Secret
	// edited are Secrets in which somebody changed a key of ours: they are in conflict from then on.
	edited map[types.UID]bool
	// seen is what a Secret held after the last step.
	seen map[types.UID]*corev1.Secret
}

type node struct {
	name    string
	recheck time.Duration
	syncer  *secretsync.Syncer
	// volumes is what the node's pods have mounted, by class.
	volumes map[string]mounted
	// generation is that of the node's owners: one ReplicaSet per class and generation.
	generation int
}

type mounted struct {
	files  []secret.File
	readAt time.Time
}

func (n *node) owner(class string) metav1.OwnerReference {
	return replicaSet(fmt.Sprintf("%s-%s-%d", n.name, class, n.generation))
}

var (
	vaultFiles  = []string{"one", "two", "three"}
	secretNames = []string{"alpha", "beta"}
	classNames  = []string{"first", "second"}
)

func newCluster(t *rapid.T, tb testing.TB) *cluster {
	c := &cluster{
		server: newServer(tb), classes: map[string]map[string]map[string]string{}, vault: map[string]int{}, clock: time.Now().Add(-24 * time.Hour),
		foreign: map[string]*corev1.Secret{}, edited: map[types.UID]bool{}, seen: map[types.UID]*corev1.Secret{},
	}
	for i := range 3 {
		n := &node{name: "node-" + strconv.Itoa(i), recheck: time.Duration(i%2) * time.Hour, volumes: map[string]mounted{}}
		c.nodes = append(c.nodes, n)
		c.restart(n)
	}
	for _, class := range classNames {
		c.classes[class] = map[string]map[string]string{}
		for _, n := range c.nodes {
			c.read(n, class)
		}
	}
	c.drawEntry(t, "first")
	return c
}

func (c *cluster) restart(n *node) {
	syncer, err := secretsync.New(secretsync.Config{API: c.server, Recheck: n.recheck})
	if err != nil {
		panic(err)
	}
	n.syncer = syncer
}

func (c *cluster) read(n *node, class string) {
	c.clock = c.clock.Add(time.Second)
	var list []secret.File
	for _, name := range vaultFiles {
		list = append(list, file(name, fmt.Sprintf("%s@%d", name, c.vault[name])))
	}
	n.volumes[class] = mounted{files: list, readAt: c.clock}
}

func (c *cluster) drawEntry(t *rapid.T, class string) {
	name := rapid.SampledFrom(secretNames).Draw(t, "Secret")
	keys := rapid.MapOfN(rapid.SampledFrom([]string{"k1", "k2", "k3"}), rapid.SampledFrom(vaultFiles), 0, 3).Draw(t, "keys")
	if len(keys) == 0 {
		delete(c.classes[class], name)
	} else {
		c.classes[class][name] = keys
	}
}

func (c *cluster) class(name string) *v1.SecretProviderClass {
	made := &v1.SecretProviderClass{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, secretName := range slices.Sorted(maps.Keys(c.classes[name])) {
		object := &v1.SecretObject{SecretName: secretName, Type: "Opaque", Labels: map[string]string{"class": name}}
		for _, key := range slices.Sorted(maps.Keys(c.classes[name][secretName])) {
			object.Data = append(object.Data, &v1.SecretObjectData{Key: key, ObjectName: c.classes[name][secretName][key]})
		}
		made.Spec.SecretObjects = append(made.Spec.SecretObjects, object)
	}
	return made
}

func (c *cluster) sync(n *node, class string) {
	n.syncer.Sync(c.tb().Context(), secretsync.Mounted{
		Namespace: namespace, Pod: secretsync.Pod{Name: n.name}, Owners: []metav1.OwnerReference{n.owner(class)}, Class: c.class(class),
		Files: n.volumes[class].files, ReadAt: n.volumes[class].readAt,
	})
}

// observe is every node's watch.
func (c *cluster) observe() {
	for _, name := range secretNames {
		current := c.server.secret(namespace, name)
		if current == nil {
			current = &corev1.Secret{}
		}
		for _, n := range c.nodes {
			n.syncer.Observe(namespace, name, current.UID, current.ResourceVersion)
		}
	}
}

// forget takes the Secret out of the invariants about ours: somebody else rewrote it.
func (c *cluster) forget(uid types.UID) { delete(c.seen, uid) }

// versions returns the version of each vault file in a Secret's keys of ours.
func versions(t *rapid.T, current *corev1.Secret) map[string]int {
	held := map[string]int{}
	for key, value := range current.Data {
		name, version, ok := strings.Cut(string(value), "@")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(version)
		if err != nil {
			t.Fatalf("key %s holds %q", key, value)
		}
		held[name] = max(held[name], n)
	}
	return held
}

// check holds the Secrets against what they were before the step.
func (c *cluster) check(t *rapid.T) {
	for name, was := range c.foreign {
		if diff := cmp.Diff(was, c.server.secret(namespace, name)); diff != "" {
			t.Fatalf("foreign Secret %s changed: %s", name, diff)
		}
	}
	for _, name := range secretNames {
		current := c.server.secret(namespace, name)
		if current == nil || c.foreign[name] != nil {
			continue
		}
		if before := c.seen[current.UID]; before != nil {
			now, then := versions(t, current), versions(t, before)
			for file, version := range then {
				if again, there := now[file]; there && again < version {
					t.Fatalf("Secret %s went back from %s@%d to %d", name, file, version, again)
				}
			}
			if current.Annotations[secretsync.ReadAtAnnotation] < before.Annotations[secretsync.ReadAtAnnotation] {
				t.Fatalf("Secret %s went back in read time", name)
			}
			for _, owner := range before.OwnerReferences {
				if !slices.ContainsFunc(current.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == owner.UID }) {
					t.Fatalf("Secret %s lost its owner %s", name, owner.Name)
				}
			}
		}
		c.seen[current.UID] = current
	}
}

// settle lets every node see the present, and says what must hold then.
func (c *cluster) settle(t *rapid.T) {
	round := func() {
		for _, n := range c.nodes {
			for _, class := range classNames {
				c.read(n, class)
				c.sync(n, class)
			}
		}
	}
	round()
	round()
	writes, changes := c.server.writes(), c.server.changes
	round()
	if c.server.changes != changes {
		t.Fatal("an unchanged round changed something")
	}
	if conflicts := slices.ContainsFunc(secretNames, func(name string) bool {
		current := c.server.secret(namespace, name)
		return current != nil && c.edited[current.UID]
	}); c.server.writes() != writes && !conflicts {
		t.Fatalf("an unchanged round wrote %d times", c.server.writes()-writes)
	}
	for _, name := range secretNames {
		current := c.server.secret(namespace, name)
		if current == nil || c.foreign[name] != nil || c.edited[current.UID] {
			continue
		}
		keys, wanted := c.classes[current.Annotations[secretsync.ClassAnnotation]][name]
		if !wanted {
			continue
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(keys)), ownKeys(t, current)); diff != "" {
			t.Fatalf("Secret %s: keys of the class and keys of ours: %s", name, diff)
		}
		for key, file := range keys {
			if want := fmt.Sprintf("%s@%d", file, c.vault[file]); string(current.Data[key]) != want {
				t.Fatalf("Secret %s: %s holds %s, want %s", name, key, current.Data[key], want)
			}
		}
	}
}

func ownKeys(t *rapid.T, current *corev1.Secret) []string {
	var keys []string
	for _, entry := range current.ManagedFields {
		if entry.Manager != secretsync.FieldManager {
			continue
		}
		var fields struct {
			Data map[string]any `json:"f:data"`
		}
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			t.Fatal(err)
		}
		for field := range fields.Data {
			if key, ok := strings.CutPrefix(field, "f:"); ok {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (c *cluster) tb() testing.TB { return c.server.tb }

// ours returns a Secret that carries our label, nil if there is none.
func (c *cluster) ours(t *rapid.T) *corev1.Secret {
	name := rapid.SampledFrom(secretNames).Draw(t, "Secret")
	if c.foreign[name] != nil {
		return nil
	}
	return c.server.secret(namespace, name)
}

// make makes a Secret of somebody else, if there is none of that name.
func (c *cluster) make(name string) {
	if c.server.secret(namespace, name) == nil {
		c.foreign[name] = c.server.put(c.tb(), "kubectl-create", &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: "Opaque", Data: map[string][]byte{"k1": []byte("theirs")},
		})
	}
}

func (c *cluster) actions() map[string]func(*rapid.T) {
	aNode := func(t *rapid.T) *node { return rapid.SampledFrom(c.nodes).Draw(t, "node") }
	aClass := func(t *rapid.T) string { return rapid.SampledFrom(classNames).Draw(t, "class") }
	return map[string]func(*rapid.T){
		"vault changes": func(t *rapid.T) { c.vault[rapid.SampledFrom(vaultFiles).Draw(t, "file")]++ },
		"node reads":    func(t *rapid.T) { c.read(aNode(t), aClass(t)) },
		"node syncs":    func(t *rapid.T) { c.sync(aNode(t), aClass(t)) },
		"nodes race": func(t *rapid.T) {
			slow, fast, class, other := aNode(t), aNode(t), aClass(t), aClass(t)
			if slow != fast {
				c.server.between = func() {
					c.sync(fast, other)
					c.check(t)
				}
			}
			c.sync(slow, class)
			c.server.between = nil
		},
		"somebody is faster": func(t *rapid.T) {
			c.server.between = func() {
				for _, name := range secretNames {
					c.make(name)
				}
			}
			c.sync(aNode(t), aClass(t))
			c.server.between = nil
			c.observe()
		},
		"class is edited": func(t *rapid.T) { c.drawEntry(t, aClass(t)) },
		"node restarts":   func(t *rapid.T) { c.restart(aNode(t)) },
		"Deployment rolls": func(t *rapid.T) {
			aNode(t).generation++
		},
		"old owners go": func(t *rapid.T) {
			n := aNode(t)
			c.server.collect(c.tb(), func(o metav1.OwnerReference) bool {
				return strings.HasPrefix(o.Name, n.name) && !strings.HasSuffix(o.Name, "-"+strconv.Itoa(n.generation))
			})
			c.seen = map[types.UID]*corev1.Secret{}
			c.observe()
		},
		"somebody makes a Secret": func(t *rapid.T) {
			c.make(rapid.SampledFrom(secretNames).Draw(t, "Secret"))
			c.observe()
		},
		"somebody deletes a Secret": func(t *rapid.T) {
			name := rapid.SampledFrom(secretNames).Draw(t, "Secret")
			c.server.remove(namespace, name)
			delete(c.foreign, name)
			c.observe()
		},
		"somebody adds to a Secret": func(t *rapid.T) {
			if current := c.ours(t); current != nil {
				c.server.edit(c.tb(), "kubectl-edit", namespace, current.Name, func(s *corev1.Secret) {
					s.Labels["theirs"], s.Data["theirs"] = "x", []byte("y")
				})
			}
			c.observe()
		},
		"somebody changes a key of ours": func(t *rapid.T) {
			current := c.ours(t)
			if current == nil || len(ownKeys(t, current)) == 0 {
				return
			}
			key := rapid.SampledFrom(ownKeys(t, current)).Draw(t, "key")
			c.server.edit(c.tb(), "kubectl-edit", namespace, current.Name, func(s *corev1.Secret) { s.Data[key] = []byte("by hand") })
			c.edited[current.UID] = true
			c.observe()
		},
		"the former driver writes": func(t *rapid.T) {
			name := rapid.SampledFrom(secretNames).Draw(t, "Secret")
			if c.foreign[name] != nil {
				return
			}
			written := c.server.put(c.tb(), former, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{v1.ManagedLabel: "true"}},
				Type:       "Opaque", Data: map[string][]byte{"k1": []byte("one@0"), "k9": []byte("old")},
			})
			c.forget(written.UID)
			delete(c.edited, written.UID)
			c.observe()
		},
		"all is quiet": c.settle,
		"":             c.check,
	}
}

func TestNodesAgreeWhateverHappens(t *testing.T) {
	synctest.Test(t, func(tb *testing.T) {
		rapid.Check(withoutDeadline{tb}, func(t *rapid.T) {
			c := newCluster(t, tb)
			t.Repeat(c.actions())
			c.settle(t)
			c.check(t)
		})
	})
}

// withoutDeadline hides testing.T's deadline, which has no meaning in a bubble of fake time.
type withoutDeadline struct{ testing.TB }
