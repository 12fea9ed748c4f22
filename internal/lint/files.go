// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// File is a manifest file.
type File struct {
	// Name is what findings call it.
	Name string
	Text []byte
}

// Files checks the SecretProviderClasses and the workloads in files, each by itself and against the others: classes, ServiceAccounts and Secrets
// that the files do not have may be in the cluster, and are not missed. namespace is that of objects without one. The answer has every object
// that was checked, and every document that is no YAML.
func Files(ctx context.Context, files []File, namespace string) []*Manifest {
	around := inFiles{classes: map[string]*v1.SecretProviderClass{}, accounts: map[string]*metav1.ObjectMeta{}, secrets: map[string]*metav1.ObjectMeta{}}
	var all, checked []*Manifest
	classes := map[*Manifest]*v1.SecretProviderClass{}
	for _, file := range files {
		all = append(all, read(file.Name, file.Text, namespace)...)
	}
	for _, m := range all {
		if class := m.class(); class != nil {
			classes[m] = class
			around.classes[m.Namespace+"/"+m.Name] = class
		}
		around.remember(m)
	}
	for _, m := range all {
		workload, err := WorkloadOf(m.Kind, m.Namespace, m.Name, m.document)
		class := classes[m]
		switch {
		case class != nil:
			m.Findings = append(m.Findings, Class(class)...)
			secrets, _ := Secrets(ctx, around, class) // files give no other errors
			m.Findings = append(m.Findings, secrets...)
		case m.Kind == "":
		case err != nil:
			m.invalid("", "see kubectl explain "+m.Kind, "%s", err)
		case workload != nil:
			warnings, _ := Pod(ctx, around, *workload)
			m.Findings = append(m.Findings, warnings...)
		default:
			continue
		}
		m.locate()
		checked = append(checked, m)
	}
	return checked
}

// inFiles is the world as far as files tell of it.
type inFiles struct {
	classes           map[string]*v1.SecretProviderClass
	accounts, secrets map[string]*metav1.ObjectMeta
}

func (w inFiles) remember(m *Manifest) {
	var kind map[string]*metav1.ObjectMeta
	switch {
	case m.Kind == "ServiceAccount" && m.group == "v1":
		kind = w.accounts
	case m.Kind == "Secret" && m.group == "v1":
		kind = w.secrets
	default:
		return
	}
	var object metav1.PartialObjectMetadata
	if json.Unmarshal(m.document, &object) == nil {
		kind[m.Namespace+"/"+m.Name] = &object.ObjectMeta
	}
}

func (w inFiles) Class(_ context.Context, namespace, name string) (*v1.SecretProviderClass, error) {
	if class := w.classes[namespace+"/"+name]; class != nil {
		return class, nil
	}
	return nil, ErrUnknown
}

func (w inFiles) Classes(_ context.Context, namespace string) ([]v1.SecretProviderClass, error) {
	var list []v1.SecretProviderClass
	for _, key := range slices.Sorted(maps.Keys(w.classes)) {
		if class := w.classes[key]; class.Namespace == namespace {
			list = append(list, *class)
		}
	}
	return list, nil
}

func (w inFiles) AccountAnnotations(_ context.Context, namespace, name string) (map[string]string, error) {
	if account := w.accounts[namespace+"/"+name]; account != nil {
		return account.Annotations, nil
	}
	return nil, ErrUnknown
}

func (w inFiles) SecretMetadata(_ context.Context, namespace, name string) (metav1.Object, error) {
	if secret := w.secrets[namespace+"/"+name]; secret != nil {
		return secret, nil
	}
	return nil, ErrUnknown
}
