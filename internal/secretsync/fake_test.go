// SPDX-License-Identifier: Apache-2.0

package secretsync_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/applyconfigurations"

	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

// server is an API server for Secrets: the field management of k8s.io/apimachinery, which is that of the real one, around a map. What it adds
// follows k8s.io/apiserver: uid and resourceVersion as preconditions (handlers/patch.go, registry/store.go) and immutable fields.
type server struct {
	tb     testing.TB
	fields *managedfields.FieldManager

	mu       sync.Mutex
	secrets  map[types.NamespacedName]*corev1.Secret
	revision int
	// calls counts requests by verb, changes counts what reached the storage.
	calls   map[string]int
	changes int
	// fail is asked before each request; nil lets it pass.
	fail func(verb string) error
	// between runs once, after the next Get, as another writer would.
	between func()
}

var secretKind = corev1.SchemeGroupVersion.WithKind("Secret")

func newServer(t testing.TB) *server {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	fields, err := managedfields.NewDefaultFieldManager(applyconfigurations.NewTypeConverter(scheme), scheme, noDefaults{}, scheme,
		secretKind, corev1.SchemeGroupVersion, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &server{tb: t, fields: fields, secrets: map[types.NamespacedName]*corev1.Secret{}, revision: 100, calls: map[string]int{}}
}

type noDefaults struct{}

func (noDefaults) Default(runtime.Object) {}

var resource = corev1.Resource("secrets")

func (s *server) begin(verb string) error {
	s.calls[verb]++
	if s.fail != nil {
		return s.fail(verb)
	}
	return nil
}

func (s *server) get(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer func() {
		between := s.between
		s.between = nil
		s.mu.Unlock()
		if between != nil {
			between()
		}
	}()
	if err := s.begin("get"); err != nil {
		return nil, err
	}
	live := s.secrets[types.NamespacedName{Namespace: namespace, Name: name}]
	if live == nil {
		return nil, apierrors.NewNotFound(resource, name)
	}
	return live.DeepCopy(), nil
}

func (s *server) Apply(ctx context.Context, namespace, name string, body []byte, force bool) (*core.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin("apply"); err != nil {
		return nil, err
	}
	return answered(s.apply(ctx, namespace, name, body, secretsync.FieldManager, force))
}

func (s *server) Get(ctx context.Context, namespace, name string) (*core.Secret, error) {
	return answered(s.get(ctx, namespace, name))
}

func (s *server) Patch(ctx context.Context, namespace, name string, patch []byte) (*core.Secret, error) {
	return answered(s.patch(ctx, namespace, name, patch))
}

// answered is what the client makes of the API server's answer.
func answered(whole *corev1.Secret, err error) (*core.Secret, error) {
	if whole == nil || err != nil {
		return nil, err
	}
	content, err := json.Marshal(whole)
	if err != nil {
		return nil, err
	}
	answer := &core.Secret{}
	return answer, json.Unmarshal(content, answer)
}

func (s *server) apply(_ context.Context, namespace, name string, body []byte, manager string, force bool) (*corev1.Secret, error) {
	applied := &corev1.Secret{}
	if err := json.Unmarshal(body, applied); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	live, exists := s.secrets[key]
	if !exists {
		live = &corev1.Secret{}
		live.SetGroupVersionKind(secretKind)
	}
	if !exists && applied.UID != "" {
		return nil, apierrors.NewConflict(resource, name, fmt.Errorf("uid mismatch: no existing object was found"))
	}
	// The body as it came, not the typed object: server-side apply is about the fields that are there.
	patch := &unstructured.Unstructured{}
	if err := json.Unmarshal(body, &patch.Object); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	merged, err := s.fields.Apply(live.DeepCopy(), patch, manager, force)
	if err != nil {
		return nil, err
	}
	next, ok := merged.(*corev1.Secret)
	if !ok {
		return nil, fmt.Errorf("merged into %T", merged)
	}
	if exists && applied.ResourceVersion != "" && applied.ResourceVersion != live.ResourceVersion {
		return nil, apierrors.NewConflict(resource, name, fmt.Errorf("the object has been modified"))
	}
	next.Namespace, next.Name = namespace, name
	return s.store(key, live, next, exists)
}

func (s *server) patch(_ context.Context, namespace, name string, patch []byte) (*corev1.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin("patch"); err != nil {
		return nil, err
	}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	live := s.secrets[key]
	if live == nil {
		return nil, apierrors.NewNotFound(resource, name)
	}
	var operations []struct {
		Op, Path string
		Value    json.RawMessage
	}
	if err := json.Unmarshal(patch, &operations); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	next := live.DeepCopy()
	for _, operation := range operations {
		var err error
		switch operation.Op + " " + operation.Path {
		case "replace /metadata/managedFields":
			next.ManagedFields = nil
			err = json.Unmarshal(operation.Value, &next.ManagedFields)
		case "replace /metadata/resourceVersion":
			err = json.Unmarshal(operation.Value, &next.ResourceVersion)
		default:
			err = fmt.Errorf("cannot %s %s", operation.Op, operation.Path)
		}
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	if next.ResourceVersion != live.ResourceVersion {
		return nil, apierrors.NewConflict(resource, name, fmt.Errorf("the object has been modified"))
	}
	merged, ok := s.fields.UpdateNoErrors(live, next, secretsync.FieldManager).(*corev1.Secret)
	if !ok {
		return nil, fmt.Errorf("not a Secret")
	}
	return s.store(key, live, merged, true)
}

// put writes a whole Secret as another client would.
func (s *server) put(t testing.TB, manager string, written *corev1.Secret) *corev1.Secret {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	key := types.NamespacedName{Namespace: written.Namespace, Name: written.Name}
	live, exists := s.secrets[key]
	if !exists {
		live = &corev1.Secret{}
		live.SetGroupVersionKind(secretKind)
	}
	next := written.DeepCopy()
	next.SetGroupVersionKind(secretKind)
	merged, ok := s.fields.UpdateNoErrors(live.DeepCopy(), next, manager).(*corev1.Secret)
	if !ok {
		t.Fatal("not a Secret")
	}
	stored, err := s.store(key, live, merged, exists)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// edit changes a Secret as another client would.
func (s *server) edit(t testing.TB, manager, namespace, name string, change func(*corev1.Secret)) {
	t.Helper()
	current := s.secret(namespace, name)
	if current == nil {
		t.Fatalf("no Secret %s/%s", namespace, name)
	}
	change(current)
	s.put(t, manager, current)
}

func (s *server) store(key types.NamespacedName, live, next *corev1.Secret, exists bool) (*corev1.Secret, error) {
	if exists {
		next.UID = live.UID
		if next.Type != live.Type {
			return nil, apierrors.NewInvalid(secretKind.GroupKind(), key.Name, field.ErrorList{field.Invalid(field.NewPath("type"), next.Type, "field is immutable")})
		}
		if live.Immutable != nil && *live.Immutable && !maps.EqualFunc(live.Data, next.Data, slices.Equal[[]byte]) {
			return nil, apierrors.NewInvalid(secretKind.GroupKind(), key.Name, field.ErrorList{field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set")})
		}
		next.ResourceVersion = live.ResourceVersion
		if equality.Semantic.DeepEqual(live, next) || sameButTimes(live, next) {
			return live.DeepCopy(), nil
		}
	} else {
		next.UID = types.UID("uid-" + strconv.Itoa(s.revision))
	}
	s.revision++
	s.changes++
	next.ResourceVersion = strconv.Itoa(s.revision)
	s.secrets[key] = next.DeepCopy()
	return next.DeepCopy(), nil
}

// sameButTimes ignores the times in managedFields, as the API server does.
func sameButTimes(a, b *corev1.Secret) bool {
	timeless := func(s *corev1.Secret) *corev1.Secret {
		s = s.DeepCopy()
		for i := range s.ManagedFields {
			s.ManagedFields[i].Time = nil
		}
		return s
	}
	return equality.Semantic.DeepEqual(timeless(a), timeless(b))
}

func (s *server) secret(namespace, name string) *corev1.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.secrets[types.NamespacedName{Namespace: namespace, Name: name}].DeepCopy()
}

func (s *server) remove(namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, types.NamespacedName{Namespace: namespace, Name: name})
}

// collect is Kubernetes' garbage collector: it takes references to owners away that are gone, and Secrets that lose their last one.
func (s *server) collect(t testing.TB, gone func(metav1.OwnerReference) bool) {
	t.Helper()
	s.mu.Lock()
	list := slices.Collect(maps.Values(s.secrets))
	s.mu.Unlock()
	for _, current := range list {
		alive := slices.DeleteFunc(slices.Clone(current.OwnerReferences), gone)
		switch {
		case len(alive) == len(current.OwnerReferences):
		case len(alive) == 0:
			s.remove(current.Namespace, current.Name)
		default:
			s.edit(t, "kube-controller-manager", current.Namespace, current.Name, func(c *corev1.Secret) { c.OwnerReferences = alive })
		}
	}
}

// writes counts the requests that write, whatever became of them.
func (s *server) writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls["apply"] + s.calls["patch"]
}

func (s *server) reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls["get"]
}

func forbidden(message string) error {
	err := apierrors.NewForbidden(resource, "db", fmt.Errorf("%s", message))
	return err
}

func namespaceTerminating() error {
	err := apierrors.NewForbidden(resource, "db", fmt.Errorf("unable to create new content in namespace shop because it is being terminated"))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	return err
}

func tooLarge() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusRequestEntityTooLarge, Reason: metav1.StatusReasonRequestEntityTooLarge,
		Message: "etcdserver: request is too large",
	}}
}
