// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason/catalog"
)

// failure is what the node met when it tried.
type failure struct {
	reason, message string
}

// evidence is what is known of the node's last attempt.
type evidence struct {
	// tried says that there was one; failed is nil if it worked.
	tried  bool
	failed *failure
}

// evidenceOf reads what the node told about a mount. The pod status is about the last attempt; events are older than a mount that works.
func evidenceOf(m *Mount) evidence {
	if status := m.Status; status != nil {
		ready := meta.FindStatusCondition(status.Status.Conditions, v1.ConditionReady)
		switch {
		case ready != nil && ready.Status == metav1.ConditionFalse:
			return evidence{true, &failure{ready.Reason, ready.Message}}
		case status.Status.Mounted:
			return evidence{tried: true}
		}
	}
	if m.Pod == nil || m.Uses != nil {
		return evidence{}
	}
	var last *corev1.Event
	for i := range m.Events {
		event := &m.Events[i]
		if event.Reason == "FailedMount" && aboutVolume(event.Message, m) && (last == nil || !lastSeen(event).Before(lastSeen(last))) {
			last = event
		}
	}
	if last == nil {
		return evidence{tried: m.Pod.Status.Phase == corev1.PodRunning}
	}
	if name := reasonIn(last.Message); name != "" {
		return evidence{true, &failure{name, fromReason(last.Message, name)}}
	}
	return evidence{true, &failure{"", last.Message}}
}

func ptr[T any](value T) *T { return &value }

func lastSeen(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}

// aboutVolume reports whether kubelet's event is about the mount's volume: it names it in `MountVolume.SetUp failed for volume "kv" : `.
func aboutVolume(message string, m *Mount) bool {
	return strings.Contains(message, `failed for volume "`+m.Volume+`"`)
}

// reasonIn returns the reason that a text names, as in "FailedX: what happened".
func reasonIn(text string) string {
	for _, match := range reasonWord.FindAllStringSubmatch(text, -1) {
		if _, ok := catalog.Find(match[1]); ok {
			return match[1]
		}
	}
	return ""
}

var reasonWord = regexp.MustCompile(`\b([A-Z][A-Za-z]+): `)

// fromReason cuts what gRPC, kubelet and the driver put before the reason.
func fromReason(text, name string) string {
	if i := strings.Index(text, name+": "); i >= 0 {
		return text[i:]
	}
	return text
}

// commandIn returns the command at the end of an error's text, "" if it ends in none.
func commandIn(text string) string {
	at := commandWord.FindStringIndex(text)
	if at == nil {
		return ""
	}
	command := strings.TrimSpace(text[at[0]:])
	command = strings.TrimLeft(command, ";:( ")
	if i := strings.Index(command, "; "); i >= 0 {
		command = command[:i]
	}
	return strings.TrimSuffix(command, "…")
}

var commandWord = regexp.MustCompile(`(?:^|[ (])(?:az (?:identity|role|keyvault|ad|account|aks)|kubectl) [a-z]`)

// fixOf returns the command that mends a failure: the one in its text, else the first one that the catalogue of reasons knows.
func fixOf(f failure) string {
	if command := commandIn(f.message); command != "" {
		return command
	}
	if entry, ok := catalog.Find(f.reason); ok {
		for _, step := range entry.Fix {
			if step.Command != "" {
				return step.Command
			}
		}
	}
	return ""
}
