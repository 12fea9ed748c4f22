// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/lint"
)

// Paths where the API server posts its reviews.
const (
	ClassesPath   = "/validate-secretproviderclasses"
	WorkloadsPath = "/validate-workloads"
)

// lookupTimeout bounds what one answer waits for the world. It is below timeoutSeconds of the webhook configuration, so that a refusal comes
// through while the API server is slow.
const lookupTimeout = 2 * time.Second

// Validator answers reviews.
type Validator struct {
	// World is the API server.
	World lint.World
	Log   *slog.Logger

	// checking is held by who checks a class: one that is made to be large takes as much memory as the webhook can spare for a moment, and the webhook
	// has other things to do.
	checking sync.Mutex
}

// Classes answers reviews of SecretProviderClasses. Only mistakes that the object did not have before refuse it; the others are warnings, so that a
// broken class can be mended step by step.
func (v *Validator) Classes(ctx context.Context, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	class, err := decodeClass(request.Object.Raw, request.Namespace)
	if class == nil || err != nil {
		return allowed(nil) // a deletion, or what the API server itself will refuse
	}
	before, now, ok := v.check(ctx, request, class)
	if !ok {
		return allowed(nil)
	}
	fresh, known := compare(before, now)
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	owned, err := lint.Secrets(ctx, v.World, class)
	if err != nil {
		v.Log.DebugContext(ctx, "Reading the Secrets of a class", slog.String("class", class.Namespace+"/"+class.Name), slog.Any("error", err))
	}
	var refusals, doubts []lint.Finding
	for _, f := range fresh {
		if f.Severity == lint.Error {
			refusals = append(refusals, f)
		} else {
			doubts = append(doubts, f)
		}
	}
	for _, f := range known {
		if f.Severity == lint.Error {
			doubts = append(doubts, f)
		}
	}
	doubts = append(doubts, owned...)
	if len(refusals) > 0 {
		return refused(class, refusals, warnings(doubts))
	}
	return allowed(warnings(doubts))
}

// check finds the mistakes of a class, and those that it had before the request; false where there is nothing to check, or nobody waits for it
// anymore.
func (v *Validator) check(ctx context.Context, request *admissionv1.AdmissionRequest, class *v1.SecretProviderClass) (before, now []lint.Finding, ok bool) {
	old, err := decodeClass(request.OldObject.Raw, request.Namespace)
	if err != nil {
		old = nil
	}
	if old != nil && unchanged(old, class) {
		return nil, nil, false
	}
	v.checking.Lock()
	defer v.checking.Unlock()
	if ctx.Err() != nil {
		return nil, nil, false
	}
	if old != nil {
		before = lint.Class(old)
	}
	return before, lint.Class(class), true
}

// decodeClass reads a class; nil where there is none.
func decodeClass(raw []byte, namespace string) (*v1.SecretProviderClass, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	class := &v1.SecretProviderClass{}
	if err := json.Unmarshal(raw, class); err != nil {
		return nil, fmt.Errorf("decoding a SecretProviderClass: %w", err)
	}
	class.Namespace = namespace
	return class, nil
}

// unchanged reports whether nothing that is checked differs, as when a controller writes labels or finalizers.
func unchanged(old, class *v1.SecretProviderClass) bool {
	return equality.Semantic.DeepEqual(old.Spec, class.Spec) && equality.Semantic.DeepEqual(old.Annotations, class.Annotations)
}

func allowed(warnings []string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Allowed: true, Warnings: warnings}
}

// refused tells all mistakes, each on a line of its own and as a cause with its field.
func refused(class *v1.SecretProviderClass, findings []lint.Finding, warnings []string) *admissionv1.AdmissionResponse {
	var lines []string
	details := &metav1.StatusDetails{Group: v1.Group, Kind: "SecretProviderClass", Name: class.Name}
	for _, f := range findings {
		text := f.Reason.Name + ": " + f.Text()
		lines = append(lines, text)
		details.Causes = append(details.Causes, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Field: f.Field, Message: text})
	}
	message := lines[0]
	if len(lines) > 1 {
		message = fmt.Sprintf("%d mistakes:\n- %s", len(lines), strings.Join(lines, "\n- "))
	}
	return &admissionv1.AdmissionResponse{
		Warnings: warnings,
		Result: &metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: message, Details: details,
		},
	}
}

// Limits of the API server: it passes all warnings of a request on as they are while they are no longer than totalLimit together, and else cuts each
// after itemLimit characters (Kubernetes, "Dynamic Admission Control", Response).
const (
	totalLimit = 4096
	itemLimit  = 256
	// mostWarnings is how many are passed on: nobody reads more.
	mostWarnings = 50
)

// warnings are findings as warnings: the reason, the message and the next step. Where they are too long together, each is cut so that what is cut is
// the next step before the message.
func warnings(findings []lint.Finding) []string {
	if more := len(findings) - mostWarnings; more > 0 {
		return append(warnings(findings[:mostWarnings]), fmt.Sprintf("and %d more warnings", more))
	}
	texts := make([]string, 0, len(findings))
	total := 0
	for _, f := range findings {
		text := f.Reason.Name + ": " + f.Text()
		texts = append(texts, text)
		total += utf8.RuneCountInString(text)
	}
	if total <= totalLimit {
		return texts
	}
	for i, f := range findings {
		if utf8.RuneCountInString(texts[i]) > itemLimit {
			texts[i] = shortened(f.Reason.Name + ": " + f.Message)
		}
	}
	return texts
}

func shortened(text string) string {
	characters := []rune(text)
	if len(characters) <= itemLimit {
		return text
	}
	return string(characters[:itemLimit-1]) + "…"
}
