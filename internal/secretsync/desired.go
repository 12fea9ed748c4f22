// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// Secret is a Kubernetes Secret as a class wants it.
type Secret struct {
	Name string
	Type core.SecretType
	// Labels and Annotations are those of the class; the syncer adds its own.
	Labels, Annotations map[string]string
	Data                map[string]secret.Value
}

// Desired returns the Secrets that a class makes of the files of one volume, in the order of the class, and a problem for each entry of
// secretObjects of which no Secret can be made. A problem with one entry does not touch the others.
//
// All names are trimmed. What the API server would refuse is refused here, in words that name the entry: names, keys, labels, the
// limit of 1 MiB, and the keys that the Secret's type needs (https://kubernetes.io/docs/concepts/configuration/secret/#secret-types).
func Desired(class *v1.SecretProviderClass, files []secret.File) ([]Secret, []*reason.Error) {
	var secrets []Secret
	var problems []*reason.Error
	for _, c := range candidates(class, files) {
		if c.problem != nil {
			problems = append(problems, c.problem)
		} else {
			secrets = append(secrets, c.secret)
		}
	}
	return secrets, problems
}

// candidate is one entry of secretObjects: the Secret that it makes, or the problem with it.
type candidate struct {
	name    string
	secret  Secret
	problem *reason.Error
}

func candidates(class *v1.SecretProviderClass, files []secret.File) []candidate {
	list := make([]candidate, 0, len(class.Spec.SecretObjects))
	for _, e := range entries(class, newMountedFiles(files, class.Spec.Parameters["objects"])) {
		c := candidate{name: e.made.Name}
		c.secret, c.problem = e.secret(files)
		list = append(list, c)
	}
	return list
}

// secret makes the Secret of the entry.
func (e entry) secret(files []secret.File) (Secret, *reason.Error) {
	if problems := e.check(); len(problems) > 0 {
		return Secret{}, problems[0].Err
	}
	byPath := map[string]secret.File{}
	for _, file := range files {
		byPath[file.Path] = file
	}
	sources := map[string]secret.File{}
	for _, item := range e.data {
		sources[item.key] = byPath[item.path]
	}
	made := e.made
	var problem *reason.Error
	if made.Type == core.SecretTypeTLS {
		made.Data, problem = e.tlsData(sources)
	} else {
		made.Data = map[string]secret.Value{}
		for key, file := range sources {
			made.Data[key] = file.Content
		}
		problem = e.checkContent(made.Type, made.Data)
	}
	if problem == nil {
		problem = e.checkSize(made, sources)
	}
	if problem != nil {
		return Secret{}, problem
	}
	return made, nil
}

// checkSize holds the Secret against the API server's limit, which counts values.
func (e entry) checkSize(s Secret, sources map[string]secret.File) *reason.Error {
	total := 0
	for _, value := range s.Data {
		total += value.Len()
	}
	if total <= core.MaxSecretSize {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(s.Data), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Data[b].Len(), s.Data[a].Len()), cmp.Compare(a, b))
	})
	const most = 3
	var largest []string
	for _, key := range keys[:min(most, len(keys))] {
		largest = append(largest, fmt.Sprintf("%s from file %s has %d", key, sources[key].Path, s.Data[key].Len()))
	}
	return reason.New(reason.SecretTooLarge, "leave the large files to the volume, or spread them over several Secrets",
		"%s: %d bytes are more than the %d that a Secret can hold: %s", e.where, total, core.MaxSecretSize, strings.Join(largest, ", "))
}
