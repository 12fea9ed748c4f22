// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const clusterID = "6543210fedcba9876543210f"

// aksProxy is an AKS API server with a token proxy behind a name of its own.
type aksProxy struct {
	server *httptest.Server
	caFile string
	// answer, where set, answers the token request.
	answer func(http.ResponseWriter)

	mu    sync.Mutex
	names []string
	asked []string
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey
}

// bindingName is the token proxy's name, as AKS makes it.
func bindingName(cluster string) string {
	sum := sha256.Sum256([]byte("identity-binding" + cluster))
	return "a" + strings.ToLower(strings.TrimRight(base32.HexEncoding.EncodeToString(sum[:]), "=")) + ".ests.aks"
}

func newAKSProxy(t *testing.T, proxyName string) *aksProxy {
	t.Helper()
	p := &aksProxy{caFile: filepath.Join(t.TempDir(), "ca.crt")}
	p.newCA(t)
	p.server = httptest.NewUnstartedServer(p)
	p.server.EnableHTTP2 = true
	p.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.names = append(p.names, hello.ServerName)
		if hello.ServerName == proxyName {
			return p.issue(proxyName)
		}
		return p.issue("kubernetes", "localhost", "hcp-kubernetes."+clusterID+".svc.cluster.local")
	}}
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	return p
}

// url names a host, since an address is not sent in a handshake.
func (p *aksProxy) url() string { return strings.Replace(p.server.URL, "127.0.0.1", "localhost", 1) }

// newCA replaces the CA, in the file too.
func (p *aksProxy) newCA(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	p.key = key
	if err := os.WriteFile(p.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *aksProxy) issue(names ...string) (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, p.key.Public(), p.key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: p.key}, err
}

