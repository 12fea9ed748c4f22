// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	classClient     = "00001111-aaaa-2222-bbbb-3333cccc4444"
	nodeClient      = "55556666-dddd-7777-eeee-8888ffff9999"
	principalClient = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
)

// identityOf parses the class whose attributes are the valid ones with changes; a value "-" removes one.
func identityOf(changes, secrets map[string]string) (identity, error) {
	attributes := validAttributes()
	maps.Copy(attributes, changes)
	maps.DeleteFunc(attributes, func(_, value string) bool { return value == "-" })
	c, err := parseClass(attributes, secrets, &clouds{fallback: "AzurePublicCloud", dir: "/nowhere"}, nil)
	return c.identity, err
}

func TestWhichIdentityIsChosen(t *testing.T) {
	credentials := map[string]string{"clientid": principalClient, "clientsecret": canary}
	for name, tc := range map[string]struct {
		changes, secrets map[string]string
		mode             entra.Mode
		client           string
	}{
		"clientID":                {nil, nil, entra.WorkloadIdentity, classClient},
		"clientID before secrets": {nil, credentials, entra.WorkloadIdentity, classClient},
		"node":                    {map[string]string{"useVMManagedIdentity": "true", "userAssignedIdentityID": nodeClient}, nil, entra.ManagedIdentity, nodeClient},
		"node's own":              {map[string]string{"useVMManagedIdentity": "True", "userAssignedIdentityID": " "}, credentials, entra.ManagedIdentity, ""},
		"node without clientID":   {map[string]string{"useVMManagedIdentity": "1", "clientID": "-"}, nil, entra.ManagedIdentity, ""},
		"binding":                 {map[string]string{"useAzureTokenProxy": "true"}, credentials, entra.IdentityBinding, classClient},
		"secrets":                 {map[string]string{"clientID": ""}, credentials, entra.ServicePrincipal, principalClient},
		"secrets in another case": {
			map[string]string{"clientID": "-"}, map[string]string{"ClientID": principalClient + "\n", "CLIENTSECRET": canary + "\r\n", "other": "x"},
			entra.ServicePrincipal, principalClient,
		},
		"flags that are off": {
			map[string]string{"usePodIdentity": "false", "useVMManagedIdentity": "f", "useAzureTokenProxy": "0", "userAssignedIdentityID": nodeClient}, nil,
			entra.WorkloadIdentity, classClient,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := identityOf(tc.changes, tc.secrets)
			if err != nil || got.mode != tc.mode || got.clientID != tc.client {
				t.Fatalf("got %+v, %v", got, err)
			}
			if want := map[bool]string{true: canary}[tc.mode == entra.ServicePrincipal]; string(got.clientSecret.Reveal()) != want {
				t.Fatalf("got secret %q", got.clientSecret.Reveal())
			}
		})
	}
}

func TestRefusedIdentityParameters(t *testing.T) {
	const onlyOne = "only one identity mode can be enabled at a time: usePodIdentity, useVMManagedIdentity, or useAzureTokenProxy"
	for name, tc := range map[string]struct {
		changes, secrets map[string]string
		says             []string
	}{
		"pod identity": {map[string]string{"usePodIdentity": "true"}, nil, []string{"replaced by workload identity", "spec.parameters.clientID"}},
		"two modes":    {map[string]string{"useVMManagedIdentity": "true", "useAzureTokenProxy": "true"}, nil, []string{onlyOne}},
		"three modes": {
			map[string]string{"usePodIdentity": "true", "useVMManagedIdentity": "true", "useAzureTokenProxy": "true"}, nil, []string{onlyOne},
		},
		"odd flags": {
			map[string]string{"useVMManagedIdentity": "yes", "useAzureTokenProxy": "no"}, nil,
			[]string{"failed to parse useVMManagedIdentity flag, error:", "failed to parse useAzureTokenProxy flag, error:"},
		},
		"node, not a UUID":        {map[string]string{"useVMManagedIdentity": "true", "userAssignedIdentityID": "agentpool"}, nil, []string{`userAssignedIdentityID "agentpool" is not the client id`}},
		"node, a resource id":     {map[string]string{"useVMManagedIdentity": "true", "userAssignedIdentityID": "/subscriptions/x/y"}, nil, []string{"not its resource id"}},
		"binding without client":  {map[string]string{"useAzureTokenProxy": "true", "clientID": "-"}, nil, []string{"clientID is required for identity binding"}},
		"binding, not a UUID":     {map[string]string{"useAzureTokenProxy": "true", "clientID": "my-app"}, nil, []string{`clientID "my-app"`, "which is a UUID"}},
		"nothing":                 {map[string]string{"clientID": "-"}, nil, []string{"failed to get credentials, nodePublishSecretRef secret is not set", "clientID is not provided"}},
		"only kubelet's tokens":   {map[string]string{"clientID": "-"}, map[string]string{tokensKey: "{}"}, []string{"nodePublishSecretRef secret is not set"}},
		"misspelt clientID":       {map[string]string{"clientID": "-", "clientId": classClient}, nil, []string{"spec.parameters.clientId is unknown, did you mean clientID?"}},
		"misspelt flag":           {map[string]string{"clientID": "-", "useVmManagedIdentity": "true"}, nil, []string{"did you mean useVMManagedIdentity?"}},
		"misspelt tenantID":       {map[string]string{"tenantId": "-", "tenantld": "x"}, nil, []string{"spec.parameters.tenantld is unknown, did you mean tenantID?"}},
		"node's id without flag":  {map[string]string{"clientID": "-", "userAssignedIdentityID": nodeClient}, nil, []string{`counts with useVMManagedIdentity "true" only`}},
		"secrets without id":      {map[string]string{"clientID": "-"}, map[string]string{"clientsecret": canary}, []string{"could not find clientid in secrets"}},
		"secrets without secret":  {map[string]string{"clientID": "-"}, map[string]string{"clientid": principalClient}, []string{"could not find clientsecret in secrets"}},
		"secrets of another kind": {map[string]string{"clientID": "-"}, map[string]string{"a": canary}, []string{"could not find clientid", "could not find clientsecret"}},
		"secrets exchanged": {
			map[string]string{"clientID": "-"}, map[string]string{"clientid": canary, "clientsecret": principalClient}, []string{"clientid in secrets is not the id"},
		},
		"everything at once": {
			map[string]string{"clientID": "x", "tenantId": "a/b", "cloudName": "AzureChinaClout"}, nil,
			[]string{`clientID "x"`, `tenantID "a/b"`, "did you mean AzureChinaCloud?"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := identityOf(tc.changes, tc.secrets)
			if reason.Of(err) != reason.ParameterInvalid.Name {
				t.Fatalf("got %v", err)
			}
			for _, want := range tc.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in %q", want, err)
				}
			}
			if strings.Contains(err.Error(), canary) || strings.Count(err.Error(), onlyOne) > 1 {
				t.Errorf("got %q", err)
			}
		})
	}
}

