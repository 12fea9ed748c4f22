// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"time"

	"github.com/vaultferry/vaultferry/internal/mounts"
	"github.com/vaultferry/vaultferry/internal/reload"
)

// reloadLinks tell what the reload controller has done, or is about to do, with the workloads of the consumers. A workload that it has never touched has
// no link.
func (b *builder) reloadLinks(c *Chain) {
	if len(b.consumers) == 0 {
		return
	}
	noted := b.m.Reloads.OfPods(b.consumers...)
	if b.m.Planned {
		noted = append(noted, b.m.Reloads.OfWorkload(reload.Deployment, b.m.Namespace, b.m.Pod.Name)...)
	}
	for i := range noted {
		c.add(reloadLink(&noted[i]))
	}
	if b.m.ReloadsUnread != nil {
		c.add(Link{Kind: ReloadLink, State: Unknown, Detail: "you may not read all workloads: " + b.m.ReloadsUnread.Error()})
	}
}

func reloadLink(noted *mounts.Reload) Link {
	link := Link{Kind: ReloadLink, Name: noted.Kind + "/" + noted.Name, State: OK, Reload: noted}
	if last := noted.Last; last != nil {
		link.Detail = fmt.Sprintf("last at %s, %s: %s", last.At.UTC().Format(time.RFC3339), last.Action, last.Why)
	}
	if noted.RolloutFailed() {
		link.State = Warning
		link.Message = noted.FailedText()
	}
	if pending := noted.Pending; pending != nil {
		link.State = Warning
		link.Message = joined(link.Message, fmt.Sprintf("a reload is pending since %s: %s; it waits: %s", pending.Since.UTC().Format(time.RFC3339), pending.Why, pending.Wait()))
	}
	if noted.Unreadable != "" {
		link.State, link.Detail = Unknown, joined(link.Detail, noted.Unreadable)
	}
	return link
}
