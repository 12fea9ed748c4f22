// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

const attributes = `"attributes":{"enabled":true,"nbf":1700000000,"exp":1900000000,"created":1600000000,"updated":1600000001}`

var wantAttributes = keyvault.Attributes{
	Enabled: true, NotBefore: time.Unix(1700000000, 0).UTC(), Expires: time.Unix(1900000000, 0).UTC(),
	Created: time.Unix(1600000000, 0).UTC(), Updated: time.Unix(1600000001, 0).UTC(),
}

// always answers every request with body.
func always(body string) roundTrip {
	return func(r *http.Request) (*http.Response, error) { return answer(r, 200, body), nil }
}

func itemOf(objectType string) keyvault.Item {
	return keyvault.Item{Vault: vault, Type: objectType, Name: "tls"}
}

func fetchOne(t *testing.T, transport http.RoundTripper, item keyvault.Item) (keyvault.Object, error) {
	t.Helper()
	got, err := newReader(t, transport).Fetch(t.Context(), keyvault.Request{Tokens: &tokens{}, Items: []keyvault.Item{item}})
	if err != nil {
		return keyvault.Object{}, err
	}
	return got[0], nil
}

func TestTypes(t *testing.T) {
	const at = `https://kv-platform-prod.vault.azure.net/`
	for name, tc := range map[string]struct {
		objectType, path, body string
		want                   keyvault.Object
	}{
		"secret": {
			"secret", "/secrets/tls/", `{"value":"x","contentType":"text/plain","id":"` + at + `secrets/tls/` + version + `",` + attributes + `}`,
			keyvault.Object{Version: version, Content: secret.New([]byte("x")), ContentType: "text/plain", Attributes: wantAttributes},
		},
		"secret of a certificate": {
			"secret", "/secrets/tls/", `{"value":"","contentType":"application/x-pkcs12","id":"` + at + `secrets/tls/` + version + `","kid":"` + at + `keys/tls/` + version + `"}`,
			keyvault.Object{
				Version: version, Content: secret.New(nil), ContentType: "application/x-pkcs12", OfCertificate: true,
				Attributes: keyvault.Attributes{Enabled: true},
			},
		},
		"RSA key": {
			"key", "/keys/tls/", `{"key":{"kid":"` + at + `keys/tls/` + version + `","kty":"RSA-HSM","key_ops":["sign",null,"verify"],"n":"AQID","e":"AQAB"},` + attributes + `}`,
			keyvault.Object{Version: version, Attributes: wantAttributes, Key: &keyvault.PublicKey{
				ID: at + "keys/tls/" + version, Type: "RSA-HSM", Operations: []string{"sign", "verify"}, N: []byte{1, 2, 3}, E: []byte{1, 0, 1},
			}},
		},
		"EC key": {
			"key", "/keys/tls/", `{"key":{"kid":"` + at + `keys/tls/` + version + `","kty":"EC","crv":"P-256","x":"AQ","y":"Ag"}}`,
			keyvault.Object{Version: version, Attributes: keyvault.Attributes{Enabled: true}, Key: &keyvault.PublicKey{
				ID: at + "keys/tls/" + version, Type: "EC", Curve: "P-256", X: []byte{1}, Y: []byte{2},
			}},
		},
		"certificate": {
			"cert", "/certificates/tls/", `{"id":"` + at + `certificates/tls/` + version + `","cer":"MAA=","contentType":"application/x-pkcs12",` + attributes + `}`,
			keyvault.Object{Version: version, Content: secret.New([]byte{0x30, 0}), Attributes: wantAttributes},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked, agent string
			got, err := fetchOne(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				asked, agent = r.URL.Path, r.Header.Get("User-Agent")
				return answer(r, 200, tc.body), nil
			}), itemOf(tc.objectType))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(secret.Value.Equal), cmpopts.IgnoreFields(keyvault.Object{}, "ReadAt")); diff != "" || asked != tc.path || !strings.HasPrefix(agent, "vaultferry/test ") {
				t.Fatalf("asked for %s as %s: %s", asked, agent, diff)
			}
		})
	}
}

