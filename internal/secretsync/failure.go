// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// makeAgain is the next step where only a new Secret helps.
const makeAgain = "delete the Secret, it is made again at once"

// Foreign returns why a Secret that exists is left as it is, whatever a class asks for: it does not carry our label. Nil if it does.
func Foreign(current metav1.Object) *reason.Error {
	if current.GetLabels()[v1.ManagedLabel] == "true" {
		return nil
	}
	return reason.New(reason.SecretNotOurs, "choose another secretName, or delete that Secret",
		"Secret %q exists already and %s; it is left as it is", current.GetName(), belonging(current))
}

// belonging says to whom a Secret belongs, as far as the Secret tells.
func belonging(current metav1.Object) string {
	if release := current.GetAnnotations()["meta.helm.sh/release-name"]; release != "" {
		return fmt.Sprintf("belongs to Helm release %q", release)
	}
	if manager := current.GetLabels()["app.kubernetes.io/managed-by"]; manager != "" {
		return fmt.Sprintf("is managed by %q", manager)
	}
	if owners := current.GetOwnerReferences(); len(owners) > 0 {
		owner := owners[0]
		if controller := metav1.GetControllerOfNoCopy(current); controller != nil {
			owner = *controller
		}
		return fmt.Sprintf("belongs to %s %q", owner.Kind, owner.Name)
	}
	managers := map[string]struct{}{}
	for _, entry := range current.GetManagedFields() {
		if entry.Manager != "" {
			managers[entry.Manager] = struct{}{}
		}
	}
	if len(managers) > 0 {
		return "was written by " + strings.Join(slices.Sorted(maps.Keys(managers)), ", ")
	}
	return "was not made from a SecretProviderClass"
}

func otherClass(current *core.Secret, other, class string) *reason.Error {
	return reason.New(reason.SecretNotOurs, "give each class a secretName of its own, or take the Secret out of one of the classes",
		"Secret %q comes from SecretProviderClass %q, and class %q asks for other content under the same name", current.Name, other, class)
}

func typeImmutable(current *core.Secret, want Secret) *reason.Error {
	return reason.New(reason.SecretTypeImmutable, makeAgain,
		"Secret %q has type %s, the class asks for %s, and Kubernetes does not let the type of a Secret change", current.Name, current.Type, want.Type)
}

// isRace reports whether the object changed between reading and writing.
func isRace(err error) bool {
	return apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.IsConflict(err) && len(holders(err)) == 0
}

// namespaceGone reports whether there is no namespace any more that a Secret could be in, so nobody is left to use it.
func namespaceGone(err error) bool {
	details := statusOf(err).Details
	return apierrors.HasStatusCause(err, core.NamespaceTerminatingCause) || apierrors.IsNotFound(err) && details != nil && details.Kind == "namespaces"
}

// failure gives the API server's refusal a reason. doing is "reading" or "writing".
func failure(doing string, want Secret, err error) *reason.Error {
	if holders := holders(err); len(holders) > 0 {
		return reason.New(reason.SecretConflict, "undo that change, or "+makeAgain,
			"Secret %q: fields that the class asks for were changed by another field manager: %s", want.Name, strings.Join(holders, ", "))
	}
	text := told(err, want)
	switch {
	case apierrors.IsForbidden(err):
		next := "ask who set up the quota or the admission policy that refuses it"
		if strings.Contains(text, " cannot ") { // the words of RBAC's refusal
			next = "install the chart with syncSecret.enabled=true"
		}
		return reason.New(reason.SecretForbidden, next, "%s Secret %q: %s", doing, want.Name, text)
	case statusOf(err).Code == http.StatusRequestEntityTooLarge:
		return reason.New(reason.SecretTooLarge, "spread the files over several Secrets", "%s Secret %q: %s", doing, want.Name, text)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return reason.New(reason.SecretRejected, "correct the entry of secretObjects", "%s Secret %q: %s", doing, want.Name, text)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return reason.New(reason.APIUnavailable, "check that this node reaches the API server", "%s Secret %q: the API server did not answer in time", doing, want.Name)
	}
	return reason.New(reason.APIUnavailable, "check that this node reaches the API server", "%s Secret %q: %s", doing, want.Name, text)
}

func raceLost(want Secret) *reason.Error {
	return reason.New(reason.SecretConflict, "it is tried again by itself", "Secret %q was changed by others during each of %d attempts to write it", want.Name, attempts)
}

func statusOf(err error) metav1.Status {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return metav1.Status{}
	}
	return status.Status()
}

// holders lists "manager (field)" for each conflict of a server-side apply.
func holders(err error) []string {
	return conflicts(err, func(manager, field string) string { return fmt.Sprintf("%s (%s)", manager, field) })
}

// managers lists those with which a server-side apply conflicts.
func managers(err error) []string {
	return conflicts(err, func(manager, _ string) string { return manager })
}

func conflicts(err error, as func(manager, field string) string) []string {
	details := statusOf(err).Details
	if details == nil {
		return nil
	}
	var list []string
	for _, cause := range details.Causes {
		if cause.Type != metav1.CauseTypeFieldManagerConflict {
			continue
		}
		// The message is: conflict with "<manager>" using <version>.
		manager := cause.Message
		if parts := strings.SplitN(cause.Message, `"`, 3); len(parts) == 3 {
			manager = parts[1]
		}
		list = append(list, as(manager, cause.Field))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// told is the API server's text without any part of the Secret's content: policies and validation may quote what they refuse.
func told(err error, want Secret) string {
	text := err.Error()
	values := slices.SortedFunc(maps.Values(want.Data), func(a, b secret.Value) int { return cmp.Compare(b.Len(), a.Len()) })
	for _, value := range values {
		if value.Len() > 0 {
			text = strings.ReplaceAll(text, base64.StdEncoding.EncodeToString(value.Reveal()), secret.Redacted)
		}
		for line := range strings.Lines(string(value.Reveal())) {
			const least = 4 // shorter ones would redact ordinary words
			if line = strings.TrimSpace(line); len(line) >= least {
				text = strings.ReplaceAll(text, line, secret.Redacted)
			}
		}
	}
	return reason.OneLine(text)
}
