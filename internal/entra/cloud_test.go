// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// stackFile is the description of an Azure Stack Hub, with a field that nobody here reads.
const stackFile = `{
  "name": "AzureStackCloud",
  "managementPortalURL": "https://management.local.azurestack.external/",
  "activeDirectoryEndpoint": "https://login.local.azurestack.external/",
  "keyVaultEndpoint": "https://vault.local.azurestack.external/",
  "keyVaultDNSSuffix": "vault.local.azurestack.external",
  "tokenAudience": {"nested": 1}
}`

func TestParseCloud(t *testing.T) {
	valid := entra.Cloud{
		Name: "AzureStackCloud", AuthorityHost: "login.local.azurestack.external", VaultSuffix: "vault.local.azurestack.external",
		VaultResource: "https://vault.local.azurestack.external", Audience: entra.DefaultAudience,
	}
	change := func(f func(*entra.Cloud)) entra.Cloud { c := valid; f(&c); return c }
	for name, tc := range map[string]struct {
		old, new string
		want     entra.Cloud
		says     string
	}{
		"as it is":            {"", "", valid, ""},
		"no trailing slashes": {`external/"`, `external"`, valid, ""},
		"byte order mark":     {"{\n  \"name\"", "\xef\xbb\xbf{\n  \"name\"", valid, ""},
		"upper case field":    {`"keyVaultDNSSuffix"`, `"keyVaultDnsSuffix"`, valid, ""},
		"leading dot":         {`"vault.local`, `".vault.local`, valid, ""},
		"ports": {`azurestack.external`, `azurestack.external:8443`, change(func(c *entra.Cloud) {
			c.AuthorityHost += ":8443"
			c.VaultSuffix += ":8443"
			c.VaultResource += ":8443"
		}), ""},
		"the usual port": {`"vault.local.azurestack.external"`, `"vault.local.azurestack.external:443"`, valid, ""},
		"the usual port of an endpoint": {`external/",
  "keyVaultDNSSuffix"`, `external:443/",
  "x"`, change(func(c *entra.Cloud) { c.VaultResource += ":443" }), ""},
		"only the usual port": {`"vault.local.azurestack.external"`, `":443"`, entra.Cloud{}, "keyVaultDNSSuffix should be a domain name"},
		"AD FS": {`login.local.azurestack.external/"`, `adfs.local.azurestack.external/adfs/"`, change(func(c *entra.Cloud) {
			c.AuthorityHost, c.ADFS = "adfs.local.azurestack.external", true
		}), ""},
		"no suffix":   {`"keyVaultDNSSuffix"`, `"x"`, valid, ""},
		"no endpoint": {`"keyVaultEndpoint"`, `"x"`, change(func(c *entra.Cloud) { c.VaultResource = "" }), ""},
		"a resource with a path": {`"https://vault.local.azurestack.external/"`, `"https://vault.local.azurestack.external/a/b/"`, change(func(c *entra.Cloud) {
			c.VaultResource += "/a/b"
		}), ""},
		"own name":          {`"AzureStackCloud"`, `"Contoso Hub 1"`, change(func(c *entra.Cloud) { c.Name = "Contoso Hub 1" }), ""},
		"no name":           {`"name"`, `"x"`, valid, ""},
		"not JSON":          {"{", "[", entra.Cloud{}, "not a JSON object"},
		"number":            {`"https://login.local.azurestack.external/"`, `7`, entra.Cloud{}, "field activeDirectoryEndpoint should be a string"},
		"odd name":          {`"AzureStackCloud"`, `"a\nb"`, entra.Cloud{}, "name should"},
		"no authority":      {`"activeDirectoryEndpoint"`, `"x"`, entra.Cloud{}, "activeDirectoryEndpoint is missing"},
		"authority http":    {`"https://login.`, `"http://login.`, entra.Cloud{}, "activeDirectoryEndpoint should be a URL"},
		"authority a host":  {`"https://login.local.azurestack.external/"`, `"login.local"`, entra.Cloud{}, "activeDirectoryEndpoint should be a URL"},
		"authority's path":  {`login.local.azurestack.external/"`, `login.local.azurestack.external/tenant"`, entra.Cloud{}, "activeDirectoryEndpoint should have no path"},
		"authority's user":  {`https://login.`, `https://a:b@login.`, entra.Cloud{}, "activeDirectoryEndpoint should be a URL"},
		"authority's query": {`external/",`, `external/?x=1",`, entra.Cloud{}, "activeDirectoryEndpoint should be a URL"},
		"vaults http":       {`"https://vault.`, `"http://vault.`, entra.Cloud{}, "keyVaultEndpoint should be a URL"},
		"suffix a URL":      {`"vault.local`, `"https://vault.local`, entra.Cloud{}, "keyVaultDNSSuffix should be a domain name"},
		"no vaults":         {`"keyVault`, `"x`, entra.Cloud{}, "keyVaultDNSSuffix is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := entra.ParseCloud([]byte(strings.ReplaceAll(stackFile, tc.old, tc.new)))
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Fatalf("got %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}

func TestCloudNames(t *testing.T) {
	for _, name := range append(entra.CloudNames(), "azurecloud", "AZUREUSGOVERNMENT", "azurestackcloud") {
		if !entra.IsCloudName(name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{"", "Azure", "AzureGermany"} {
		if entra.IsCloudName(name) {
			t.Errorf("%q is known", name)
		}
	}
	for name, want := range map[string]string{
		"AzureGermanCloud": "login.microsoftonline.de https://vault.microsoftazure.de/.default", "AzureChinaCloud": "login.chinacloudapi.cn https://vault.azure.cn/.default",
		"AzureUSGovernment": "login.microsoftonline.us https://vault.usgovcloudapi.net/.default", "": "login.microsoftonline.com https://vault.azure.net/.default",
	} {
		cloud, ok := entra.CloudNamed(name)
		if !ok {
			cloud = entra.PublicCloud()
		}
		if got := cloud.AuthorityHost + " " + cloud.Scope(); got != want {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// The requests of every mode that speaks to Entra ID go where the cloud's file says, AD FS and a port included.
func TestCustomCloudsAreAskedWhereTheyAre(t *testing.T) {
	for name, tc := range map[string]struct {
		endpoint, tenant, want string
	}{
		"Entra ID": {"https://login.local.azurestack.external:8443/", tenant, "https://login.local.azurestack.external:8443/" + tenant + "/oauth2/v2.0/token"},
		"AD FS":    {"https://adfs.local.azurestack.external/adfs", entra.TenantADFS, "https://adfs.local.azurestack.external/adfs/oauth2/token"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud, err := entra.ParseCloud([]byte(strings.ReplaceAll(stackFile, "https://login.local.azurestack.external/", tc.endpoint)))
			if err != nil {
				t.Fatal(err)
			}
			var asked []string
			authority := roundTrip(func(r *http.Request) (*http.Response, error) {
				asked = append(asked, r.URL.String())
				if r.Method == http.MethodGet {
					base := "https://" + r.URL.Host + "/" + tc.tenant
					return answer(r, 200, `{"authorization_endpoint":"`+base+`/authorize","token_endpoint":"`+tc.want+`","issuer":"`+base+`"}`), nil
				}
				return answer(r, 200, `{"token_type":"Bearer","expires_in":3600,"access_token":"t"}`), nil
			})
			for _, login := range []entra.Login{
				workload(cloud, tc.tenant, clientID, assertionOf(t, subject)),
				{Mode: entra.ServicePrincipal, Cloud: cloud, Tenant: tc.tenant, ClientID: clientID, Subject: subject, ClientSecret: secret.New([]byte("s"))},
			} {
				asked = nil
				if _, err := newTokens(t, authority).Session(login).Token(t.Context(), cloud.Scope(), ""); err != nil {
					t.Fatalf("%v: %v", login.Mode, err)
				}
				if len(asked) != 2 || asked[1] != tc.want || !strings.HasPrefix(asked[0], tc.endpoint) {
					t.Fatalf("%v: asked %v", login.Mode, asked)
				}
			}
		})
	}
}

// Whatever a file holds, a cloud that comes out is one host for each service, and a problem has one line.
func FuzzParseCloud(f *testing.F) {
	f.Add([]byte(stackFile))
	f.Add([]byte(`{"activeDirectoryEndpoint":"https://a/adfs","keyVaultDNSSuffix":".v.example:1"}`))
	f.Add([]byte(`{"activeDirectoryEndpoint":"https://a@b/?c#d","keyVaultEndpoint":"https://%41/%2f"}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := entra.ParseCloud(content)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 600 {
				t.Fatalf("not one short line: %q", err)
			}
			return
		}
		if strings.ContainsAny(c.AuthorityHost+c.VaultSuffix, "/@?# \r\n\\") || c.AuthorityHost == "" || c.VaultSuffix == "" ||
			strings.HasPrefix(c.VaultSuffix, ".") || !strings.HasPrefix(c.Scope(), "https://") {
			t.Fatalf("accepted %+v", c)
		}
	})
}
