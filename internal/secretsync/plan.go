// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

const (
	// ClassAnnotation names the SecretProviderClass that a Secret is made from.
	ClassAnnotation = "vaultferry.io/class"
	// ReadAtAnnotation is the time at which a Secret's content was read from its source: RFC 3339 with milliseconds, UTC.
	ReadAtAnnotation = "vaultferry.io/content-read-at"

	readAtFormat = "2006-01-02T15:04:05.000Z07:00"
	// maxClockSkew is how far in the future a read time of another node is believed: a clock that is wrong by more must not stop all
	// other nodes.
	maxClockSkew = 5 * time.Minute
	// noObject is a resourceVersion that no Secret can have (etcd's first revision is its own), so an apply with it creates the Secret or
	// fails with a conflict; it never merges into a Secret that came up meanwhile.
	noObject = "1"
)

// plan is what is to be done about one Secret: nothing, with result, or an apply of body.
type plan struct {
	result *Result
	body   *applyBody
	// rotates says that body replaces data of an existing Secret.
	rotates bool
	// shares says that body gives the Secret an owner, and that its content stays, for the reason in note.
	shares bool
	note   string
}

func done(outcome Outcome, note string) plan {
	return plan{result: &Result{Outcome: outcome, Note: note, existed: true}}
}

func refuse(err *reason.Error) plan {
	return plan{result: &Result{Outcome: Refused, Err: err, existed: true}}
}

// situation is all that a plan depends on.
type situation struct {
	class   string
	want    Secret
	owners  []metav1.OwnerReference
	readAt  time.Time
	current *core.Secret
	// confirmed is when the current content is known to have been read again, equal; zero if that is not known.
	confirmed time.Time
	now       time.Time
	// takeOver says that the class which current names does not ask for the Secret any more.
	takeOver bool
}

// decide is the whole policy of this package.
func decide(s situation) (plan, error) {
	if s.current == nil {
		return plan{body: s.content(ownedFields{})}, nil
	}
	if problem := Foreign(s.current); problem != nil {
		return refuse(problem), nil
	}
	if s.current.DeletionTimestamp != nil {
		return done(Skipped, "the Secret is being deleted; it is made again afterwards"), nil
	}
	ours, err := owned(s.current)
	if err != nil {
		return plan{}, err
	}
	dataDiffers := s.dataDiffers(ours)
	if other := s.otherClass(); other != "" {
		if dataDiffers || s.current.Type != s.want.Type {
			return refuse(otherClass(s.current, other, s.class)), nil
		}
		return s.share(ours, Unchanged, "the Secret comes from SecretProviderClass "+other+", with the same content"), nil
	}
	if s.current.Type != s.want.Type {
		return refuse(typeImmutable(s.current, s.want)), nil
	}
	if dataDiffers && s.held().After(s.readMillis()) {
		return s.share(ours, Skipped, "newer content there"), nil
	}
	if !dataDiffers && !s.metadataDiffers(ours) && s.hasOwners() {
		return done(Unchanged, ""), nil
	}
	return plan{body: s.content(ours), rotates: dataDiffers}, nil
}

// share gives the Secret our owners and leaves the rest as it is.
func (s situation) share(ours ownedFields, otherwise Outcome, note string) plan {
	if s.hasOwners() {
		return done(otherwise, note)
	}
	body := s.body(ours)
	body.Metadata.Labels = only(s.current.Labels, ours.labels)
	body.Metadata.Annotations = only(s.current.Annotations, ours.annotations)
	body.Type = s.current.Type
	body.Data = only(s.current.Data, ours.data)
	return plan{body: body, shares: true, note: note}
}

// content is the Secret as our class wants it.
func (s situation) content(ours ownedFields) *applyBody {
	body := s.body(ours)
	body.Metadata.Labels = s.labels()
	body.Metadata.Annotations = s.annotations()
	readAt := s.readMillis()
	if s.current != nil && !s.dataDiffers(ours) && s.held().After(readAt) {
		readAt = s.held()
	}
	body.Metadata.Annotations[ReadAtAnnotation] = readAt.UTC().Format(readAtFormat)
	body.Type = s.want.Type
	body.Data = map[string][]byte{}
	for key, value := range s.want.Data {
		body.Data[key] = value.Reveal()
	}
	return body
}

