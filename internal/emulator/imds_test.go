// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http/httpproxy"

	"github.com/vaultferry/vaultferry/internal/emulator"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// onNode is a node with three identities, and a vault that each of them may
// read. SUFFIX is the parent domain of vaults.
const onNode = `
names: {login: login.SUFFIX, vaultSuffix: SUFFIX}
managedIdentities:
- {name: id-one, clientId: 00001111-aaaa-2222-bbbb-3333cccc4444}
- {name: id-two, clientId: 11111111-aaaa-2222-bbbb-3333cccc4444}
- {name: id-elsewhere, clientId: 22222222-aaaa-2222-bbbb-3333cccc4444}
node: {name: node-vmss, systemAssigned: true, userAssigned: [id-one, id-two], identityHeader: node-header}
vaults: [{name: kv-node, secrets: [{name: db, value: canary-db-value}]}]
roleAssignments:
- {role: Key Vault Secrets User, assignee: node-vmss, scope: kv-node}
- {role: Key Vault Secrets User, assignee: id-one, scope: kv-node}
- {role: Key Vault Secrets User, assignee: id-two, scope: kv-node}
`

const elsewhere = "22222222-aaaa-2222-bbbb-3333cccc4444"

// startNode runs a node under names of its own: the SDK keeps the tokens of
// managed identities for the whole process, by the resource that they are for.
func startNode(t *testing.T) (r *running, vault string) {
	t.Helper()
	suffix := "r" + guid.Hex(guid.New()) + ".test"
	r = start(t, strings.ReplaceAll(onNode, "SUFFIX", suffix), func(c *emulator.Config) { c.IMDSListen = "127.0.0.1:0" })
	return r, "https://kv-node." + suffix
}

func (r *running) imds(query string, header http.Header) answer {
	r.t.Helper()
	return r.plain("http://"+r.Addresses().IMDS+query, header)
}

// plain sends a GET without a proxy.
func (r *running) plain(target string, header http.Header) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, target, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header = header
	resp, err := r.admin.HTTP.Do(req)
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

const imdsToken = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"

