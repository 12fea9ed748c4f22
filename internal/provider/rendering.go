// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// maxFiles bounds the files of a volume, in bytes: one object can be in any number of them. A driver takes 4 MiB unless it is told otherwise.
const maxFiles = 16 << 20

// renderer makes a volume's files of objects.
type renderer struct {
	// orderChain and separate are Config.ConstructPEMChain and Config.SeparateFiles.
	orderChain, separate bool
	// permission is the mode of files whose entries set none.
	permission fs.FileMode
	// class is whom the log tells of.
	class class
	log   *slog.Logger
}

// part is one file of an object.
type part struct {
	path    string
	content secret.Value
}

// answer makes the files of what was fetched, which is in the order of p.reads.
func (r renderer) answer(ctx context.Context, p plan, fetched []keyvault.Object) (*v1alpha1.MountResponse, error) {
	files := make([]rendered, 0, len(p.reads))
	versions := newVersions()
	missing := p.missing
	var oldest time.Time
	size := 0
	for i, rd := range p.reads {
		got := fetched[i]
		if got.Missing != nil {
			missing = append(missing, got.Missing)
			continue
		}
		if at := got.ReadAt; oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
		parts, err := r.parts(ctx, rd, got)
		if err != nil {
			return nil, err
		}
		mode := r.permission
		if rd.object.mode != nil {
			mode = *rd.object.mode
		}
		for _, made := range parts {
			if size += made.content.Len(); size > maxFiles {
				return nil, reason.New(reason.ObjectsInvalid, "spread them over several SecretProviderClasses",
					"the files of the volume have more than %d MiB together", maxFiles>>20)
			}
			files = append(files, rendered{object: &p.reads[i].object, file: &v1alpha1.File{
				Path: made.path, Mode: int32(mode), Contents: made.content.Reveal(),
			}})
		}
		versions.set(rd.id, got.Version)
	}
	if err := checkFiles(files); err != nil {
		return nil, err
	}
	answer := &v1alpha1.MountResponse{ObjectVersion: versions.list, Notices: notices(missing)}
	if !oldest.IsZero() {
		answer.ReadAtUnixMilli = oldest.UnixMilli()
	}
	answer.Files = slices.Grow(answer.Files, len(files))
	for _, f := range files {
		answer.Files = append(answer.Files, f.file)
	}
	return answer, nil
}

// parts makes the files of one object.
func (r renderer) parts(ctx context.Context, rd read, got keyvault.Object) ([]part, error) {
	var (
		content secret.Value
		err     error
	)
	switch {
	case rd.item.Type == keyvault.TypeKey:
		content, err = publicKey(rd, got.Key)
	case rd.item.Type == keyvault.TypeCertificate:
		content, err = leaf(rd, got.Content)
	case got.OfCertificate:
		return r.certificate(ctx, rd, got)
	default:
		content, err = plain(rd, got.Content)
	}
	if err != nil {
		return nil, err
	}
	return []part{{rd.path, content}}, nil
}

// plain makes the content of a secret that belongs to no certificate.
func plain(rd read, content secret.Value) (secret.Value, error) {
	if rd.object.caPath != "" {
		return secret.Value{}, rd.unusable("remove caAlias", "it belongs to no certificate, so that there is no chain for caAlias")
	}
	if rd.object.property != "" {
		var err error
		if content, err = valueOf(rd, content); err != nil {
			return secret.Value{}, err
		}
	}
	return decoded(rd, rd.path, content)
}

// decoded undoes the encoding that the entry says a secret has.
func decoded(rd read, path string, content secret.Value) (secret.Value, error) {
	var (
		bytes []byte
		err   error
	)
	switch rd.object.encoding {
	case encodingHex:
		bytes, err = hex.DecodeString(string(content.Reveal()))
	case encodingBase64:
		bytes, err = base64.StdEncoding.DecodeString(string(content.Reveal()))
	default:
		return content, nil
	}
	if err != nil {
		// The decoder's error could quote the content.
		return secret.Value{}, rd.unusable("correct objectEncoding, or the value",
			"objectEncoding %s: the content of file %s is not %s", rd.object.encoding, quote(path), rd.object.encoding)
	}
	return secret.New(bytes), nil
}

// versions are the objects of an answer with their versions, each object once.
type versions struct {
	list []*v1alpha1.ObjectVersion
	byID map[string]*v1alpha1.ObjectVersion
}

func newVersions() *versions { return &versions{byID: map[string]*v1alpha1.ObjectVersion{}} }

// set notes an object's version. The last one stays where entries ask for several versions of an object.
func (v *versions) set(id, version string) {
	if known := v.byID[id]; known != nil {
		known.Version = version
		return
	}
	v.byID[id] = &v1alpha1.ObjectVersion{Id: id, Version: version}
	v.list = append(v.list, v.byID[id])
}

// notices tells the driver which optional objects are not there, each once.
func notices(missing []error) []*v1alpha1.Notice {
	var list []*v1alpha1.Notice
	told := map[string]bool{}
	for _, err := range missing {
		text := "an optional object is left out: " + reason.OneLine(err.Error())
		if !told[text] {
			told[text] = true
			list = append(list, &v1alpha1.Notice{Reason: reason.ObjectOptionalMissing.Name, Text: text})
		}
	}
	return list
}