// body is the part of an apply that names the object and its owners: those that are ours already, and those of this pod.
func (s situation) body(ours ownedFields) *applyBody {
	body := &applyBody{APIVersion: "v1", Kind: "Secret"}
	body.Metadata.Name = s.want.Name
	body.Metadata.ResourceVersion = noObject
	if s.current != nil {
		body.Metadata.UID, body.Metadata.ResourceVersion = s.current.UID, s.current.ResourceVersion
		for _, owner := range s.current.OwnerReferences {
			if ours.owners.Has(owner.UID) {
				body.Metadata.OwnerReferences = append(body.Metadata.OwnerReferences, owner)
			}
		}
	}
	for _, owner := range s.owners {
		if !s.hasOwner(owner) {
			body.Metadata.OwnerReferences = append(body.Metadata.OwnerReferences, reduced(owner))
		}
	}
	return body
}

func reduced(owner metav1.OwnerReference) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, UID: owner.UID}
}

// otherClass returns the class that the Secret comes from if it is not ours.
func (s situation) otherClass() string {
	if class := s.current.Annotations[ClassAnnotation]; class != s.class && !s.takeOver {
		return class
	}
	return ""
}

func (s situation) dataDiffers(ours ownedFields) bool {
	for key, value := range s.want.Data {
		there, ok := s.current.Data[key]
		if !ok || !value.Equal(secret.New(there)) {
			return true
		}
	}
	return left(ours.data, s.want.Data)
}

func (s situation) metadataDiffers(ours ownedFields) bool {
	ours.annotations = ours.annotations.Clone().Delete(ReadAtAnnotation)
	labels, annotations := s.labels(), s.annotations()
	return !holds(s.current.Labels, labels) || !holds(s.current.Annotations, annotations) ||
		left(ours.labels, labels) || left(ours.annotations, annotations)
}

func (s situation) labels() map[string]string { return with(s.want.Labels, v1.ManagedLabel, "true") }

func (s situation) annotations() map[string]string {
	annotations := with(s.want.Annotations, ClassAnnotation, s.class)
	delete(annotations, ReadAtAnnotation)
	return annotations
}

func (s situation) hasOwners() bool {
	return !slices.ContainsFunc(s.owners, func(o metav1.OwnerReference) bool { return !s.hasOwner(o) })
}

// hasOwner compares by UID: an owner that was made again under the same name is another owner.
func (s situation) hasOwner(owner metav1.OwnerReference) bool {
	return s.current != nil && slices.ContainsFunc(s.current.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == owner.UID })
}

func (s situation) readMillis() time.Time { return s.readAt.Truncate(time.Millisecond) }

// held returns when the current content was last read, as far as that is known and can be.
func (s situation) held() time.Time {
	held, err := time.Parse(time.RFC3339, s.current.Annotations[ReadAtAnnotation])
	if err != nil || held.After(s.now.Add(maxClockSkew)) {
		held = time.Time{}
	}
	if s.confirmed.After(held) {
		held = s.confirmed
	}
	return held
}

// with returns a copy of m with one more entry.
func with(m map[string]string, key, value string) map[string]string {
	copied := maps.Clone(m)
	if copied == nil {
		copied = map[string]string{}
	}
	copied[key] = value
	return copied
}

// holds reports whether current has all of wanted.
func holds(current, wanted map[string]string) bool {
	for key, value := range wanted {
		if there, ok := current[key]; !ok || there != value {
			return false
		}
	}
	return true
}

// left reports whether something that was ours is not wanted any more.
func left[V any](ours sets.Set[string], wanted map[string]V) bool {
	for key := range ours {
		if _, ok := wanted[key]; !ok {
			return true
		}
	}
	return false
}

// only returns the entries of m whose keys are in keys.
func only[V any](m map[string]V, keys sets.Set[string]) map[string]V {
	kept := map[string]V{}
	for key, value := range m {
		if keys.Has(key) {
			kept[key] = value
		}
	}
	return kept
}
