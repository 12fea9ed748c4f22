// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/foreseen"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

const (
	azure      = "azure"
	parameters = "spec.parameters"
	objects    = parameters + ".objects"
)

// Class checks a SecretProviderClass by itself: the general rules for any provider, and for provider azure all of them.
func Class(class *v1.SecretProviderClass) []Finding {
	var findings []Finding
	add := func(field string, err *reason.Error) {
		if err != nil {
			findings = append(findings, found(Error, field, err))
		}
	}
	where := class.Namespace + "/" + class.Name
	add("spec.provider", classrule.Provider(class, where))
	if class.Spec.Provider != "" {
		add("spec.provider", classrule.ProviderName(string(class.Spec.Provider)))
	}
	add(parameters, classrule.Parameters(class, where))
	var files []secretsync.Foreseen
	if class.Spec.Provider == azure && class.Spec.Parameters != nil {
		var refused []Finding
		refused, files = azureParameters(class)
		findings = append(findings, refused...)
	}
	for _, problem := range secretsync.Check(class, files) {
		add(problem.Field, problem.Err)
	}
	return without(findings, class.Annotations)
}

// azureParameters checks the parameters as the provider does, and returns the files that it will mount; nil where they are not known.
func azureParameters(class *v1.SecretProviderClass) ([]Finding, []secretsync.Foreseen) {
	checked := provider.Check(class.Spec.Parameters, provider.CheckConfig{})
	severity := Error
	// Such a class may be complete only with what its pods set.
	open := class.Annotations[classrule.OverrideAnnotation] == "true"
	if open {
		severity = Warning
	}
	var findings []Finding
	add := func(severity Severity, p provider.Problem) {
		findings = append(findings, Finding{Severity: severity, Reason: p.Reason, Field: p.Path(), Message: p.Text, objectsLine: p.Line})
	}
	for _, p := range checked.Problems {
		add(severity, p)
	}
	for _, p := range checked.Ignored {
		add(Warning, p)
	}
	findings = append(findings, roles(checked)...)
	if open || len(class.Spec.SecretObjects) == 0 {
		return findings, nil // nobody knows, or nobody asks
	}
	return findings, foreseen.Files(checked)
}

// roles reminds of the role that reading keys and certificates takes: it does not follow from the one for secrets, which most identities have.
// One finding for each vault and role.
func roles(checked provider.Checked) []Finding {
	type need struct{ vault, role string }
	names := map[need][]string{}
	first := map[need]provider.CheckedObject{}
	var order []need
	for _, object := range checked.Objects {
		if object.Type == keyvault.TypeSecret {
			continue
		}
		n := need{object.Vault, keyvault.Role(object.Type)}
		if _, known := first[n]; !known {
			first[n] = object
			order = append(order, n)
		}
		noun := "key"
		if object.Type == keyvault.TypeCertificate {
			noun = "certificate"
		}
		if object.Name != "" {
			noun += fmt.Sprintf(" %q", object.Name)
		} else {
			noun += "s that are selected"
		}
		names[n] = append(names[n], noun)
	}
	assignee := checked.ClientID
	if assignee == "" {
		assignee = "<identity>"
	}
	var findings []Finding
	for _, n := range order {
		const most = 3
		list := names[n]
		if more := len(list) - most; more > 0 {
			list = append(slices.Clone(list[:most]), fmt.Sprintf("%d more", more))
		}
		findings = append(findings, Finding{
			Severity: Warning, Reason: reason.VaultForbidden, Field: fmt.Sprintf("%s[%d]", objects, first[n].Index), objectsLine: first[n].Line,
			Message: fmt.Sprintf("%s in %s: reading takes the role %q, which %q does not include", strings.Join(list, ", "), n.vault, n.role, keyvault.Role(keyvault.TypeSecret)),
			Next:    keyvault.Grant(n.role, "", assignee, n.vault),
		})
	}
	return findings
}
