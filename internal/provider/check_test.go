// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// classParameters is what an author writes: attributes without what kubelet adds.
func classParameters(change map[string]string) map[string]string {
	p := validAttributes()
	for _, key := range []string{classNameKey, podNameKey, podNamespaceKey, serviceAccountKey} {
		delete(p, key)
	}
	maps.Copy(p, change)
	return p
}

func TestCheckedClass(t *testing.T) {
	got := Check(classParameters(map[string]string{"objects": objectsOf(
		[]string{"objectName: tls", "objectType: secret", "objectAlias: tls/server", "caAlias: tls/ca.crt"},
		[]string{"objectName: signer", "objectType: key", "keyvaultName: kv-other", "objectVersionHistory: 3"},
		[]string{"namePrefix: shop-", "objectType: cert", `objectAlias: "shop/{name}.pem"`},
		[]string{"objectName: db", "objectType: secret", "property: user", "optional: true"},
	)}), CheckConfig{SeparateFiles: true, HistoryPlusOne: true})
	want := Checked{
		Vault: "kv-platform-prod", Mode: entra.WorkloadIdentity, Tenant: "ffffffff-1111-2222-3333-444444444444", ClientID: "00001111-aaaa-2222-bbbb-3333cccc4444",
		Objects: []CheckedObject{
			{Index: 0, Line: 5, Vault: "kv-platform-prod", Type: keyvault.TypeSecret, Name: "tls", Files: []CheckedFile{
				{Path: "tls/server"}, {Path: "tls/server.crt", Content: ContentCertificates, Maybe: true},
				{Path: "tls/server.key", Content: ContentPrivateKey, Maybe: true}, {Path: "tls/ca.crt", Content: ContentCertificates},
			}},
			{Index: 1, Line: 7, Vault: "kv-other", Type: keyvault.TypeKey, Name: "signer", Lists: true, Files: []CheckedFile{
				{Path: "signer", Versions: 4, Content: ContentPublicKey},
			}},
			{Index: 2, Line: 15, Vault: "kv-platform-prod", Type: keyvault.TypeCertificate, Lists: true, Files: []CheckedFile{
				{Path: "shop/{name}.pem", Content: ContentCertificates, Maybe: true},
			}},
			{Index: 3, Line: 16, Vault: "kv-platform-prod", Type: keyvault.TypeSecret, Name: "db", Optional: true, Files: []CheckedFile{
				{Path: "db", Maybe: true},
			}},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Checked{}, CheckedFile{}, Problem{})); diff != "" {
		t.Fatal(diff)
	}
}

func TestProblemsHaveTheirPlace(t *testing.T) {
	got := Check(classParameters(map[string]string{
		"keyvaultName": "", "keyvaultname": "kv", "cloudName": "AzureStackCloud", "clientID": "app",
		"objects": "array:\n  - |\n    objectName: a\n    objectType: sceret\n    objectalias: b\n  - |\n    objectName: [b]\n" +
			"  - |\n    objectName: c\n    objectType: secret\n  - |\n    objectName: c\n    objectType: key\n",
	}), CheckConfig{})
	type place struct {
		Path, Reason string
		Line         int
	}
	var problems, ignored []place
	for _, p := range got.Problems {
		problems = append(problems, place{p.Path(), p.Reason.Name, p.Line})
	}
	for _, p := range got.Ignored {
		ignored = append(ignored, place{p.Path(), p.Reason.Name, p.Line})
	}
	want := []place{
		{"spec.parameters.keyvaultName", reason.ParameterInvalid.Name, 0},
		{"spec.parameters.cloudEnvFileName", reason.ParameterInvalid.Name, 0},
		{"spec.parameters.clientID", reason.ParameterInvalid.Name, 0},
		{"spec.parameters.objects[0].objectType", reason.ObjectsInvalid.Name, 4},
		{"spec.parameters.objects[1]", reason.ObjectsInvalid.Name, 7},
		{"spec.parameters.objects[1].objectType", reason.ObjectsInvalid.Name, 6},
		{"spec.parameters.objects[1].objectName", reason.ObjectsInvalid.Name, 6},
		{"spec.parameters.objects[3].objectAlias", reason.ObjectsInvalid.Name, 11},
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Error(diff)
	}
	wantIgnored := []place{
		{"spec.parameters.objects[0].objectalias", reason.ParameterInvalid.Name, 5},
		{"spec.parameters.keyvaultname", reason.ParameterInvalid.Name, 0},
	}
	if diff := cmp.Diff(wantIgnored, ignored); diff != "" {
		t.Error(diff)
	}
}