// Each answer has one thing that a real vault's has not.
func TestAnswersThatCannotBeReliedOn(t *testing.T) {
	const id = `https://kv/x/tls/` + version
	for name, tc := range map[string]struct{ objectType, body, says string }{
		"nothing":                {"key", ``, "key is nil"},
		"no key":                 {"key", `{}`, "key is nil"},
		"no kty":                 {"key", `{"key":{"kid":"` + id + `"}}`, "key type (kty) is nil"},
		"no kid":                 {"key", `{"key":{"kty":"RSA","n":"AQ","e":"AQ"}}`, "key id is nil"},
		"no modulus":             {"key", `{"key":{"kid":"` + id + `","kty":"RSA","e":"AQ"}}`, "no modulus"},
		"no curve":               {"key", `{"key":{"kid":"` + id + `","kty":"EC","x":"AQ","y":"AQ"}}`, "no curve"},
		"odd base64":             {"key", `{"key":{"kid":"` + id + `","kty":"RSA","n":"!canary!","e":"AQ"}}`, "could not be understood"},
		"key of another type":    {"key", `{"key":[1]}`, "could not be understood"},
		"no cer":                 {"cert", `{"id":"` + id + `"}`, "certificate value is nil"},
		"cer null":               {"cert", `{"id":"` + id + `","cer":null}`, "certificate value is nil"},
		"no certificate id":      {"cert", `{"cer":"MAA="}`, "certificate id is nil"},
		"an id without a name":   {"cert", `{"cer":"MAA=","id":"https://kv/certificates"}`, "no name"},
		"an id that is no URL":   {"secret", `{"value":"","id":"::\u0000"}`, "no name"},
		"an id that climbs":      {"secret", `{"value":"","id":"https://kv/secrets/../../etc"}`, "no name"},
		"times of another type":  {"secret", `{"value":"","id":"` + id + `","attributes":{"exp":"canary"}}`, "could not be understood"},
		"an answer cut in two":   {"secret", `{"value":"canary`, "could not be understood"},
		"an answer of one level": {"cert", `"canary"`, "could not be understood"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fetchOne(t, always(tc.body), itemOf(tc.objectType))
			if reason.Of(err) != reason.VaultAnswerInvalid.Name || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "canary") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// A vault refuses only disabled secrets by itself.
func TestDisabledKeysAndCertificatesAreRefused(t *testing.T) {
	for objectType, body := range map[string]string{
		"key":  `{"key":{"kid":"https://kv/keys/tls/` + version + `","kty":"RSA","n":"AQ","e":"AQ"},"attributes":{"enabled":false}}`,
		"cert": `{"id":"https://kv/certificates/tls/` + version + `","cer":"MAA=","attributes":{"enabled":false}}`,
	} {
		item := itemOf(objectType)
		if _, err := fetchOne(t, always(body), item); reason.Of(err) != reason.ObjectDisabled.Name || !strings.Contains(err.Error(), "set-attributes") {
			t.Fatalf("%s: got %v", objectType, err)
		}
		item.Optional = true
		if got, err := fetchOne(t, always(body), item); err != nil || got.Missing == nil || got.Missing.Reason != reason.ObjectDisabled {
			t.Fatalf("%s: got %v, %v", objectType, got, err)
		}
	}
}

// A certificate that its issuer has not signed yet is there, without anything in it.
func TestACertificateThatIsNotIssuedYet(t *testing.T) {
	const body = `{"id":"https://kv/certificates/tls/` + version + `","attributes":{"enabled":false},"pending":{"id":"https://kv/certificates/tls/pending"}}`
	item := itemOf("cert")
	if _, err := fetchOne(t, always(body), item); reason.Of(err) != reason.ObjectDisabled.Name || !strings.Contains(err.Error(), "is disabled: it is not issued yet") ||
		!strings.Contains(err.Error(), "az keyvault certificate pending show --vault-name "+vault+" --name tls") {
		t.Fatalf("got %v", err)
	}
	item.Optional = true
	if got, err := fetchOne(t, always(body), item); err != nil || got.Missing == nil || got.Missing.Reason != reason.ObjectDisabled {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestItemsThatNoVaultCanHave(t *testing.T) {
	for name, change := range map[string]func(*keyvault.Item){
		"type":       func(i *keyvault.Item) { i.Type = "secrets" },
		"no name":    func(i *keyvault.Item) { i.Name = "" },
		"name":       func(i *keyvault.Item) { i.Name = "../x" },
		"version":    func(i *keyvault.Item) { i.Version = "a/b" },
		"long name":  func(i *keyvault.Item) { i.Name = strings.Repeat("x", 128) },
		"whitespace": func(i *keyvault.Item) { i.Name = "db " },
	} {
		t.Run(name, func(t *testing.T) {
			item := itemOf("secret")
			change(&item)
			_, err := fetchOne(t, roundTrip(func(*http.Request) (*http.Response, error) {
				t.Error("the vault was asked")
				return nil, http.ErrServerClosed
			}), item)
			if reason.Of(err) != reason.ObjectsInvalid.Name {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestATokenGoesToTheVaultOnly(t *testing.T) {
	for _, name := range []string{"evil.example/", "evil.example#", "evil.example?", "user@evil.example/", "kv:8443/"} {
		item := itemOf("secret")
		item.Vault = name
		_, err := fetchOne(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			t.Errorf("%s was asked", r.URL)
			return nil, http.ErrServerClosed
		}), item)
		if err == nil {
			t.Fatalf("vault %q was accepted", name)
		}
	}
}

func TestEqualObjectsAreReadOnce(t *testing.T) {
	var calls atomic.Int32
	reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		calls.Add(1)
		if strings.Contains(r.URL.Path, "/none") {
			return answer(r, 404, `{"error":{"code":"SecretNotFound"}}`), nil
		}
		return secretNamed(r)
	}))
	ask := request("a", "A", "a", "none", "none")
	ask.Items[1].Vault = strings.ToUpper(vault)
	ask.Items[3].Optional, ask.Items[4].Optional = true, true
	got, err := reader.Fetch(t.Context(), ask)
	if err != nil || calls.Load() != 2 {
		t.Fatalf("got %v after %d calls", err, calls.Load())
	}
	for i := range 3 {
		if string(got[i].Content.Reveal()) != "value of a" {
			t.Fatalf("object %d is %v", i, got[i])
		}
	}
	if got[3].Missing == nil || got[4].Missing == nil || got[3].Missing.Reason != reason.ObjectNotFound {
		t.Fatalf("got %v", got[3:])
	}
	ask.Items[4].Optional = false
	if _, err := reader.Fetch(t.Context(), ask); reason.Of(err) != reason.ObjectNotFound.Name {
		t.Fatalf("got %v", err)
	}
}

// A vault that fails as a whole says so once, and the other vaults of the request are read to the end.
func TestAFailingVaultDisturbsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls [3]atomic.Int32
		reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			which := strings.Index("abc", strings.TrimPrefix(r.URL.Host, "kv-")[:1])
			calls[which].Add(1)
			switch which {
			case 0:
				return answer(r, 429, `{"error":{"code":"Throttled"}}`), nil
			case 1:
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			time.Sleep(50 * time.Millisecond)
			return secretNamed(r)
		}))
		var ask keyvault.Request
		ask.Tokens = &tokens{}
		for _, name := range names(20) {
			for _, v := range []string{"kv-a", "kv-b", "kv-c"} {
				ask.Items = append(ask.Items, keyvault.Item{Vault: v, Type: "secret", Name: name})
			}
		}
		ask.Items = append(ask.Items, keyvault.Item{Vault: "kv-c", Type: "secret", Name: "another"})
		_, err := reader.Fetch(t.Context(), ask)
		if reason.Of(err) != reason.VaultThrottled.Name || !strings.HasSuffix(err.Error(), `less often`) ||
			!strings.Contains(err.Error(), "vault kv-a ") || !strings.Contains(err.Error(), "(and 1 more failed: vault kv-b)") {
			t.Fatalf("got %v", err)
		}
		if n := calls[2].Load(); n != 21 {
			t.Fatalf("%d reads of the good vault", n)
		}
		// Eight reads were under way, with three tries each, and no other was begun.
		if n := calls[1].Load(); n > 8*3 {
			t.Fatalf("%d tries with the vault that does not answer", n)
		}
		if n := calls[0].Load(); n > 8 {
			t.Fatalf("%d reads of the throttled vault", n)
		}
	})
}

