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
	// readAt is when the content was read from its source. Where the provider does not tell, it is when it was asked.
	readAt time.Time
	// payload is the name of the volume's payload once it holds the content; "" where the provider writes by itself.
	payload string
}

// newContent returns what a provider answered that was asked at a time.
func newContent(provider string, response *v1alpha1.MountResponse, asked time.Time) *content {
	c := &content{provider: provider, readAt: asked, notices: newNotices(response.GetNotices())}
	if told := len(response.GetObjectVersion()); told > 0 {
		c.versions = make([]v1.SecretProviderClassObject, 0, told)
	}
	for _, version := range response.GetObjectVersion() {
		// Each is there once, however many volumes of the node hold the object.
		c.versions = append(c.versions, v1.SecretProviderClassObject{ID: shared(version.GetId()), Version: shared(version.GetVersion())})
	}
	slices.SortFunc(c.versions, func(a, b v1.SecretProviderClassObject) int { return cmp.Compare(a.ID, b.ID) })
	// What was read in the future would stay the newest for as long.
	if at := response.GetReadAtUnixMilli(); at > 0 && !time.UnixMilli(at).After(time.Now()) {
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

// confirmation says which payload of a volume was last found to be what its source holds, and when that was read. The zero value is for a volume that an
// earlier process has published.
type confirmation struct {
	payload string
	readAt  time.Time
	// adopted says that the provider has written by itself: nobody knows one state of such a volume from another.
	adopted bool
}

func (c *content) confirmation() confirmation {
	return confirmation{c.payload, c.readAt, c.writtenByProvider()}
}

// shared returns s as the one copy of it that all volumes hold.
func shared(s string) string { return unique.Make(s).Value() }

// writtenByProvider reports whether the provider has put the files in place by itself, as providers did before the protocol carried
// files. A provider that gives notices knows files, and means what it says when there are none.
func (c *content) writtenByProvider() bool { return len(c.files) == 0 && len(c.notices) == 0 }