func (p *aksProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.TLS.ServerName+" "+r.Method+" "+r.Host+" "+r.URL.Path)
	p.mu.Unlock()
	if r.Method == http.MethodGet {
		base := "https://login.microsoftonline.com/" + tenant
		fmt.Fprintf(w, `{"authorization_endpoint":%q,"token_endpoint":%q,"issuer":%q}`, base+"/oauth2/v2.0/authorize", base+"/oauth2/v2.0/token", base+"/v2.0")
		return
	}
	if p.answer != nil {
		p.answer(w)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3600,"access_token":%q}`, claimsOf(string(body)))
}

// tokens gets tokens through the proxy and fails a test in which Entra ID is asked directly.
func (p *aksProxy) tokens(t *testing.T, config entra.TokenProxy) *entra.Tokens {
	t.Helper()
	if config.URL == "" {
		config.URL = p.url()
	}
	if config.CAFile == "" {
		config.CAFile = p.caFile
	}
	tokens, err := entra.New(entra.Config{TokenProxy: config, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		t.Errorf("Entra ID was asked for %s", r.URL)
		return nil, errors.New("not here")
	})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.server.CloseClientConnections)
	return tokens
}

func bound(t *testing.T, sub string) entra.Login {
	login := workload(entra.PublicCloud(), tenant, clientID, assertionOf(t, sub))
	login.Mode = entra.IdentityBinding
	return login
}

func TestIdentityBinding(t *testing.T) {
	name := bindingName(clusterID)
	proxy := newAKSProxy(t, name)
	session := proxy.tokens(t, entra.TokenProxy{}).Session(bound(t, subject))
	token, err := session.Token(t.Context(), scope, "")
	if want := clientID + "|" + subject + "|" + issuer; err != nil || token.Token != want {
		t.Fatalf("got %q, %v", token.Token, err)
	}
	if session.Identity().Mode != entra.IdentityBinding || session.Identity().Issuer != issuer {
		t.Fatalf("got %+v", session.Identity())
	}
	want := []string{
		name + " GET login.microsoftonline.com /" + tenant + "/v2.0/.well-known/openid-configuration",
		name + " POST login.microsoftonline.com /" + tenant + "/oauth2/v2.0/token",
	}
	if fmt.Sprint(proxy.asked) != fmt.Sprint(want) {
		t.Fatalf("got %q", proxy.asked)
	}
}

func TestATokenProxyWithANameAndAPathOfItsOwn(t *testing.T) {
	proxy := newAKSProxy(t, "proxy.example")
	tokens := proxy.tokens(t, entra.TokenProxy{URL: proxy.url() + "/behind/", ServerName: "proxy.example"})
	if _, err := tokens.Session(bound(t, subject)).Token(t.Context(), scope, ""); err != nil {
		t.Fatal(err)
	}
	if got := proxy.asked[1]; got != "proxy.example POST login.microsoftonline.com /behind/"+tenant+"/oauth2/v2.0/token" {
		t.Fatalf("got %q", got)
	}
	for _, name := range proxy.names {
		if name != "proxy.example" {
			t.Fatalf("the name was looked for although it is given: %v", proxy.names)
		}
	}
}

func TestANewCAOfTheClusterIsTakenUp(t *testing.T) {
	proxy := newAKSProxy(t, bindingName(clusterID))
	tokens := proxy.tokens(t, entra.TokenProxy{})
	if _, err := tokens.Session(bound(t, subject)).Token(t.Context(), scope, ""); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(proxy.caFile)
	if err != nil {
		t.Fatal(err)
	}
	proxy.newCA(t)
	proxy.server.CloseClientConnections()
	if _, err := tokens.Session(bound(t, subject+"-2")).Token(t.Context(), scope, ""); err != nil {
		t.Fatalf("with the new CA: %v", err)
	}
	if err := os.WriteFile(proxy.caFile, old, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = tokens.Session(bound(t, subject+"-3")).Token(t.Context(), scope, "")
	if reason.Of(err) != reason.TokenProxyUnreachable.Name || !strings.Contains(err.Error(), "signed by unknown authority") {
		t.Fatalf("with the old CA: %v", err)
	}
}

func TestRefusalsOfTheTokenProxy(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		reason reason.Reason
		says   string
	}{
		"no role": {403, "forbidden", reason.IdentityBindingForbidden, "verbs [use-managed-identity]"},
		"not bound": {401, `{"error":"invalid_client","error_description":"AADSTS700211: No matching federated identity record found.","error_codes":[700211]}`,
			reason.IdentityBindingMissing, "az aks identity-binding create"},
		"no proxy": {404, "not found", reason.TokenProxyUnreachable, "no token proxy is there"},
		"down":     {503, "canary", reason.TokenProxyUnreachable, "not available"},
		"identity unknown": {400, `{"error":"unauthorized_client","error_description":"AADSTS700016: Application not found.","error_codes":[700016]}`,
			reason.IdentityNotFound, clientID},
		"not a token": {200, "canary", reason.EntraRejected, "the cluster's token proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := newAKSProxy(t, "proxy.example")
			proxy.answer = func(w http.ResponseWriter) { http.Error(w, tc.body, tc.status) }
			_, err := proxy.tokens(t, entra.TokenProxy{ServerName: "proxy.example"}).Session(bound(t, subject)).Token(t.Context(), scope, "")
			if reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "canary") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestATokenProxyThatIsNotSetUp(t *testing.T) {
	proxy := newAKSProxy(t, "proxy.example")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := httptest.NewTLSServer(http.NotFoundHandler())
	gone.Close()
	foreign := httptest.NewUnstartedServer(http.NotFoundHandler())
	foreign.Config.ErrorLog = log.New(io.Discard, "", 0)
	foreign.StartTLS()
	defer foreign.Close()
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: foreign.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		config entra.TokenProxy
		says   string
	}{
		"no CA file":     {entra.TokenProxy{CAFile: empty + "x"}, "--token-proxy-ca-file"},
		"no certificate": {entra.TokenProxy{CAFile: empty}, "holds no certificate"},
		"nobody there":   {entra.TokenProxy{URL: gone.URL}, "refused the connection"},
		"another CA":     {entra.TokenProxy{URL: foreign.URL}, "signed by unknown authority"},
		"not AKS":        {entra.TokenProxy{URL: foreign.URL, CAFile: plain}, "does not name an AKS cluster"},
		"another name":   {entra.TokenProxy{ServerName: "other.example"}, "made for another name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := proxy.tokens(t, tc.config).Session(bound(t, subject)).Token(t.Context(), scope, "")
			if reason.Of(err) != reason.TokenProxyUnreachable.Name || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestTokenProxyURLs(t *testing.T) {
	for address, ok := range map[string]bool{
		"": true, "https://kubernetes.default.svc": true, "https://h:1/p": true, "http://h": false, "https://": false, "h": false,
		"https://u@h": false, "https://h?q": false, "https://h#f": false, "https:h": false, "://": false,
	} {
		if err := (entra.TokenProxy{URL: address}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
}