func TestIMDSRefusals(t *testing.T) {
	r, _ := startNode(t)
	metadata := http.Header{"Metadata": {"true"}}
	several := "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"
	tests := []struct {
		name, query string
		header      http.Header
		code, text  string
	}{
		{"no header", imdsToken, nil, "bad_request_102", "Required metadata header not specified"},
		{"header is not true", imdsToken, http.Header{"Metadata": {"yes"}}, "bad_request_102", "Required metadata header not specified"},
		{"not assigned", imdsToken + "&client_id=" + elsewhere, metadata, "invalid_request", "Identity not found"},
		{"unknown resource id", imdsToken + "&msi_res_id=/subscriptions/x", metadata, "invalid_request", "Identity not found"},
		{"no api-version", "/metadata/identity/oauth2/token?resource=x", metadata, "invalid_request", "Required query variable 'api-version' is missing"},
		{"no resource", "/metadata/identity/oauth2/token?api-version=2018-02-01", metadata, "invalid_request", "Required query variable 'resource' is missing"},
		{"unknown resource", strings.Replace(imdsToken, "vault.azure.net", "example.com", 1), metadata, "invalid_resource", "AADSTS500011: The resource principal named https://example.com was not found in the tenant"},
	}
	check := func(name string, a answer, code, text string) {
		t.Helper()
		body := decode(t, a)
		if got, _ := body["error_description"].(string); a.status != 400 || body["error"] != code || !strings.HasPrefix(got, text) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for _, tt := range tests {
		check(tt.name, r.imds(tt.query, tt.header), tt.code, tt.text)
	}
	r.adminDo("DELETE", "/node/identities", admin.NodeRequest{Identities: []string{"[system]"}}, nil)
	check("several and no selector", r.imds(imdsToken, metadata), "invalid_request", several)
	r.adminDo("DELETE", "/node/identities", admin.NodeRequest{Identities: []string{"id-one", "11111111-aaaa-2222-bbbb-3333cccc4444"}}, nil)
	check("none", r.imds(imdsToken, metadata), "invalid_request", "Identity not found")
	r.adminDo("POST", "/node/identities", admin.NodeRequest{Identities: []string{"id-elsewhere"}}, nil)
	if a := r.imds(imdsToken, metadata); a.status != 200 || decode(t, a)["client_id"] != elsewhere {
		t.Errorf("the only one needs no selector: %d %s", a.status, a.body)
	}
	if a := r.imds("/metadata/instance?api-version=2021-02-01", metadata); a.status != 404 {
		t.Errorf("other metadata: %d", a.status)
	}
}

// All values of the answer are text, and each selector finds its identity.
func TestIMDSAnswer(t *testing.T) {
	r, _ := startNode(t)
	var one admin.Identity
	r.adminDo("GET", "/identities/id-one", nil, &one)
	for _, selector := range []string{"client_id=" + one.ClientID, "object_id=" + one.PrincipalID, "msi_res_id=" + url.QueryEscape(one.ID), "mi_res_id=" + url.QueryEscape(strings.ToUpper(one.ID))} {
		a := r.imds(imdsToken+"&"+selector, http.Header{"Metadata": {"True"}})
		var body map[string]string
		if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != 200 {
			t.Fatalf("%s: %d %s %v", selector, a.status, a.body, err)
		}
		on, err := strconv.ParseInt(body["expires_on"], 10, 64)
		if left := time.Until(time.Unix(on, 0)); err != nil || left < 23*time.Hour || left > 24*time.Hour {
			t.Errorf("expires_on %q", body["expires_on"])
		}
		delete(body, "expires_on")
		for _, filled := range []string{"access_token", "not_before"} {
			if body[filled] == "" {
				t.Errorf("%s is empty", filled)
			}
			delete(body, filled)
		}
		want := map[string]string{"client_id": one.ClientID, "refresh_token": "", "expires_in": "86399", "ext_expires_in": "86399", "resource": "https://vault.azure.net", "token_type": "Bearer"}
		if diff := cmp.Diff(want, body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", selector, diff)
		}
	}
	var counts []struct {
		Identity  string
		Requests  int
		Succeeded int
	}
	r.adminDo("GET", "/counters?service=imds&identity="+one.ClientID, nil, &counts)
	if len(counts) != 1 || counts[0].Requests != 4 || counts[0].Succeeded != 4 {
		t.Errorf("%+v", counts)
	}
	if !strings.Contains(r.audit.String(), `"category":"ManagedIdentitySignInLogs"`) {
		t.Error("no sign-in record")
	}
}

// environment is what a pod of the chart has: HTTP_PROXY, HTTPS_PROXY and
// NO_PROXY as Go programs read them, and the CA.
func (r *running) environment(t *testing.T) *http.Client {
	t.Helper()
	proxy := "http://" + r.Addresses().Proxy
	choose := (&httpproxy.Config{HTTPProxy: proxy, HTTPSProxy: proxy, NoProxy: "localhost,127.0.0.1,.svc,.cluster.local"}).ProxyFunc()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.CA())
	client := &http.Client{Transport: &http.Transport{
		Proxy:           func(req *http.Request) (*url.URL, error) { return choose(req.URL) },
		TLSClientConfig: &tls.Config{RootCAs: pool},
	}}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func managed(t *testing.T, id azidentity.ManagedIDKind, options azcore.ClientOptions) azcore.TokenCredential {
	t.Helper()
	credential, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: options, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// The official SDK finds the metadata service at 169.254.169.254 through the
// emulator's proxy, without any change to the network.
func TestGoSDKManagedIdentity(t *testing.T) {
	r, vault := startNode(t)
	options := azcore.ClientOptions{Transport: r.environment(t)}
	var two admin.Identity
	r.adminDo("GET", "/identities/id-two", nil, &two)
	for name, id := range map[string]azidentity.ManagedIDKind{
		"system": nil, "client id": azidentity.ClientID(clientID), "resource id": azidentity.ResourceID(two.ID), "object id": azidentity.ObjectID(two.PrincipalID),
	} {
		got, err := secretsClient(t, vault, managed(t, id, options), options).GetSecret(t.Context(), "db", "", nil)
		if err != nil || *got.Value != dbSecret {
			t.Errorf("%s: %v", name, err)
		}
	}
	var counts []struct {
		Identity string
		Requests int
	}
	r.adminDo("GET", "/counters?service=vault&operation=SecretGet", nil, &counts)
	if want := "[{id-one 1} {id-two 2} {node-vmss 1}]"; fmt.Sprint(counts) != want {
		t.Errorf("reads %v, want %s", counts, want)
	}
	_, err := secretsClient(t, vault, managed(t, azidentity.ClientID(elsewhere), options), options).GetSecret(t.Context(), "db", "", nil)
	if err == nil || !strings.Contains(err.Error(), "the requested identity isn't assigned to this resource") {
		t.Errorf("an identity of another node: %v", err)
	}
}

// The form of App Service is for programs that can be told where to ask.
func TestGoSDKAppService(t *testing.T) {
	r, vault := startNode(t)
	t.Setenv("IDENTITY_ENDPOINT", "http://"+r.Addresses().IMDS+"/msi/token")
	t.Setenv("IDENTITY_HEADER", "node-header")
	options := azcore.ClientOptions{Transport: r.environment(t)}
	var two admin.Identity
	r.adminDo("GET", "/identities/id-two", nil, &two)
	for name, id := range map[string]azidentity.ManagedIDKind{"system": nil, "client id": azidentity.ClientID(clientID), "resource id": azidentity.ResourceID(two.ID)} {
		if _, err := secretsClient(t, vault, managed(t, id, options), options).GetSecret(t.Context(), "db", "", nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	token := "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net"
	good := http.Header{"X-Identity-Header": {"node-header"}}
	for name, tt := range map[string]struct {
		query  string
		header http.Header
		status int
		text   string
	}{
		"no header":    {token, nil, 401, "Invalid secret token header."},
		"wrong header": {token, http.Header{"X-Identity-Header": {"x"}}, 401, "Invalid secret token header."},
		"api-version":  {strings.Replace(token, "2019-08-01", "2018-02-01", 1), good, 400, "Unsupported api-version"},
		"no resource":  {"/msi/token?api-version=2019-08-01", good, 400, "The parameter resource is missing."},
		"not assigned": {token + "&client_id=" + elsewhere, good, 400, "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."},
		"principal id": {token + "&principal_id=" + two.PrincipalID, good, 200, ""},
	} {
		a := r.imds(tt.query, tt.header)
		message, _ := decode(t, a)["message"].(string)
		if a.status != tt.status || !strings.HasPrefix(message, tt.text) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// What is declared for the node follows the state file; what was assigned at
// run time stays.
func TestNodeReload(t *testing.T) {
	r := start(t, "managedIdentities: [{name: id-one}, {name: id-two}, {name: id-late}]\nnode: {systemAssigned: true, userAssigned: [id-one]}")
	r.adminDo("POST", "/node/identities", admin.NodeRequest{Identities: []string{"id-late"}}, nil)
	write(t, r.state, "managedIdentities: [{name: id-one}, {name: id-two}, {name: id-late}]\nnode: {userAssigned: [id-two]}")
	r.adminDo("POST", "/reload", nil, nil)
	var got admin.NodeIdentities
	r.adminDo("GET", "/node/identities", nil, &got)
	names := ""
	for id := range got.UserAssignedIdentities {
		names += id
	}
	if len(got.UserAssignedIdentities) != 2 || !strings.Contains(names, "id-two") || !strings.Contains(names, "id-late") || got.Type != "UserAssigned" || got.PrincipalID != nil {
		t.Errorf("%+v", got)
	}
}
