// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/entra"
)

// The classes of docs/identities.md are valid and mean what the page says.
func TestTheClassesOfTheIdentitiesPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/identities.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(page)
	writeFile(t, filepath.Join(dir, "hub.json"), string(file[1]))

	got := map[string]entra.Mode{}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		if !strings.Contains(string(block[1]), "kind: SecretProviderClass") {
			continue
		}
		var class struct {
			Metadata struct{ Name string }
			Spec     struct{ Parameters map[string]string }
		}
		if err := yaml.Unmarshal(block[1], &class); err != nil {
			t.Fatal(err)
		}
		attributes := maps.Clone(class.Spec.Parameters)
		for _, key := range []string{podNameKey, podNamespaceKey, serviceAccountKey} {
			attributes[key] = "x"
		}
		c, err := parseClass(attributes, map[string]string{"clientid": principalClient, "clientsecret": canary}, &clouds{fallback: "AzurePublicCloud", dir: dir}, nil)
		if err != nil {
			t.Errorf("%s: %v", class.Metadata.Name, err)
		}
		got[class.Metadata.Name] = c.identity.mode
	}
	want := map[string]entra.Mode{
		"app-kv": entra.WorkloadIdentity, "node-kv": entra.ManagedIdentity, "sp-kv": entra.ServicePrincipal, "bound-kv": entra.IdentityBinding,
		"hub-kv": entra.WorkloadIdentity,
	}
	if !maps.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
