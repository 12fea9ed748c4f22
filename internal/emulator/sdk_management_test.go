// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armsubscriptions"
)

const (
	subscriptionID = "eeeeeeee-1111-2222-3333-444444444444"
	managerApp     = "44444444-aaaa-2222-bbbb-3333cccc4444"
)

// startWithReader runs the platform state with an application that may read all of the subscription.
func startWithReader(t *testing.T) (*running, *arm.ClientOptions, azcore.TokenCredential) {
	t.Helper()
	is := newIssuer(t)
	state := strings.Replace(platform, "managedIdentities:", "- name: reader\n  clientId: "+managerApp+"\n  secrets: [{value: reader-secret}]\nmanagedIdentities:", 1)
	state = strings.ReplaceAll(state, "ISSUER", is.url) + "- {role: Reader, assignee: reader, scope: /subscriptions/" + subscriptionID + "}\n"
	r := start(t, state)
	return r, r.armOptions(), r.armCredential(t, managerApp, "reader-secret")
}

func (r *running) armOptions() *arm.ClientOptions {
	return &arm.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: r.http, Cloud: cloud.AzurePublic}, DisableRPRegistration: true}
}

func (r *running) armCredential(t *testing.T, app, secret string) azcore.TokenCredential {
	t.Helper()
	credential, err := azidentity.NewClientSecretCredential(tenantID, app, secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: r.http}})
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// all reads every page.
func all[Page, Item any](t *testing.T, pager *runtime.Pager[Page], items func(Page) []*Item) (found []Item, pages int) {
	t.Helper()
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, item := range items(page) {
			found = append(found, *item)
		}
	}
	return found, pages
}