// However slow one vault or identity is, requests for others take no longer.
func TestASlowVaultDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "kv-slow.vault.azure.net" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			time.Sleep(10 * time.Millisecond)
			return secretNamed(r)
		}))
		for range 100 {
			ask := request(names(20)...)
			for i := range ask.Items {
				ask.Items[i].Vault = "kv-slow"
			}
			go func() {
				if _, err := reader.Fetch(t.Context(), ask); reason.Of(err) != reason.VaultUnreachable.Name {
					t.Errorf("got %v", err)
				}
			}()
		}
		synctest.Wait()
		started := time.Now()
		if _, err := reader.Fetch(t.Context(), request(names(8)...)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(started); took != 10*time.Millisecond {
			t.Fatalf("took %v", took)
		}
		synctest.Wait()
		time.Sleep(time.Minute)
	})
}

// The words of each type.
func TestRefusalsNameTheType(t *testing.T) {
	type words struct{ noun, role, group, absent, create string }
	all := map[string]words{
		"secret": {"secret", "Key Vault Secrets User", "secret", "SecretNotFound", "az keyvault secret set"},
		"key":    {"key", "Key Vault Certificate User", "key", "KeyNotFound", "az keyvault key create"},
		"cert":   {"certificate", "Key Vault Certificate User", "certificate", "CertificateNotFound", "az keyvault certificate import"},
	}
	for objectType, w := range all {
		refused := func(status int, code, inner string) string {
			t.Helper()
			_, err := fetchOne(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				return answer(r, status, fmt.Sprintf(`{"error":{"code":%q,"message":"x","innererror":{"code":%q}}}`, code, inner)), nil
			}), itemOf(objectType))
			return err.Error()
		}
		for text, wants := range map[string][]string{
			refused(403, "Forbidden", "ForbiddenByRbac"): {
				fmt.Sprintf(`%s "tls" in %s: identity %s may not read %ss (ForbiddenByRbac)`, w.noun, vault, client, w.noun),
				`grant it "` + w.role + `": az role assignment create --role "` + w.role + `"`,
			},
			refused(403, "Forbidden", "AccessDenied"): {"do not let identity " + client + " read " + w.noun + "s", "--" + w.group + "-permissions get"},
			refused(404, w.absent, ""): {
				w.noun + ` "tls" in ` + vault + " does not exist (" + w.absent + ")", w.create + " --vault-name", "az keyvault " + w.group + " recover",
			},
			refused(403, "Forbidden", "KeyDisabled"): {"az keyvault " + w.group + " set-attributes"},
		} {
			for _, want := range wants {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing in %q", want, text)
				}
			}
		}
		// What is not there is another thing when the answer is about another type.
		for other := range maps.Values(all) {
			if other.noun != w.noun && !strings.HasPrefix(refused(404, other.absent, ""), reason.VaultAnswerInvalid.Name) {
				t.Errorf("%s read as the absence of a %s", other.absent, w.noun)
			}
		}
	}
}

