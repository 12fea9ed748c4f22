// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"regexp"
	"slices"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// maxNotices bounds how many notices of one answer become events.
const maxNotices = 10

// eventReason is the form of an event's reason (Kubernetes API, Event.reason: CamelCase, up to 128 characters).
var eventReason = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,127}$`)

// notice is what a provider has to say although it succeeded.
type notice struct{ reason, text string }

// newNotices returns the distinct notices of an answer, without those that cannot be an event.
func newNotices(answered []*v1alpha1.Notice) []notice {
	var notices []notice
	for _, a := range answered {
		n := notice{a.GetReason(), reason.OneLine(a.GetText())}
		if eventReason.MatchString(n.reason) && n.text != "" && !slices.Contains(notices, n) {
			notices = append(notices, n)
		}
	}
	return notices[:min(len(notices), maxNotices)]
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
