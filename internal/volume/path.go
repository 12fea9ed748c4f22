// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"path"
	"strings"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

const (
	// maxPathLength is PATH_MAX less room for the terminating NUL, as for Kubernetes' Secret volumes.
	maxPathLength = 4096
	// maxElementLength is NAME_MAX.
	maxElementLength = 255
	// reserved begins the names that belong to the payload switch.
	reserved = ".."
)

const pathHint = "correct the file name (objectAlias, or the object's name) in the SecretProviderClass"

// ValidatePath reports why p cannot be a file's path inside a volume, or nil.
func ValidatePath(p string) error {
	var problem string
	switch {
	case p == "":
		problem = "invalid path: must not be empty"
	case path.IsAbs(p):
		problem = "invalid path: must be relative path"
	case len(p) > maxPathLength:
		problem = "invalid path: must be at most 4096 characters"
	case strings.ContainsRune(p, 0):
		problem = "invalid path: must not contain NUL"
	default:
		problem = elementProblem(p)
	}
	if problem == "" {
		return nil
	}
	return reason.New(reason.PathInvalid, pathHint, "%s: %q", problem, shorten(p))
}

func elementProblem(p string) string {
	for i, element := range strings.Split(p, "/") {
		switch {
		case element == "..":
			return "invalid path: must not contain '..'"
		case i == 0 && strings.HasPrefix(element, reserved):
			return "invalid path: must not start with '..'"
		case len(element) > maxElementLength:
			return "invalid path: each element must be at most 255 characters"
		}
	}
	if path.Clean(p) != p || p == "." {
		return "invalid filepath"
	}
	return ""
}

func shorten(p string) string {
	const most = 200
	if len(p) <= most {
		return p
	}
	return p[:most] + "…"
}

// plan is a validated set of files: one file per path, the last of those that share one.
type plan struct {
	files []secret.File
	// names are the top-level elements: what the user sees in the volume.
	names map[string]struct{}
}

func newPlan(files []secret.File) (plan, error) {
	p := plan{names: map[string]struct{}{}}
	index := make(map[string]int, len(files))
	for _, f := range files {
		if err := ValidatePath(f.Path); err != nil {
			return plan{}, err
		}
		if at, twice := index[f.Path]; twice {
			p.files[at] = f
			continue
		}
		index[f.Path] = len(p.files)
		p.files = append(p.files, f)
		top, _, _ := strings.Cut(f.Path, "/")
		p.names[top] = struct{}{}
	}
	for _, f := range p.files {
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			if _, taken := index[dir]; taken {
				return plan{}, reason.New(reason.PathInvalid, pathHint,
					"invalid path: %q is a file and also the folder of %q", shorten(dir), shorten(f.Path))
			}
		}
	}
	return p, nil
}
