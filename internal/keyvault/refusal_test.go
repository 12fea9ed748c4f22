// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// The bodies are those that Key Vault sends, names and ids apart.
func TestRefusals(t *testing.T) {
	const caller = "Caller: appid=22222222-2222-2222-2222-222222222222;oid=3;iss=https://sts.windows.net/1/\r\n"
	for _, tc := range []struct {
		name    string
		status  int
		code    string
		inner   string
		message string
		reason  reason.Reason
		says    []string
	}{
		{
			"no role", 403, "Forbidden", "ForbiddenByRbac",
			"Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed " +
				"recently, please observe propagation time.\r\n" + caller + "Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\n",
			reason.VaultForbidden, []string{
				`secret "db" in kv-platform-prod: identity ` + client + ` may not read secrets (ForbiddenByRbac)`,
				`az role assignment create --role "Key Vault Secrets User" --assignee ` + client,
				"--scope $(az keyvault show --name kv-platform-prod --query id -o tsv)",
			},
		},
		{
			"no policy", 403, "Forbidden", "AccessDenied", "The user, group or application 'appid=x' does not have secrets get permission",
			reason.VaultForbidden, []string{"az keyvault set-policy --name kv-platform-prod --spn " + client + " --secret-permissions get"},
		},
		{
			"firewall", 403, "Forbidden", "ForbiddenByFirewall",
			"Client address is not authorized and caller is not a trusted service.\r\nClient address: 203.0.113.9\r\n" + caller,
			reason.VaultFirewall, []string{"203.0.113.9", "az keyvault network-rule add --name kv-platform-prod --ip-address 203.0.113.9"},
		},
		{
			"firewall, odd address", 403, "Forbidden", "ForbiddenByFirewall", "Client address: 1:2:3:4:5:6:7:8:9\r\n",
			reason.VaultFirewall, []string{"--ip-address <address>"},
		},
		{
			"private", 403, "Forbidden", "ForbiddenByConnection", "Public network access is disabled\r\n" + caller,
			reason.VaultFirewall, []string{"private endpoint"},
		},
		{
			"disabled", 403, "Forbidden", "SecretDisabled", "Operation get is not allowed on a disabled secret.",
			reason.ObjectDisabled, []string{`secret "db" in kv-platform-prod is disabled`, "--enabled true"},
		},
		{"other 403", 403, "Forbidden", "", "no", reason.VaultForbidden, []string{"(Forbidden)"}},
		{
			"absent", 404, "SecretNotFound", "", "A secret with (name/id) db was not found in this key vault. If you recently deleted this secret",
			reason.ObjectNotFound, []string{
				`secret "db" in kv-platform-prod does not exist (SecretNotFound)`, "az keyvault secret set --vault-name kv-platform-prod --name db",
				"az keyvault secret recover",
			},
		},
		{"404 of something else", 404, "", "", "", reason.VaultAnswerInvalid, []string{"HTTP status 404"}},
		{"bad name", 400, "BadParameter", "", "The request URI contains an invalid name: db", reason.ObjectsInvalid, []string{"BadParameter"}},
		{"unauthorized", 401, "Unauthorized", "", "AKV10022: Invalid audience. Expected x, found: y.", reason.VaultUnauthorized, []string{"AKV10022"}},
		{"throttled", 429, "Throttled", "", "Request was not processed because too many requests were received.", reason.VaultThrottled, []string{"429"}},
		{"down", 503, "ServiceUnavailable", "", "later", reason.VaultUnreachable, []string{"503"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := map[string]any{"code": tc.code, "message": tc.message}
				if tc.inner != "" {
					inner["innererror"] = map[string]string{"code": tc.inner}
				}
				body, _ := json.Marshal(map[string]any{"error": inner})
				reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) { return answer(r, tc.status, string(body)), nil }))
				_, err := reader.Fetch(t.Context(), request("db"))
				if reason.Of(err) != tc.reason.Name {
					t.Fatalf("got %v", err)
				}
				text := err.Error()
				for _, want := range tc.says {
					if !strings.Contains(text, want) {
						t.Errorf("%q is missing in %q", want, text)
					}
				}
				if strings.ContainsAny(text, "\r\n") || len(text) > 600 || strings.Contains(text, "-----") {
					t.Errorf("not one short line: %q", text)
				}
			})
		})
	}
}

