// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"cmp"
	"io/fs"
	"slices"
	"time"
	"unique"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// content is what a provider returned for one volume.
type content struct {
	provider string
	files    []secret.File
	// versions are the objects in the order of their ids.
	versions []v1.SecretProviderClassObject
	notices  []notice
	// readAt is when the content was read from its source, as far as the provider tells; zero otherwise.
	readAt time.Time
}

func newContent(provider string, response *v1alpha1.MountResponse) *content {
	c := &content{provider: provider, notices: newNotices(response.GetNotices())}
	if told := len(response.GetObjectVersion()); told > 0 {
		c.versions = make([]v1.SecretProviderClassObject, 0, told)
	}
	for _, version := range response.GetObjectVersion() {
		// Each is there once, however many volumes of the node hold the object.
		c.versions = append(c.versions, v1.SecretProviderClassObject{ID: shared(version.GetId()), Version: shared(version.GetVersion())})
	}
	slices.SortFunc(c.versions, func(a, b v1.SecretProviderClassObject) int { return cmp.Compare(a.ID, b.ID) })
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

// shared returns s as the one copy of it that all volumes hold.
func shared(s string) string { return unique.Make(s).Value() }

// writtenByProvider reports whether the provider has put the files in place by itself, as providers did before the protocol carried
// files. A provider that gives notices knows files, and means what it says when there are none.
func (c *content) writtenByProvider() bool { return len(c.files) == 0 && len(c.notices) == 0 }
