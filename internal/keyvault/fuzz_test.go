// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// FuzzAnswers lets a vault answer anything, to each kind of question. Whatever comes, the outcome is an object that can be used or one line
// that tells nothing of the answer's content.
func FuzzAnswers(f *testing.F) {
	const id = "https://kv-platform-prod.vault.azure.net/secrets/db/" + version
	challenge := `Bearer authorization="https://login.microsoftonline.com/99999999-0000-0000-0000-000000000000", error="insufficient_claims", claims="e30="`
	for kind := range byte(9) {
		for _, body := range []string{
			``, `{}`, `null`, `[]`, `{"value":null}`, `{"value":"v","id":"` + id + `","kid":"` + id + `","cer":"MAA=",` + attributes + `}`,
			`{"key":{"kid":"` + id + `","kty":"EC","crv":"P-256","x":"AQ","y":"AQ","key_ops":[null]},"attributes":null}`,
			`{"value":[{"id":"` + id + `","kid":"` + id + `","tags":{"a":null},"attributes":{"exp":-99999999999999}}],"nextLink":"https://evil.example/"}`,
			`{"value":[null],"nextLink":7}`, "\xef\xbb\xbf{}", `{"id":"https://x"}`, `{"value":"\ud800"}`,
		} {
			f.Add(kind, 200, "Retry-After", "1", []byte(body))
		}
		f.Add(kind, 401, "WWW-Authenticate", challenge, []byte(`{"error":{"code":"Unauthorized","message":"AKV10032: x"}}`))
		f.Add(kind, 403, "X", "y", []byte(`{"error":{"code":"Forbidden","message":"Client address: 1.2.3.4","innererror":{"code":"ForbiddenByFirewall"}}}`))
		f.Add(kind, 404, "X", "y", []byte(`{"error":{"code":"SecretNotFound","innererror":null}}`))
		f.Add(kind, 429, "Retry-After", "Mon, 02 Jan 2106 15:04:05 GMT", []byte(`{"error":null}`))
		f.Add(kind, 302, "Location", "https://evil.example/", []byte(``))
		f.Add(kind, 200, "Content-Length", "-1", []byte(strings.Repeat(" ", 4<<10)))
	}
	f.Fuzz(func(t *testing.T, kind byte, status int, header, value string, body []byte) {
		reader, err := keyvault.New(keyvault.Config{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != vault+".vault.azure.net" {
				t.Errorf("%s was asked", r.URL)
			}
			given := answer(r, status, "")
			given.Header.Set(header, value)
			given.Body = io.NopCloser(strings.NewReader(string(body)))
			return given, nil
		}), TryTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		// A failing server gets further tries, which take time and lead nowhere here.
		if status == 408 || status >= 500 {
			return
		}
		item := keyvault.Item{Vault: vault, Type: []string{"secret", "key", "cert"}[kind%3], Name: "db"}
		switch kind / 3 % 3 {
		case 0:
			var got []keyvault.Object
			if got, err = reader.Fetch(t.Context(), keyvault.Request{Tokens: &tokens{}, Items: []keyvault.Item{item}}); err == nil {
				checkObject(t, item, got[0])
			}
		case 1:
			_, err = reader.List(t.Context(), &tokens{}, vault, item.Type)
		case 2:
			_, err = reader.Versions(t.Context(), &tokens{}, item)
		}
		if err != nil {
			checkLine(t, err, string(body))
		}
	})
}

// checkObject looks for what nobody could use.
func checkObject(t *testing.T, item keyvault.Item, got keyvault.Object) {
	t.Helper()
	if got.Version == "" || got.Missing != nil || (item.Type == "key") != (got.Key != nil) {
		t.Fatalf("got %+v", got)
	}
	if got.Key != nil && strings.HasPrefix(got.Key.Type, "RSA") && len(got.Key.N)*len(got.Key.E) == 0 {
		t.Fatalf("got %+v", got.Key)
	}
}

// checkLine makes sure that err is a line with a reason, and that no long word of body is in it.
func checkLine(t *testing.T, err error, body string) {
	t.Helper()
	text := err.Error()
	if name := reason.Of(err); name == reason.Unexpected.Name || strings.ContainsAny(text, "\r\n") || len(text) > 1000 {
		t.Fatalf("got %v", err)
	}
	for _, word := range strings.FieldsFunc(body, func(r rune) bool { return r < '0' || r > 'z' }) {
		if len(word) > 70 && strings.Contains(text, word) {
			t.Fatalf("%q of the answer is in %q", word, text)
		}
	}
	_ = fmt.Sprintf("%+v", err)
}