// A class without clientID may get a service principal's credentials from the pod; the class alone is not wrong.
func TestAServicePrincipalIsThePodsMatter(t *testing.T) {
	got := Check(classParameters(map[string]string{"clientID": ""}), CheckConfig{})
	if len(got.Problems) > 0 || got.Mode != entra.ServicePrincipal {
		t.Fatalf("%+v", got)
	}
}

func TestCheckedFilesMatch(t *testing.T) {
	check := func(lines ...string) CheckedFile {
		return Check(classParameters(map[string]string{"objects": objectsOf(lines)}), CheckConfig{SeparateFiles: true}).Objects[0].Files[0]
	}
	history := check("objectName: a", "objectType: secret", "objectVersionHistory: 3")
	selected := check("namePrefix: db-", "namePattern: .*[a-z]", "objectType: secret", `objectAlias: "{name}/{name}.txt"`)
	for _, tc := range []struct {
		file CheckedFile
		name string
		want bool
	}{
		{check("objectName: a", "objectType: secret"), "a", true},
		{check("objectName: a", "objectType: secret"), "a/0", false},
		{history, "a", false},
		{history, "a/2", true},
		{history, "a/3", false},
		{history, "a/2.crt", false},
		{selected, "db-x/db-x.txt", true},
		{selected, "db-x/db-y.txt", false},
		{selected, "db-x1/db-x1.txt", false},
		{selected, "x/x.txt", false},
		{selected, "db-x/db-x.txt.txt", false},
		{selected, ".txt", false},
		{selected, "", false},
	} {
		if got := tc.file.Matches(tc.name); got != tc.want {
			t.Errorf("%s matches %q: %v", tc.file.Path, tc.name, got)
		}
	}
}

// What Check accepts the provider accepts from a pod that brings everything, with the same files and the same texts; and the other way round.
func TestCheckAgreesWithMount(t *testing.T) {
	values := map[string][]string{
		"keyvaultName": {"kv-platform-prod", "kv", ""}, "tenantID": {"t", "a/b", ""}, "cloudName": {"", "azurecloud", "Azur"},
		"clientID": {principalClient, "app", ""}, "usePodIdentity": {"false", "true", "x"}, "useVMManagedIdentity": {"", "true"},
		"useAzureTokenProxy": {"", "true"}, "userAssignedIdentityID": {"", "x"}, "objects": {validObjects, "", "[]", entryOf("objectName: a")},
	}
	rapid.Check(t, func(t *rapid.T) {
		class := map[string]string{}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			class[key] = rapid.SampledFrom(values[key]).Draw(t, key)
		}
		attributes := maps.Clone(class)
		for _, key := range []string{podNameKey, podNamespaceKey, serviceAccountKey} {
			attributes[key] = "x"
		}
		principal := map[string]string{"clientid": principalClient, "clientsecret": canary}
		mounted, err := parseClass(attributes, principal, &clouds{fallback: "AzurePublicCloud"}, nil)
		checked := Check(class, CheckConfig{})
		if said := (&problems{list: checked.Problems}).err(); (said == nil) != (err == nil) || said != nil && said.Error() != err.Error() {
			t.Fatalf("Check says %v, a mount %v", said, err)
		}
		if len(checked.Objects) != len(mounted.objects) || checked.Mode != mounted.identity.mode {
			t.Fatalf("Check finds %+v, a mount %+v", checked, mounted)
		}
	})
}
