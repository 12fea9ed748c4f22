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
	// readAt is when the content was read from its source, as far as the provider tells; zero otherwise.
	readAt time.Time
}

func newContent(provider string, response *v1alpha1.MountResponse) *content {
	c := &content{provider: provider, versions: slices.Clone(response.GetObjectVersion()), notices: newNotices(response.GetNotices())}
	slices.SortFunc(c.versions, func(a, b *v1alpha1.ObjectVersion) int { return cmp.Compare(a.GetId(), b.GetId()) })
	if at := response.GetReadAtUnixMilli(); at > 0 {
		c.readAt = time.UnixMilli(at)
	}
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