// The identity that reaches the reader names the pod's service account in every mode: what is read is kept under it.
func TestEachModeReadsOnBehalfOfThePod(t *testing.T) {
	for name, tc := range map[string]struct {
		breaks func(*mountCall)
		mode   entra.Mode
		client string
		issuer string
	}{
		"workload identity": {func(*mountCall) {}, entra.WorkloadIdentity, classClient, "https://oidc.example/"},
		"node": {func(m *mountCall) {
			m.attributes["useVMManagedIdentity"] = "true"
			delete(m.attributes, tokensKey)
		}, entra.ManagedIdentity, "", ""},
		"service principal": {func(m *mountCall) {
			delete(m.attributes, "clientID")
			delete(m.attributes, tokensKey)
			m.secrets = map[string]string{"clientid": principalClient, "clientsecret": canary}
		}, entra.ServicePrincipal, principalClient, ""},
		"binding": {func(m *mountCall) {
			m.attributes["useAzureTokenProxy"] = "true"
			m.attributes[tokensKey] = tokensFor(entra.BindingAudience, jwt())
		}, entra.IdentityBinding, classClient, "https://oidc.example/"},
	} {
		t.Run(name, func(t *testing.T) {
			var got entra.Identity
			r := start(t, fetch(func(ctx context.Context, request keyvault.Request) ([]keyvault.Object, error) {
				got = request.Tokens.Identity()
				return everything(ctx, request)
			}))
			call := validCall()
			tc.breaks(&call)
			if _, err := r.client.Mount(t.Context(), call.request()); err != nil {
				t.Fatal(err)
			}
			want := entra.Identity{
				Mode: tc.mode, Cloud: entra.PublicCloud(), Tenant: "ffffffff-1111-2222-3333-444444444444", ClientID: tc.client,
				Subject: subject, Issuer: tc.issuer,
			}
			if got != want {
				t.Fatalf("got %+v, want %+v", got, want)
			}
			if strings.Contains(r.log.String(), canary) {
				t.Fatalf("the secret is in the log: %s", r.log)
			}
		})
	}
}

func TestTokensThatAModeNeeds(t *testing.T) {
	binding := func(m *mountCall) { m.attributes["useAzureTokenProxy"] = "true" }
	for name, tc := range map[string]struct {
		breaks func(*mountCall)
		says   string
	}{
		"binding with the token for Entra": {binding, "token for audience api://AKSIdentityBinding not found; add audience api://AKSIdentityBinding"},
		"binding without tokens": {func(m *mountCall) {
			binding(m)
			delete(m.attributes, tokensKey)
		}, "service account tokens are required for identity binding"},
		"clientID without a token, but a service principal": {func(m *mountCall) {
			delete(m.attributes, tokensKey)
			m.secrets = map[string]string{"clientid": principalClient, "clientsecret": canary}
		}, "service account tokens not found"},
		"node, account not told": {func(m *mountCall) {
			m.attributes["useVMManagedIdentity"] = "true"
			delete(m.attributes, serviceAccountKey)
		}, "podInfoOnMount"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, fetch(func(context.Context, keyvault.Request) ([]keyvault.Object, error) {
				t.Error("the vault was asked")
				return nil, errors.New("unexpected")
			}))
			call := validCall()
			tc.breaks(&call)
			_, err := r.client.Mount(t.Context(), call.request())
			if reason.Of(err) != reason.TokenMissing.Name || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v", err)
			}
		})
	}
}
