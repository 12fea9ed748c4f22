// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/vaultferry/vaultferry/internal/emulator"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

const bindings = `
identityBindings:
  sniName: cluster.ests.aks
  issuer: 'ISSUER'
  bindings:
  - {identity: id-app-secrets, serviceAccounts: [payments/app-sa, payments/other]}
`

func startBindings(t *testing.T) (*running, *issuer) {
	t.Helper()
	is := newIssuer(t)
	state := strings.ReplaceAll(platform+bindings, "ISSUER", is.url)
	return start(t, state, func(c *emulator.Config) { c.IssuerCAFiles, c.BindingListen = []string{is.caFile}, "127.0.0.1:0" }), is
}

// bindingClaims are those of a valid token, for tests to break one.
func bindingClaims(is *issuer, now time.Time) map[string]any {
	claims := is.claims(now)
	claims["aud"] = []string{"api://AKSIdentityBinding"}
	return claims
}

// The official SDK with nothing but the environment that the webhook injects.
func TestGoSDKIdentityBinding(t *testing.T) {
	r, is := startBindings(t)
	dir := t.TempDir()
	caFile, tokenFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	write(t, caFile, string(r.BindingCA()))
	write(t, tokenFile, is.sign(t, bindingClaims(is, r.clock.now())))
	t.Setenv("AZURE_KUBERNETES_TOKEN_PROXY", "https://"+r.Addresses().Binding)
	t.Setenv("AZURE_KUBERNETES_SNI_NAME", "cluster.ests.aks")
	t.Setenv("AZURE_KUBERNETES_CA_FILE", caFile)
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientID: clientID, TenantID: tenantID, TokenFilePath: tokenFile, EnableAzureProxy: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := secretsClient(t, vaultURL, credential, azcore.ClientOptions{Transport: r.http}).GetSecret(t.Context(), "db", "", nil)
	if err != nil || *got.Value != dbSecret {
		t.Fatalf("%v", err)
	}
	if want := `"assertionIssuer":"https://ib.oic.prod-aks.azure.com/` + tenantID + "/" + clientID + `"`; !strings.Contains(r.audit.String(), want) {
		t.Errorf("the sign-in record does not have %s", want)
	}
	if n := r.count("BindingTokenRequest", 200); n != 1 {
		t.Errorf("%d token requests through the proxy, want 1", n)
	}
}

// bindingClient trusts the token proxy's CA and sends a server name.
func (r *running) bindingClient(pem []byte, sni string) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: sni, Time: r.clock.now}}}
	r.t.Cleanup(client.CloseIdleConnections)
	return client
}

