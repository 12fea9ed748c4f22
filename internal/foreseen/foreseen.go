// SPDX-License-Identifier: Apache-2.0

// Package foreseen says which files a class of provider azure mounts before anything is mounted, in the words in which Secrets are held against them.
package foreseen

import (
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

const objects = "spec.parameters.objects"

// Files returns the files of a class, nil where its objects are not valid, so that nobody knows. Some providers are set up to write more files, which
// may be named and are not listed.
func Files(checked provider.Checked) []secretsync.Foreseen {
	if slices.ContainsFunc(checked.Problems, func(p provider.Problem) bool { return p.Path() == objects || strings.HasPrefix(p.Path(), objects+"[") }) {
		return nil
	}
	widest := checked.ObjectsWith(provider.CheckConfig{SeparateFiles: true, HistoryPlusOne: true})
	files := []secretsync.Foreseen{}
	for i, object := range checked.Objects {
		for j, file := range object.Files {
			others := widest[i].Files
			if j > 0 {
				others = []provider.CheckedFile{file}
			}
			files = append(files, secretsync.Foreseen{
				Path: file.Path,
				Matches: func(path string) bool {
					return slices.ContainsFunc(others, func(f provider.CheckedFile) bool { return f.Matches(path) })
				},
				NoCertificate: file.Content == provider.ContentPublicKey || file.Content == provider.ContentPrivateKey,
				NoKey:         file.Content == provider.ContentPublicKey || file.Content == provider.ContentCertificates,
			})
		}
	}
	return files
}
