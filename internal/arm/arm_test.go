// SPDX-License-Identifier: Apache-2.0

package arm_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/vaultferry/vaultferry/internal/arm"
)

const (
	subscription = "eeeeeeee-1111-2222-3333-444444444444"
	vault        = "/subscriptions/" + subscription + "/resourceGroups/rg-platform/providers/Microsoft.KeyVault/vaults/kv-platform-prod"
	clientID     = "00001111-aaaa-2222-bbbb-3333cccc4444"
	principal    = "99991111-aaaa-2222-bbbb-3333cccc4444"
)

// anybody has a token for everything.
type anybody struct{}

func (anybody) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "t", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// clientOf asks a Resource Manager that is the given handler.
func clientOf(t *testing.T, handler http.HandlerFunc) *arm.Client {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return arm.New(arm.Config{
		Credential: anybody{}, HTTP: server.Client(), Subscriptions: []string{subscription},
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: "https://login.example/",
			Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: server.URL, Audience: "https://management.example"},
			},
		},
	})
}

func TestWhatAGrantCovers(t *testing.T) {
	for scope, want := range map[string]bool{
		"": true, "/": true, vault: true, strings.ToUpper(vault): true, vault + "/": true, strings.TrimSuffix(vault, "/kv-platform-prod"): true,
		"/subscriptions/" + subscription:                               true,
		"/providers/Microsoft.Management/managementGroups/mg-platform": true,
		"/providers/microsoft.management/managementgroups/mg-root":     true,
		vault + "/secrets/db":                                          false,
		vault[:len(vault)-1]:                                           false,
		"/subscriptions/aaaaaaaa-1111-2222-3333-444444444444":          false,
		"/providers/Microsoft.Management/other/mg-platform":            false,
	} {
		if got := (arm.Grant{Scope: scope}).Covers(vault); got != want {
			t.Errorf("%s: %t", scope, got)
		}
	}
}

// What an identity has through a group and at a management group counts.
func TestGrantsOfGroups(t *testing.T) {
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, vault+"/providers/Microsoft.Authorization/roleAssignments"):
			if got := r.URL.Query().Get("$filter"); got != "assignedTo('"+principal+"')" {
				t.Errorf("filter %q", got)
			}
			io.WriteString(w, `{"value":[{"properties":{"roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/r1","principalId":"a-group",`+
				`"scope":"/providers/Microsoft.Management/managementGroups/mg-platform"}}]}`)
		case strings.HasSuffix(r.URL.Path, "/roleDefinitions/r1"):
			io.WriteString(w, `{"properties":{"roleName":"Key Vault Secrets User","permissions":[{"dataActions":["Microsoft.KeyVault/vaults/secrets/getSecret/action"]}]}}`)
		default:
			t.Errorf("asked for %s", r.URL)
		}
	})
	grants, err := client.Grants(t.Context(), principal, vault)
	if err != nil || len(grants) != 1 {
		t.Fatalf("%+v, %v", grants, err)
	}
	if g := grants[0]; !g.Covers(vault+"/secrets/db") || !g.Role.Allows("Microsoft.KeyVault/vaults/secrets/getSecret/action") {
		t.Errorf("%+v", g)
	}
}

// An identity whose federated credentials cannot be listed is one of which it is not known whom it trusts.
func TestIdentityWithoutItsCredentials(t *testing.T) {
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/federatedIdentityCredentials") {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"error":{"code":"AuthorizationFailed","message":"no"}}`)
			return
		}
		io.WriteString(w, `{"value":[{"id":"/subscriptions/`+subscription+`/resourceGroups/rg-platform/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-app",`+
			`"name":"id-app","properties":{"clientId":"`+clientID+`","principalId":"`+principal+`"}}]}`)
	})
	identity, err := client.Identity(t.Context(), clientID)
	if identity == nil || identity.Name != "id-app" || identity.ResourceGroup != "rg-platform" || len(identity.Credentials) != 0 {
		t.Errorf("%+v", identity)
	}
	if err == nil || !strings.Contains(err.Error(), "listing the federated credentials of identity id-app: your Azure account may not read there (AuthorizationFailed)") {
		t.Errorf("%v", err)
	}
}
