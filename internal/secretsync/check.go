// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/pemfile"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// Foreseen is a file that a class will mount, as far as that can be told before anything is mounted.
type Foreseen struct {
	// Path is the file's path in the volume, or a text that stands for those of several files.
	Path string
	// Matches reports whether the file, or one of the files, can have a path. Nil means that Path is the only one.
	Matches func(path string) bool
	// NoCertificate and NoKey say what the file cannot hold: a certificate, a private key.
	NoCertificate, NoKey bool
}

func (f Foreseen) matches(path string) bool {
	if f.Matches == nil {
		return f.Path == path
	}
	return f.Matches(path)
}

// Problem is something wrong with an entry of secretObjects.
type Problem struct {
	// Field is where, as in "spec.secretObjects[1].data[0].objectName".
	Field string
	Err   *reason.Error
}

const (
	// maxProblems bounds how many problems of a class, and of one entry, are told one by one.
	maxProblems = 100
	// maxComparisons bounds how often Check holds a name against a file: a tenth of a second.
	maxComparisons = 2_000_000
)

// Check returns everything for which [Desired] will refuse an entry of secretObjects, as far as that does not depend on what the files hold: the
// same errors, and all of them; only of more than 100, the last one says that there are more. files are those that the class will mount; nil where
// that is not known.
func Check(class *v1.SecretProviderClass, files []Foreseen) []Problem {
	names := 0
	for _, object := range class.Spec.SecretObjects {
		if object != nil {
			names += len(object.Data)
		}
	}
	// So large a class is held against its files when it is mounted.
	unknown := files == nil || names*len(files) > maxComparisons
	var problems []Problem
	for _, e := range entries(class, &mountedFiles{files: files, unknown: unknown, objects: class.Spec.Parameters["objects"]}) {
		problems = append(problems, e.check()...)
		if len(problems) > maxProblems {
			return append(problems[:maxProblems:maxProblems], Problem{"spec.secretObjects", reason.New(reason.SecretObjectInvalid, "correct these first",
				"there are more mistakes in secretObjects than these %d", maxProblems)})
		}
	}
	return problems
}

// entry is one entry of secretObjects on its way to a Secret.
type entry struct {
	// where begins every message about the entry, field every path of a field in it.
	where, field string
	mounted      *mountedFiles
	// sameName is the entry before this one that has the same secretName, or -1.
	sameName int
	// made is the Secret without its data.
	made Secret
	data []item
}

// item is one entry of data, trimmed.
type item struct{ path, key string }

func entries(class *v1.SecretProviderClass, mounted *mountedFiles) []entry {
	first := map[string]int{}
	list := make([]entry, 0, len(class.Spec.SecretObjects))
	for i, object := range class.Spec.SecretObjects {
		if object == nil {
			object = &v1.SecretObject{}
		}
		e := entry{
			where: fmt.Sprintf("secretObjects[%d]", i), field: fmt.Sprintf("spec.secretObjects[%d]", i), mounted: mounted, sameName: -1,
			made: Secret{
				Name: strings.TrimSpace(object.SecretName), Type: core.SecretType(strings.TrimSpace(object.Type)),
				Labels: object.Labels, Annotations: object.Annotations,
			},
		}
		if e.made.Name != "" {
			e.where += fmt.Sprintf(" (Secret %q)", shorten(e.made.Name))
			if other, taken := first[e.made.Name]; taken {
				e.sameName = other
			} else {
				first[e.made.Name] = i
			}
		}
		for _, data := range object.Data {
			if data == nil {
				data = &v1.SecretObjectData{}
			}
			e.data = append(e.data, item{path: strings.TrimSpace(data.ObjectName), key: strings.TrimSpace(data.Key)})
		}
		list = append(list, e)
	}
	return list
}

func (e entry) invalid(next, format string, args ...any) *reason.Error {
	return reason.New(reason.SecretObjectInvalid, next, e.where+": "+format, args...)
}

// check finds what is wrong with the entry whatever the files hold.
func (e entry) check() []Problem {
	if e.sameName >= 0 {
		return []Problem{{e.field + ".secretName", e.invalid("put all keys into one entry, or choose another secretName",
			"secretObjects[%d] has the same secretName", e.sameName)}}
	}
	problems := slices.Concat(e.checkMetadata(), e.checkData())
	if len(e.data) > 0 && e.made.Type != "" {
		problems = append(problems, e.checkKeys()...)
	}
	return problems
}

func (e entry) checkMetadata() []Problem {
	var problems []Problem
	add := func(field, next, format string, args ...any) {
		problems = append(problems, Problem{e.field + field, e.invalid(next, format, args...)})
	}
	if e.made.Name == "" {
		add(".secretName", "set secretName", "secret name is empty")
	} else if wrong := validation.IsDNS1123Subdomain(e.made.Name); len(wrong) > 0 {
		add(".secretName", "change secretName", "secretName is not a possible name of a Secret: %s", strings.Join(wrong, "; "))
	}
	if e.made.Type == "" {
		add(".type", "set type, for example Opaque", "secret type is empty")
	}
	for _, key := range slices.Sorted(maps.Keys(e.made.Labels)) {
		if len(problems) > maxProblems {
			break
		}
		if wrong := slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(e.made.Labels[key])); len(wrong) > 0 {
			add(".labels", "change that label", "label %q is not possible: %s", shorten(key), strings.Join(wrong, "; "))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.made.Annotations)) {
		if len(problems) > maxProblems {
			break
		}
		if wrong := validation.IsQualifiedName(strings.ToLower(key)); len(wrong) > 0 {
			add(".annotations", "change that annotation", "annotation %q is not possible: %s", shorten(key), strings.Join(wrong, "; "))
		}
	}
	return problems
}

