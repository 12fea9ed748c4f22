// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"cmp"
	"io/fs"
	"slices"
	"time"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// content is what a provider returned for one volume.
type content struct {
	provider string
	files    []secret.File
	versions []*v1alpha1.ObjectVersion
	notices  []notice
}

func newContent(provider string, response *v1alpha1.MountResponse) *content {
	c := &content{provider: provider, versions: slices.Clone(response.GetObjectVersion()), notices: newNotices(response.GetNotices())}
	slices.SortFunc(c.versions, func(a, b *v1alpha1.ObjectVersion) int { return cmp.Compare(a.GetId(), b.GetId()) })
	for _, f := range response.GetFiles() {
		c.files = append(c.files, secret.File{
			Path:    f.GetPath(),
			Mode:    fs.FileMode(uint32(f.GetMode())).Perm(),
			Content: secret.New(f.GetContents()),
		})
	}
	return c
}

// writtenByProvider reports whether the provider has put the files in place by itself, as providers did before the protocol carried
// files. A provider that gives notices knows files, and means what it says when there are none.
func (c *content) writtenByProvider() bool { return len(c.files) == 0 && len(c.notices) == 0 }

// memory is what the driver remembers about a published volume. It can do without: after a restart the next refresh fills it again.
type memory struct {
	versions []*v1alpha1.ObjectVersion
	notices  []notice
	// wroteItself is set for a volume whose provider writes by itself: no link on the mount tells that it is complete.
	wroteItself bool
	refreshed   time.Time
}

// remember records a successful publish and has the pod's status written.
func (n *Node) remember(p publication, c *content) {
	n.mu.Lock()
	n.volumes[p.target] = memory{
		versions: c.versions, notices: c.notices, wroteItself: c.writtenByProvider(), refreshed: time.Now(),
	}
	n.mu.Unlock()
	n.Status.Published(p.pod, p.class, p.target, c.versions)
}

func (n *Node) forget(target string) {
	n.mu.Lock()
	delete(n.volumes, target)
	n.mu.Unlock()
	n.Classes.Release(target)
}

func (n *Node) recall(target string) memory {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.volumes[target]
}

func (n *Node) wroteItself(target string) bool { return n.recall(target).wroteItself }

func (n *Node) versionsOf(target string) []*v1alpha1.ObjectVersion { return n.recall(target).versions }

// refreshDue reports whether a published volume is to be fetched again.
func (n *Node) refreshDue(target string) bool {
	return n.RefreshInterval > 0 && time.Since(n.recall(target).refreshed) >= n.RefreshInterval
}