// A tenant given by its domain name is not taken for another than the one that the vault names by id.
func TestATenantByDomainNameGetsItsSecondToken(t *testing.T) {
	calls := 0
	reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		if calls++; calls > 1 {
			return secretNamed(r)
		}
		refused := answer(r, 401, `{"error":{"code":"Unauthorized","message":"[TokenExpired] Error validating token"}}`)
		refused.Header.Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/`+tenant+`", resource="https://vault.azure.net"`)
		return refused, nil
	}))
	ask := keyvault.Request{Tokens: &tokens{tenant: "contoso.onmicrosoft.com"}, Items: items("a")}
	if _, err := reader.Fetch(t.Context(), ask); err != nil || calls != 2 {
		t.Fatalf("got %v after %d calls", err, calls)
	}
}

// The node's own identity has no client id that a person could look for.
func TestTheNodesIdentityIsNamed(t *testing.T) {
	reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		return answer(r, 403, `{"error":{"code":"Forbidden"}}`), nil
	}))
	node := &namedTokens{entra.Identity{Mode: entra.ManagedIdentity, Cloud: entra.PublicCloud(), Tenant: tenant}}
	_, err := reader.Fetch(t.Context(), keyvault.Request{Tokens: node, Items: items("a")})
	if err == nil || !strings.Contains(err.Error(), ": the node's managed identity may not read secrets") ||
		!strings.Contains(err.Error(), "--assignee <its principal id>") {
		t.Fatalf("got %v", err)
	}
}
