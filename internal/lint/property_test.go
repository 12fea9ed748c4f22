// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/lint"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// noVault is where the provider has accepted the class and begins to read.
type noVault struct{}

var errAsked = reason.New(reason.VaultUnreachable, "", "asked")

func (noVault) Fetch(context.Context, keyvault.Request) ([]keyvault.Object, error) {
	return nil, errAsked
}

func (noVault) List(context.Context, keyvault.TokenSource, string, string) ([]keyvault.Listed, error) {
	return nil, errAsked
}

func (noVault) Versions(context.Context, keyvault.TokenSource, keyvault.Item) ([]keyvault.Listed, error) {
	return nil, errAsked
}

// refuses asks the provider itself. The pod brings the credentials that a class may leave to it; without a token, an accepted class ends in
// TokenMissing.
func refuses(t *rapid.T, server *provider.Server, parameters map[string]string) bool {
	attributes := maps.Clone(parameters)
	maps.Copy(attributes, map[string]string{
		"csi.storage.k8s.io/pod.name": "web", "csi.storage.k8s.io/pod.namespace": "payments", "csi.storage.k8s.io/serviceAccount.name": "app-sa",
	})
	text, err := json.Marshal(attributes)
	if err != nil {
		t.Fatal(err)
	}
	secrets := `{"clientid":"00001111-aaaa-2222-bbbb-3333cccc4444","clientsecret":"s"}`
	_, err = server.Mount(t.Context(), &v1alpha1.MountRequest{Attributes: string(text), Secrets: secrets, Permission: "420"})
	e, ok := reason.From(err)
	if !ok {
		t.Fatalf("the provider answered %v", err)
	}
	return !slices.Contains([]string{reason.VaultUnreachable.Name, reason.TokenMissing.Name}, e.Reason.Name)
}

// lint reports an error for exactly the classes that the provider refuses.
func TestLintAgreesWithTheProvider(t *testing.T) {
	server, err := provider.New(provider.Config{
		Endpoint: "unix:///unused/azure.sock", Objects: noVault{}, Logger: slog.New(slog.DiscardHandler),
		Session: func(entra.Login) keyvault.TokenSource { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	pick := func(t *rapid.T, what string, values ...string) string { return rapid.SampledFrom(values).Draw(t, what) }
	extras := []string{
		"objectAlias: x/y", "objectAlias: ../z", `objectAlias: "{name}"`, "objectVersion: latest", "objectVersion: v1", "objectVersionHistory: 2",
		"objectVersionHistory: x", "objectFormat: pfx", "objectFormat: pen", "objectEncoding: hex", "objectEncoding: none", `filePermission: "0400"`,
		`filePermission: "9"`, "optional: true", "optional: perhaps", "namePrefix: shop-", "namePattern: (", "property: a.b", "caAlias: ca.crt", "unknown: 1",
	}
	mostly := func(t *rapid.T, what, usual string, others ...string) string {
		if rapid.IntRange(0, 9).Draw(t, what+" as usual") > 0 {
			return usual
		}
		return pick(t, what, others...)
	}
	accepted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		class := validClass()
		class.Spec.SecretObjects = nil
		var entries []string
		for range rapid.IntRange(0, 3).Draw(t, "entries") {
			lines := []string{"objectName: " + pick(t, "name", "a", "b", "c", "d", "c_d"), "objectType: " + pick(t, "type", "secret", "secret", "secret", "key", "cert", "Secret")}
			if rapid.Bool().Draw(t, "more") {
				lines = append(lines, rapid.SampledFrom(extras).Draw(t, "extra"))
			}
			entries = append(entries, entry(lines...))
		}
		p := class.Spec.Parameters
		p["objects"] = objectsOf(entries...)
		p["keyvaultName"] = mostly(t, "vault", "kv-prod", "k", "", "kv_prod")
		p["tenantId"] = mostly(t, "tenant", "contoso.example", "", "a/b")
		p["clientID"] = mostly(t, "client", clientID, "", "name")
		p["cloudName"] = mostly(t, "cloud", "", "AzureUSGovernmentCloud", "Other")
		p["usePodIdentity"] = mostly(t, "pod identity", "false", "", "true", "x")
		p["useVMManagedIdentity"] = mostly(t, "VM identity", "false", "", "true")
		no := refuses(t, server, p)
		if no {
			refused++
		} else {
			accepted++
		}
		if findings := lint.Class(class); lint.Failed(findings) != no {
			t.Fatalf("the provider refuses: %v, lint: %+v", no, findings)
		}
	})
	if accepted == 0 || refused == 0 {
		t.Fatalf("the classes are all of one kind: %d accepted, %d refused", accepted, refused)
	}
}
