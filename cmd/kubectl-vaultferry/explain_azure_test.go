// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator"
)

// platform is the state of Azure in which all is right for the pods of healthy.yaml.
const platform = `
applications:
- {name: reader, clientId: 44444444-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: reader-secret}]}
managedIdentities:
- name: id-app-secrets
  clientId: 00001111-aaaa-2222-bbbb-3333cccc4444
  federatedCredentials:
  - {name: fic-app, issuer: 'https://kubernetes.default.svc.cluster.local', subject: 'system:serviceaccount:payments:app-sa'}
vaults:
- {name: kv-platform-prod, secrets: [{name: db-connection-string, value: canary-value}]}
roleAssignments:
- {role: Key Vault Secrets User, assignee: id-app-secrets, scope: kv-platform-prod}
- {role: Key Vault Certificate User, assignee: id-app-secrets, scope: kv-platform-prod}
- {role: Reader, assignee: reader, scope: /subscriptions/eeeeeeee-1111-2222-3333-444444444444}
`

// startAzure runs the emulator and returns the flags that lead to it.
func startAzure(t *testing.T, state string) []string {
	t.Helper()
	dir := t.TempDir()
	stateFile, caFile := filepath.Join(dir, "state.yaml"), filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(stateFile, []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := emulator.New(emulator.Config{
		Listen: "127.0.0.1:0", ProxyListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", StateFile: stateFile, PollInterval: time.Hour, Now: time.Now,
		Audit: io.Discard, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(caFile, e.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // it has to outlast the test, until its cleanup
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return []string{"--azure=always", "--azure-proxy", "http://" + e.Addresses().Proxy, "--azure-ca-file", caFile}
}

// Azure Resource Manager tells what is wrong before any pod has tried, with the names that the command needs.
func TestExplainAsksAzure(t *testing.T) {
	for _, c := range []struct {
		name            string
		breaks, instead string
		code            int
		want            []string
	}{
		{"all right", "", "", exitOK, []string{"managed identity id-app-secrets in resource group", "credential fic-app of id-app-secrets trusts it", "has Key Vault Secrets User at "}},
		{"a typo in the subject", "payments:app-sa", "payments:app-as", exitFound, []string{
			"[broken]", "FederatedSubjectMismatch: the pod's token has subject system:serviceaccount:payments:app-sa", "credential fic-app has subject system:serviceaccount:payments:app-as",
			"az identity federated-credential create --name fic-payments-app-sa --identity-name id-app-secrets --resource-group ",
			"--issuer https://kubernetes.default.svc.cluster.local --subject system:serviceaccount:payments:app-sa --audience api://AzureADTokenExchange",
		}},
		{"another issuer", "kubernetes.default.svc.cluster.local", "kubernetes.default.svc.cluster.local/", exitFound, []string{"FederatedIssuerMismatch"}},
		{"no role for secrets", "- {role: Key Vault Secrets User, assignee: id-app-secrets, scope: kv-platform-prod}\n", "", exitOK, []string{"has Key Vault Certificate User at "}},
		{"no role at all", "Key Vault Certificate User, assignee: id-app-secrets", "Reader, assignee: id-app-secrets", exitFound, []string{
			"VaultForbidden", "has only ", `az role assignment create --role "Key Vault Certificate User" --assignee-object-id `, "/providers/Microsoft.KeyVault/vaults/kv-platform-prod",
		}},
		{"credentials that may not be read", "roleAssignments:", "faults: [{service: management, path: federatedIdentityCredentials, status: 403}]\nroleAssignments:", exitOK, []string{
			"not looked up: listing the federated credentials of identity id-app-secrets: your Azure account may not read there", "managed identity id-app-secrets in resource group",
		}},
		{"an identity of somewhere else", "00001111-aaaa-2222-bbbb-3333cccc4444", "00001111-aaaa-2222-bbbb-3333cccc5555", exitOK, []string{
			"no managed identity has this client id in the subscriptions that your Azure credentials see",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			flags := startAzure(t, strings.ReplaceAll(platform, orNothing(c.breaks), c.instead))
			_, url := startAPIServer(t, "testdata/cluster/healthy.yaml")
			config := filepath.Join(t.TempDir(), "kubeconfig")
			if err := os.WriteFile(config, []byte(kubeconfig(url)), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			environment := map[string]string{
				"AZURE_TENANT_ID": "ffffffff-1111-2222-3333-444444444444", "AZURE_CLIENT_ID": "44444444-aaaa-2222-bbbb-3333cccc4444", "AZURE_CLIENT_SECRET": "reader-secret",
			}
			code := run(append([]string{"kubectl-vaultferry", "--kubeconfig", config, "explain", "deployment/payments-api"}, flags...), streams{
				out: &out, err: &errs, terminal: func(io.Writer) bool { return false }, getenv: func(name string) string { return environment[name] },
			})
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errs.String())
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing in:\n%s", want, out.String())
				}
			}
			if all := out.String() + errs.String(); strings.Contains(all, "reader-secret") || strings.Contains(all, "canary-value") {
				t.Error("the output holds a secret")
			}
		})
	}
}

// orNothing keeps strings.ReplaceAll from replacing the empty string.
func orNothing(text string) string {
	if text == "" {
		return "\x00"
	}
	return text
}
