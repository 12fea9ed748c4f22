// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// listings are the ways to get a listing: of each type, objects or versions.
func listings(t *testing.T, transport http.RoundTripper) map[string]func() ([]keyvault.Listed, error) {
	t.Helper()
	reader := newReader(t, transport)
	all := map[string]func() ([]keyvault.Listed, error){}
	for collection, objectType := range map[string]string{"secrets": "secret", "keys": "key", "certificates": "cert"} {
		all["/"+collection] = func() ([]keyvault.Listed, error) { return reader.List(t.Context(), &tokens{}, vault, objectType) }
		all["/"+collection+"/tls/versions"] = func() ([]keyvault.Listed, error) {
			return reader.Versions(t.Context(), &tokens{}, keyvault.Item{Vault: vault, Type: objectType, Name: "tls", Version: "ignored"})
		}
	}
	return all
}

// entry is one of a page; the types name the identifier differently.
func entry(r *http.Request, name string, rest string) string {
	collection := strings.Split(r.URL.Path, "/")[1]
	id := fmt.Sprintf("https://%s/%s/%s", r.URL.Host, collection, name)
	if strings.HasSuffix(r.URL.Path, "/versions") {
		id += "/" + version
	}
	return fmt.Sprintf(`{"id":%q,"kid":%q%s}`, id, id, rest)
}

func TestListings(t *testing.T) {
	var asked []string
	for path, list := range listings(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Path+"?"+r.URL.Query().Get("$skiptoken"))
		if !r.URL.Query().Has("$skiptoken") {
			next := fmt.Sprintf("https://%s:443%s?api-version=7.4&$skiptoken=abc", r.URL.Host, r.URL.Path)
			return answer(r, 200, `{"value":[`+entry(r, "tls", `,"managed":true,"tags":{"team":"pay","none":null},`+attributes)+`],"nextLink":"`+next+`"}`), nil
		}
		return answer(r, 200, `{"value":[`+entry(r, "tls", ``)+`],"nextLink":null}`), nil
	})) {
		asked = nil
		got, err := list()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		want := []keyvault.Listed{
			{Name: "tls", Managed: !strings.HasPrefix(path, "/cert"), Attributes: wantAttributes, Tags: map[string]string{"team": "pay"}},
			{Name: "tls", Attributes: keyvault.Attributes{Enabled: true}},
		}
		if strings.HasSuffix(path, "/versions") {
			want[0].Version, want[1].Version = version, version
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		if diff := cmp.Diff([]string{path + "?", path + "?abc"}, asked); diff != "" {
			t.Error(diff)
		}
	}
}

func TestListingsThatCannotBeReliedOn(t *testing.T) {
	page := func(r *http.Request, entries, next string) (*http.Response, error) {
		text, _ := json.Marshal(next)
		return answer(r, 200, `{"value":[`+entries+`],"nextLink":`+string(text)+`}`), nil
	}
	self := func(r *http.Request) string { return "https://" + r.URL.Host + r.URL.Path + "?$skiptoken=x" }
	for name, tc := range map[string]struct {
		transport roundTrip
		says      string
	}{
		"no entry": {func(r *http.Request) (*http.Response, error) { return page(r, "null", "") }, "an entry that is nil"},
		"no id":    {func(r *http.Request) (*http.Response, error) { return page(r, "{}", "") }, "id is nil"},
		"odd name": {func(r *http.Request) (*http.Response, error) { return page(r, entry(r, "..%2Fetc", ""), "") }, "no name"},
		"no list":  {func(r *http.Request) (*http.Response, error) { return answer(r, 200, `{"value":7}`), nil }, "could not be understood"},
		"no end":   {func(r *http.Request) (*http.Response, error) { return page(r, "", self(r)) }, "does not end after 1000 pages"},
		"too many": {func(r *http.Request) (*http.Response, error) {
			return page(r, strings.Repeat(entry(r, "x", "")+",", 400)+entry(r, "x", ""), self(r))
		}, "more than 10000 entries"},
		"too large": {func(r *http.Request) (*http.Response, error) {
			return page(r, entry(r, "x", `,"tags":{"t":"`+strings.Repeat("x", 900<<10)+`"}`), self(r))
		}, "or 4 MiB"},
		"other host": {func(r *http.Request) (*http.Response, error) { return page(r, "", "https://evil.example/secrets") }, "another host"},
		"near host": {func(r *http.Request) (*http.Response, error) {
			return page(r, "", "https://"+r.URL.Host+".evil.example/")
		}, "another host"},
		"user": {func(r *http.Request) (*http.Response, error) {
			return page(r, "", "https://"+r.URL.Host+"@evil.example/")
		}, "another host"},
		"other port": {func(r *http.Request) (*http.Response, error) { return page(r, "", "https://"+r.URL.Host+":8443/") }, "another host"},
		"not TLS":    {func(r *http.Request) (*http.Response, error) { return page(r, "", "http://"+r.URL.Host+"/secrets") }, "another host"},
		"no host":    {func(r *http.Request) (*http.Response, error) { return page(r, "", "/secrets?x") }, "another host"},
		"no URL":     {func(r *http.Request) (*http.Response, error) { return page(r, "", "::") }, "another host"},
	} {
		t.Run(name, func(t *testing.T) {
			for path, list := range listings(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host != vault+".vault.azure.net" {
					t.Errorf("%s was asked, with %s", r.URL, r.Header.Get("Authorization"))
				}
				return tc.transport(r)
			})) {
				got, err := list()
				if reason.Of(err) != reason.VaultAnswerInvalid.Name || !strings.Contains(err.Error(), tc.says) || got != nil {
					t.Errorf("%s: got %v", path, err)
				}
			}
		})
	}
}

func TestRefusedListings(t *testing.T) {
	roles := map[string][2]string{
		"secrets": {"Key Vault Secrets User", "secrets/readMetadata"}, "keys": {"Key Vault Certificate User", "keys/read"},
		"certificates": {"Key Vault Certificate User", "certificates/read"},
	}
	for path, list := range listings(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		return answer(r, 403, `{"error":{"code":"Forbidden","innererror":{"code":"ForbiddenByRbac"}}}`), nil
	})) {
		_, err := list()
		collection := strings.Split(path, "/")[1]
		if reason.Of(err) != reason.VaultForbidden.Name ||
			!strings.Contains(err.Error(), "may not list "+collection) ||
			!strings.Contains(err.Error(), fmt.Sprintf("%q (it includes %s)", roles[collection][0], roles[collection][1])) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	list := listings(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		return answer(r, 403, `{"error":{"code":"Forbidden","innererror":{"code":"AccessDenied"}}}`), nil
	}))["/certificates/tls/versions"]
	if _, err := list(); !strings.Contains(err.Error(), `versions of certificate "tls" in kv-platform-prod`) || !strings.Contains(err.Error(), "--certificate-permissions list") {
		t.Errorf("got %v", err)
	}
}