func (r *running) bindingToken(client *http.Client, form url.Values) answer {
	r.t.Helper()
	resp, err := client.PostForm("https://"+r.Addresses().Binding+"/"+tenantID+"/oauth2/v2.0/token", form)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

func TestIdentityBindingRefusals(t *testing.T) {
	r, is := startBindings(t)
	client := r.bindingClient(r.BindingCA(), "cluster.ests.aks")
	now := r.clock.now()
	tests := []struct {
		name   string
		claims map[string]any
		form   url.Values
		status int
		error  string
		text   string
	}{
		{"valid", nil, nil, 200, "", ""},
		{"another account of the list", map[string]any{"sub": "system:serviceaccount:payments:other"}, nil, 200, "", ""},
		{"audience of federated credentials", map[string]any{"aud": audience}, nil, 401, "invalid_client", "the token's audience is '" + audience + "'"},
		{"another cluster", map[string]any{"iss": is.url + "/"}, nil, 401, "invalid_client", "the token's issuer"},
		{"expired", map[string]any{"exp": now.Add(-time.Hour).Unix()}, nil, 401, "invalid_client", "Client assertion is not within its valid time range."},
		{"account without the permission", map[string]any{"sub": "system:serviceaccount:payments:stranger"}, nil, 403, "unauthorized_client",
			`User "system:serviceaccount:payments:stranger" cannot use-managed-identity resource "` + clientID + `" in API group "cid.wi.aks.azure.com" at the cluster scope`},
		{"no service account", map[string]any{"sub": "payments:app-sa"}, nil, 403, "unauthorized_client", `User "payments:app-sa" cannot`},
		{"identity without a binding", nil, url.Values{"client_id": {bareIdentity}}, 401, "invalid_client",
			"AADSTS700211: No matching federated identity record found for presented assertion issuer 'https://ib.oic.prod-aks.azure.com/" + tenantID + "/" + bareIdentity + "'."},
		{"application", nil, url.Values{"client_id": {ciApp}}, 401, "invalid_client", "AADSTS700211"},
		{"unknown identity", nil, url.Values{"client_id": {"99999999-aaaa-2222-bbbb-3333cccc4444"}}, 400, "unauthorized_client", "AADSTS700016"},
		{"garbage", nil, url.Values{"client_assertion": {"abc"}}, 400, "invalid_request", "AADSTS50027"},
		{"a secret", nil, url.Values{"client_assertion_type": {""}, "client_secret": {"x"}}, 400, "invalid_request", "AADSTS900144"},
		{"another resource", nil, url.Values{"scope": {"https://example.com/.default"}}, 400, "invalid_resource", "AADSTS500011"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.t = t
			claims := bindingClaims(is, now)
			for k, v := range tt.claims {
				claims[k] = v
			}
			form := assertionForm(is.sign(t, claims))
			for k, v := range tt.form {
				form[k] = v
			}
			a := r.bindingToken(client, form)
			body := decode(t, a)
			text, _ := body["error_description"].(string)
			if got, _ := body["error"].(string); a.status != tt.status || got != tt.error || !strings.HasPrefix(text, tt.text) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	r.t = t
	forged := signWith(t, "RS256", newRSAKey(t), is.kid, bindingClaims(is, now))
	if a := r.bindingToken(client, assertionForm(forged)); a.status != 401 {
		t.Errorf("a forged token: %d %s", a.status, a.body)
	}
	// Entra ID itself does not take the token: no federated credential trusts it.
	checkEntraError(t, r.post(tokenURL, assertionForm(is.sign(t, bindingClaims(is, now)))), 401, "invalid_client", 700212, "")
}

// The proxy answers under its SNI name alone, and its CA is not the one of the
// other names.
func TestIdentityBindingTLS(t *testing.T) {
	r, _ := startBindings(t)
	target := "https://" + r.Addresses().Binding + "/common/discovery/instance"
	for name, client := range map[string]*http.Client{
		"another name": r.bindingClient(r.BindingCA(), "login.microsoftonline.com"),
		"another CA":   r.bindingClient(r.CA(), "cluster.ests.aks"),
	} {
		if resp, err := client.Get(target); err == nil {
			resp.Body.Close()
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// Bindings come and go at run time.
func TestIdentityBindingAdmin(t *testing.T) {
	r, is := startBindings(t)
	client := r.bindingClient(r.BindingCA(), "cluster.ests.aks")
	token := func() int {
		return r.bindingToken(client, assertionForm(is.sign(t, bindingClaims(is, r.clock.now())))).status
	}
	var made admin.Binding
	r.adminDo("PUT", "/identity-bindings/id-app-secrets", admin.BindingRequest{ServiceAccounts: []string{"payments/nobody"}}, &made)
	if made.ClientID != clientID || made.Identity != "id-app-secrets" || made.SNIName != "cluster.ests.aks" {
		t.Errorf("%+v", made)
	}
	if got := token(); got != 403 {
		t.Errorf("after the account is gone: %d", got)
	}
	r.adminDo("POST", "/reload", nil, nil)
	if got := token(); got != 200 {
		t.Errorf("after a reload the declared binding is back: %d", got)
	}
	r.adminDo("DELETE", "/identity-bindings/id-app-secrets", nil, nil)
	if got := token(); got != 401 {
		t.Errorf("without a binding: %d", got)
	}
}