// Vaults are asked in a version that their cloud knows, and a page's link does not change it.
func TestTheVersionOfTheAPI(t *testing.T) {
	stack := entra.Cloud{Name: "AzurePublicCloud", AuthorityHost: "login.hub.example", VaultSuffix: "vault.hub.example"}
	for want, cloud := range map[string]entra.Cloud{"7.4": entra.PublicCloud(), "7.1": stack} {
		var asked []string
		reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, strings.Join(r.URL.Query()["api-version"], ","))
			if r.URL.Query().Has("$skiptoken") {
				return answer(r, 200, `{"value":[]}`), nil
			}
			return answer(r, 200, fmt.Sprintf(`{"value":[],"nextLink":"https://%s%s?api-version=2026-04-01&$skiptoken=abc"}`, r.URL.Host, r.URL.Path)), nil
		}))
		source := &namedTokens{entra.Identity{Cloud: cloud, Tenant: tenant, ClientID: client}}
		for _, objectType := range []string{"secret", "key", "cert"} {
			item := itemOf(objectType)
			if _, err := reader.List(t.Context(), source, item.Vault, item.Type); err != nil {
				t.Error(err)
			}
			if _, err := reader.Versions(t.Context(), source, item); err != nil {
				t.Error(err)
			}
			if _, err := reader.Fetch(t.Context(), keyvault.Request{Tokens: source, Items: []keyvault.Item{item}}); err == nil {
				t.Error("a listing is read as an object")
			}
		}
		if len(asked) != 3*5 || slices.ContainsFunc(asked, func(version string) bool { return version != want }) {
			t.Errorf("asked in %v, want %s", asked, want)
		}
	}
}

// A service that does not know the version is not a wrong name in a class.
func TestAnOldServiceIsSaidSo(t *testing.T) {
	for message, says := range map[string]string{
		"The specified version (7.4) is not recognized. Consider using the latest supported version (7.1).":         "7.4 of Key Vault's API, its latest is 7.1 (BadParameter)",
		"The specified version (7.4) is not recognized.":                                                            "7.4 of Key Vault's API (BadParameter)",
		"The specified version (7.4) is not recognized. Consider using the latest supported version (<b>\r\n</b>).": "7.4 of Key Vault's API (BadParameter)",
	} {
		body, _ := json.Marshal(map[string]any{"error": map[string]string{"code": "BadParameter", "message": message}})
		_, err := fetchOne(t, roundTrip(func(r *http.Request) (*http.Response, error) { return answer(r, 400, string(body)), nil }), itemOf("secret"))
		if reason.Of(err) != reason.VaultAnswerInvalid.Name || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "cloudName") ||
			strings.Contains(err.Error(), "objectName") {
			t.Errorf("got %v", err)
		}
	}
}

// A vault's refusal has a code. What refuses in its place, such as a firewall on the way, says nothing of roles.
func TestARefusalWithoutACodeIsNotTheVaults(t *testing.T) {
	for _, body := range []string{"", "<html><body>Access denied</body></html>", `{}`, `{"error":"blocked"}`, `{"error":{"code":"<b>"}}`} {
		for _, status := range []int{400, 403, 404} {
			_, err := fetchOne(t, roundTrip(func(r *http.Request) (*http.Response, error) { return answer(r, status, body), nil }), itemOf("secret"))
			if reason.Of(err) != reason.VaultAnswerInvalid.Name || !strings.Contains(err.Error(), fmt.Sprintf("HTTP status %d; see what answers under that name", status)) {
				t.Errorf("%d %s: got %v", status, body, err)
			}
		}
	}
}

func TestAMissingVersionIsSaidSo(t *testing.T) {
	reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		return answer(r, 404, `{"error":{"code":"SecretNotFound","message":"x"}}`), nil
	}))
	ask := request("db")
	ask.Items[0].Version = version
	_, err := reader.Fetch(t.Context(), ask)
	if reason.Of(err) != reason.ObjectNotFound.Name || !strings.Contains(err.Error(), "version "+version) ||
		!strings.Contains(err.Error(), "list-versions") {
		t.Fatalf("got %v", err)
	}
}