// checkData holds each entry of data against the files.
func (e entry) checkData() []Problem {
	if len(e.data) == 0 {
		return []Problem{{e.field + ".data", e.invalid("list at least one objectName and key under data", "data is empty")}}
	}
	var problems []Problem
	taken := map[string]bool{}
	for i, item := range e.data {
		if len(problems) > maxProblems {
			break
		}
		field := fmt.Sprintf("%s.data[%d]", e.field, i)
		add := func(name, next, format string, args ...any) {
			problems = append(problems, Problem{field + name, e.invalid(next, format, args...)})
		}
		if item.path == "" {
			add(".objectName", "set objectName to the path of a mounted file", "data[%d]: object name in secretObjects.data is empty", i)
		}
		switch wrong := validation.IsConfigMapKey(item.key); {
		case item.key == "":
			add(".key", "set key", "data[%d]: key in secretObjects.data is empty", i)
		case taken[item.key]:
			add(".key", "give each file a key of its own", "data[%d]: key %q stands there twice", i, shorten(item.key))
		case len(wrong) > 0:
			add(".key", "change that key", "data[%d]: key %q is not a possible key of a Secret: %s", i, shorten(item.key), strings.Join(wrong, "; "))
		}
		taken[item.key] = true
		if item.path != "" && !e.mounted.has(item.path) {
			add(".objectName", e.mounted.hint(item.path), "file matching objectName %s not found in the pod (%s)", shorten(item.path), e.mounted.list())
		}
	}
	return problems
}

// checkKeys holds the keys against what the API server asks of a type (https://kubernetes.io/docs/concepts/configuration/secret/#secret-types).
// Types that are not listed take any keys.
func (e entry) checkKeys() []Problem {
	kind := e.made.Type
	field := e.field + ".data"
	switch kind {
	case core.SecretTypeTLS:
		return e.checkTLS()
	case core.SecretTypeDockerConfigJson:
		return e.need(core.DockerConfigJsonKey)
	case core.SecretTypeDockercfg:
		return e.need(core.DockerConfigKey)
	case core.SecretTypeSSHAuth:
		return e.need(core.SSHAuthPrivateKey)
	case core.SecretTypeBasicAuth:
		_, user := e.pathOf(core.BasicAuthUsernameKey)
		_, password := e.pathOf(core.BasicAuthPasswordKey)
		if !user && !password {
			return []Problem{{field, e.invalid("add one of them to data", "type %s needs the key %q or %q",
				kind, core.BasicAuthUsernameKey, core.BasicAuthPasswordKey)}}
		}
	}
	return nil
}

// need asks for a key of data.
func (e entry) need(key string) []Problem {
	if _, there := e.pathOf(key); there {
		return nil
	}
	return []Problem{{e.field + ".data", e.invalid("add the key to data, or choose type Opaque", "type %s needs the key %q", shorten(string(e.made.Type)), key)}}
}

// pathOf returns the file of a key.
func (e entry) pathOf(key string) (string, bool) {
	for _, item := range e.data {
		if item.key == key {
			return item.path, true
		}
	}
	return "", false
}

// checkTLS holds data against type kubernetes.io/tls.
func (e entry) checkTLS() []Problem {
	var problems []Problem
	for i, item := range e.data {
		if len(problems) > maxProblems {
			break
		}
		if item.key != "" && item.key != core.TLSCertKey && item.key != core.TLSPrivateKeyKey && item.key != caKey {
			problems = append(problems, Problem{fmt.Sprintf("%s.data[%d].key", e.field, i), e.invalid(
				"use another entry with type Opaque for other keys", "key '%s' is not supported. Only 'tls.key', 'tls.crt' and 'ca.crt' are supported", shorten(item.key))})
		}
	}
	certificateFile, hasCertificate := e.pathOf(core.TLSCertKey)
	keyFile, hasKey := e.pathOf(core.TLSPrivateKeyKey)
	for _, key := range []string{core.TLSCertKey, core.TLSPrivateKeyKey} {
		if _, there := e.pathOf(key); !there {
			problems = append(problems, Problem{e.field + ".data", e.invalid(
				"add the key to data; both may name the same file", "type %s needs the key %q", shorten(string(e.made.Type)), key)})
		}
	}
	if !hasCertificate || !hasKey {
		return problems
	}
	lacks := func(path string, what func(Foreseen) bool) bool {
		files := e.mounted.matching(path)
		return len(files) > 0 && !slices.ContainsFunc(files, func(f Foreseen) bool { return !what(f) })
	}
	switch {
	case lacks(certificateFile, func(f Foreseen) bool { return f.NoCertificate }):
		problems = append(problems, Problem{e.fieldOf(core.TLSCertKey), e.noPair(certificateFile, keyFile, pemfile.ErrNoCertificate)})
	case lacks(keyFile, func(f Foreseen) bool { return f.NoKey }):
		problems = append(problems, Problem{e.fieldOf(core.TLSPrivateKeyKey), e.noPair(certificateFile, keyFile, pemfile.ErrNoKey)})
	}
	return problems
}

// fieldOf is where the file of a key is named.
func (e entry) fieldOf(key string) string {
	i := slices.IndexFunc(e.data, func(i item) bool { return i.key == key })
	return fmt.Sprintf("%s.data[%d].objectName", e.field, i)
}
