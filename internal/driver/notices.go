// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"regexp"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// maxNotices bounds how many notices of one answer become events.
	maxNotices = 10
	// maxNoticeText bounds the text of each: all of them are in one condition of the pod status as well.
	maxNoticeText = 1 << 10
)

// eventReason is the form of an event's reason (Kubernetes API, Event.reason: CamelCase, up to 128 characters).
var eventReason = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,127}$`)

// notice is what a provider has to say although it succeeded.
type notice struct{ reason, text string }

// newNotices returns the distinct notices of an answer, without those that cannot be an event.
func newNotices(answered []*v1alpha1.Notice) []notice {
	var notices []notice
	for _, a := range answered {
		n := notice{a.GetReason(), bounded(reason.OneLine(a.GetText()), maxNoticeText)}
		if eventReason.MatchString(n.reason) && n.text != "" && !slices.Contains(notices, n) {
			notices = append(notices, n)
		}
	}
	return notices[:min(len(notices), maxNotices)]
}

// bounded returns text, or its beginning, in at most about most bytes.
func bounded(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// tell records an event for each notice that the volume's last content did not have.
func (n *Node) tell(p publication, notices []notice) {
	old, _ := n.volumes.recall(p.target)
	for _, told := range notices {
		if !slices.Contains(old.notices, told) {
			n.Events.Warn(p.pod, told.reason, told.text)
		}
	}
}
