// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// Secret is a Kubernetes Secret as a class wants it.
type Secret struct {
	Name string
	Type corev1.SecretType
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
	mounted := newMountedFiles(files, class.Spec.Parameters["objects"])
	first := map[string]int{}
	list := make([]candidate, 0, len(class.Spec.SecretObjects))
	for i, object := range class.Spec.SecretObjects {
		if object == nil {
			object = &v1.SecretObject{}
		}
		c := candidate{name: strings.TrimSpace(object.SecretName)}
		e := entry{where: fmt.Sprintf("secretObjects[%d]", i), mounted: mounted}
		if c.name != "" {
			e.where += fmt.Sprintf(" (Secret %q)", c.name)
		}
		if other, taken := first[c.name]; taken && c.name != "" {
			c.problem = e.invalid("put all keys into one entry, or choose another secretName", "secretObjects[%d] has the same secretName", other)
		} else {
			first[c.name] = i
			c.secret, c.problem = e.secret(c.name, object)
		}
		list = append(list, c)
	}
	return list
}

// entry is one entry of secretObjects on its way to a Secret.
type entry struct {
	where   string
	mounted mountedFiles
}

func (e entry) invalid(next, format string, args ...any) *reason.Error {
	return reason.New(reason.SecretObjectInvalid, next, e.where+": "+format, args...)
}

func (e entry) secret(name string, object *v1.SecretObject) (Secret, *reason.Error) {
	made := Secret{
		Name: name, Type: corev1.SecretType(strings.TrimSpace(object.Type)), Labels: object.Labels, Annotations: object.Annotations,
	}
	if problem := e.checkMetadata(made); problem != nil {
		return Secret{}, problem
	}
	sources, problem := e.sources(object.Data)
	if problem != nil {
		return Secret{}, problem
	}
	if made.Type == corev1.SecretTypeTLS {
		made.Data, problem = e.tlsData(sources)
	} else {
		made.Data = map[string]secret.Value{}
		for key, file := range sources {
			made.Data[key] = file.Content
		}
		problem = e.checkType(made.Type, made.Data)
	}
	if problem == nil {
		problem = e.checkSize(made, sources)
	}
	if problem != nil {
		return Secret{}, problem
	}
	return made, nil
}

func (e entry) checkMetadata(s Secret) *reason.Error {
	switch {
	case s.Name == "":
		return e.invalid("set secretName", "secret name is empty")
	case s.Type == "":
		return e.invalid("set type, for example Opaque", "secret type is empty")
	}
	if wrong := validation.IsDNS1123Subdomain(s.Name); len(wrong) > 0 {
		return e.invalid("change secretName", "secretName is not a possible name of a Secret: %s", strings.Join(wrong, "; "))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		if wrong := slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(s.Labels[key])); len(wrong) > 0 {
			return e.invalid("change that label", "label %q is not possible: %s", key, strings.Join(wrong, "; "))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Annotations)) {
		if wrong := validation.IsQualifiedName(strings.ToLower(key)); len(wrong) > 0 {
			return e.invalid("change that annotation", "annotation %q is not possible: %s", key, strings.Join(wrong, "; "))
		}
	}
	return nil
}

// sources finds the file of each key.
func (e entry) sources(data []*v1.SecretObjectData) (map[string]secret.File, *reason.Error) {
	if len(data) == 0 {
		return nil, e.invalid("list at least one objectName and key under data", "data is empty")
	}
	sources := map[string]secret.File{}
	for i, item := range data {
		if item == nil {
			item = &v1.SecretObjectData{}
		}
		objectName, key := strings.TrimSpace(item.ObjectName), strings.TrimSpace(item.Key)
		switch _, taken := sources[key]; {
		case objectName == "":
			return nil, e.invalid("set objectName to the path of a mounted file", "data[%d]: object name in secretObjects.data is empty", i)
		case key == "":
			return nil, e.invalid("set key", "data[%d]: key in secretObjects.data is empty", i)
		case taken:
			return nil, e.invalid("give each file a key of its own", "data[%d]: key %q stands there twice", i, key)
		}
		if wrong := validation.IsConfigMapKey(key); len(wrong) > 0 {
			return nil, e.invalid("change that key", "data[%d]: key %q is not a possible key of a Secret: %s", i, key, strings.Join(wrong, "; "))
		}
		file, found := e.mounted.byPath[objectName]
		if !found {
			return nil, e.invalid(e.mounted.hint(objectName), "file matching objectName %s not found in the pod (%s)", objectName, e.mounted.list())
		}
		sources[key] = file
	}
	return sources, nil
}

// checkSize holds the Secret against the API server's limit, which counts values.
func (e entry) checkSize(s Secret, sources map[string]secret.File) *reason.Error {
	total := 0
	for _, value := range s.Data {
		total += value.Len()
	}
	if total <= corev1.MaxSecretSize {
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
		"%s: %d bytes are more than the %d that a Secret can hold: %s", e.where, total, corev1.MaxSecretSize, strings.Join(largest, ", "))
}