// The official Go SDKs of Azure Resource Manager work unmodified.
func TestManagementSDKs(t *testing.T) {
	r, options, credential := startWithReader(t)
	for i := range 25 {
		if err := r.admin.Do(t.Context(), http.MethodPost, "/identities", map[string]string{"name": fmt.Sprintf("id-many-%02d", i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 12 {
		body := map[string]any{"name": fmt.Sprintf("fic-%02d", i), "issuer": "https://issuer.example/", "subject": fmt.Sprintf("system:serviceaccount:a:b%d", i)}
		if err := r.admin.Do(t.Context(), http.MethodPost, "/identities/id-app-secrets/federated-credentials", body, nil); err != nil {
			t.Fatal(err)
		}
	}

	subscriptions, err := armsubscriptions.NewClient(credential, options)
	if err != nil {
		t.Fatal(err)
	}
	subs, _ := all(t, subscriptions.NewListPager(nil), func(p armsubscriptions.ClientListResponse) []*armsubscriptions.Subscription { return p.Value })
	if len(subs) != 1 || *subs[0].SubscriptionID != subscriptionID {
		t.Fatalf("subscriptions: %+v", subs)
	}

	identities, err := armmsi.NewUserAssignedIdentitiesClient(subscriptionID, credential, options)
	if err != nil {
		t.Fatal(err)
	}
	ids, pages := all(t, identities.NewListBySubscriptionPager(nil), func(p armmsi.UserAssignedIdentitiesClientListBySubscriptionResponse) []*armmsi.Identity {
		return p.Value
	})
	if len(ids) != 27 || pages != 2 {
		t.Errorf("listed %d identities on %d pages, want 27 on 2", len(ids), pages)
	}
	var principal, group string
	for _, id := range ids {
		if *id.Properties.ClientID == clientID {
			principal = *id.Properties.PrincipalID
			parsed, err := arm.ParseResourceID(*id.ID)
			if err != nil {
				t.Fatal(err)
			}
			group = parsed.ResourceGroupName
		}
	}
	one, err := identities.Get(t.Context(), group, "ID-APP-secrets", nil)
	if err != nil || *one.Properties.ClientID != clientID {
		t.Errorf("get, in other case: %v", err)
	}

	credentials, err := armmsi.NewFederatedIdentityCredentialsClient(subscriptionID, credential, options)
	if err != nil {
		t.Fatal(err)
	}
	top := int32(5)
	trusted, pages := all(t, credentials.NewListPager(group, "id-app-secrets", &armmsi.FederatedIdentityCredentialsClientListOptions{Top: &top}),
		func(p armmsi.FederatedIdentityCredentialsClientListResponse) []*armmsi.FederatedIdentityCredential {
			return p.Value
		})
	if len(trusted) != 13 || pages != 3 {
		t.Errorf("listed %d credentials on %d pages, want 13 on 3", len(trusted), pages)
	}
	if p := trusted[0].Properties; *p.Subject != subject || *p.Audiences[0] != audience {
		t.Errorf("first credential: subject %s, audience %s", *p.Subject, *p.Audiences[0])
	}

	vaults, err := armkeyvault.NewVaultsClient(subscriptionID, credential, options)
	if err != nil {
		t.Fatal(err)
	}
	kvs, _ := all(t, vaults.NewListBySubscriptionPager(nil), func(p armkeyvault.VaultsClientListBySubscriptionResponse) []*armkeyvault.Vault { return p.Value })
	if len(kvs) != 2 || *kvs[0].Name != "kv-platform-prod" || !*kvs[0].Properties.EnableRbacAuthorization || *kvs[0].Properties.VaultURI != vaultURL+"/" {
		t.Errorf("vaults: %+v", kvs)
	}
	rolesOf(t, options, credential, *kvs[0].ID, principal)
}

// rolesOf lists what a principal may do at, above and below a vault.
func rolesOf(t *testing.T, options *arm.ClientOptions, credential azcore.TokenCredential, vault, principal string) {
	t.Helper()
	assignments, err := armauthorization.NewRoleAssignmentsClient(subscriptionID, credential, options)
	if err != nil {
		t.Fatal(err)
	}
	list := func(filter string) []armauthorization.RoleAssignment {
		filter = url.QueryEscape(filter) // this SDK leaves that to its caller
		found, _ := all(t, assignments.NewListForScopePager(vault, &armauthorization.RoleAssignmentsClientListForScopeOptions{Filter: &filter}),
			func(p armauthorization.RoleAssignmentsClientListForScopeResponse) []*armauthorization.RoleAssignment {
				return p.Value
			})
		return found
	}
	mine := list("principalId eq '" + principal + "'")
	if len(mine) != 1 || !strings.HasSuffix(*mine[0].Properties.Scope, "/kv-platform-prod/secrets/db") {
		t.Fatalf("assignments of the identity: %+v", mine)
	}
	if got := len(list("assignedTo('" + principal + "')")); got != 1 {
		t.Errorf("assignedTo: %d, want 1", got)
	}
	if got := len(list("atScope()")); got != 3 { // ci, nobody, and the reader's from above
		t.Errorf("atScope: %d, want 3", got)
	}
	definitions, err := armauthorization.NewRoleDefinitionsClient(credential, options)
	if err != nil {
		t.Fatal(err)
	}
	role, err := definitions.GetByID(t.Context(), *mine[0].Properties.RoleDefinitionID, nil)
	if err != nil || *role.Properties.RoleName != "Key Vault Secrets User" || len(role.Properties.Permissions[0].DataActions) != 2 {
		t.Errorf("role definition: %+v, %v", role.Properties, err)
	}
	_, err = assignments.Delete(t.Context(), vault, *mine[0].Name, nil)
	if refusal, ok := errors.AsType[*azcore.ResponseError](err); !ok || refusal.StatusCode != http.StatusNotImplemented {
		t.Errorf("a write: %v", err)
	}
}

// Who asks Azure Resource Manager in a wrong way is told like there.
func TestManagementRefusals(t *testing.T) {
	r, _, _ := startWithReader(t)
	const (
		host       = "https://management.azure.com"
		identities = host + "/subscriptions/" + subscriptionID + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
		version    = "?api-version=2024-11-30"
		scope      = host + "/.default"
	)
	reader := r.secretToken(managerApp, "reader-secret", scope)
	for _, c := range []struct {
		name, target, token string
		status              int
		want                string
	}{
		{"nobody", identities + version, "", 401, `"code":"AuthenticationFailed"`},
		{"a token for Key Vault", identities + version, r.secretToken(managerApp, "reader-secret", vaultScope), 401, `"code":"InvalidAuthenticationTokenAudience"`},
		{"nonsense", identities + version, "x.y.z", 401, `"code":"InvalidAuthenticationToken"`},
		{"no version", identities, reader, 400, `"code":"MissingApiVersionParameter"`},
		{"a version of another kind", identities + "?api-version=7.4", reader, 400, `"code":"InvalidApiVersionParameter"`},
		{"no role", identities + version, r.secretToken(ciApp, "ci-secret", scope), 403,
			`does not have authorization to perform action 'Microsoft.ManagedIdentity/userAssignedIdentities/read' over scope '/subscriptions/` + subscriptionID + `'`},
		{"an identity that is not there", host + "/subscriptions/" + subscriptionID + "/resourceGroups/rg-platform/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-nobody" + version, reader, 404,
			`The Resource 'Microsoft.ManagedIdentity/userAssignedIdentities/id-nobody' under resource group 'rg-platform' was not found.`},
		{"an unknown filter", host + "/subscriptions/" + subscriptionID + "/providers/Microsoft.Authorization/roleAssignments" + version + "&$filter=nonsense", reader, 400, `"code":"UnsupportedQuery"`},
		{"an unknown path", host + "/subscriptions/" + subscriptionID + "/providers/Microsoft.Compute/disks" + version, reader, 404, `"code":"InvalidResourceType"`},
		{"a made-up page", identities + version + "&$skiptoken=made-up", reader, 400, `"code":"InvalidSkipToken"`},
		{"the right way", identities + version, reader, 200, `"clientId":"` + clientID + `"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := r.do(http.MethodGet, c.target, c.token, "")
			if got.status != c.status || !strings.Contains(got.body, c.want) {
				t.Errorf("got %d %s, want %d and %s", got.status, got.body, c.status, c.want)
			}
			if got.status == http.StatusUnauthorized && !strings.Contains(got.header.Get("WWW-Authenticate"), tenantID) {
				t.Errorf("WWW-Authenticate: %q", got.header.Get("WWW-Authenticate"))
			}
		})
	}
	r.clock.advance(48 * time.Hour)
	if got := r.do(http.MethodGet, identities+version, reader, ""); !strings.Contains(got.body, "ExpiredAuthenticationToken") {
		t.Errorf("an old token: %d %s", got.status, got.body)
	}
}
