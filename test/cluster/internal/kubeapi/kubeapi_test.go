// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/test/cluster/internal/pki"
)

// serve answers with the API server's certificate of a new PKI, whose directory it returns with the URL.
func serve(t *testing.T, handler http.HandlerFunc) (url, dir string) {
	t.Helper()
	dir = makePKI(t)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "apiserver.crt"), filepath.Join(dir, "apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, dir
}

func makePKI(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	if err := pki.Ensure(pki.Config{Dir: dir, ServiceIP: "10.96.0.1", Domain: "cluster.local", Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func client(t *testing.T, url, dir string) *Client {
	t.Helper()
	c, err := New(Config{Server: url, PKI: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestTheAdministratorReadsAndApplies(t *testing.T) {
	url, dir := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.TLS.PeerCertificates[0].Subject.CommonName != "kubernetes-admin":
			w.WriteHeader(http.StatusForbidden)
		case r.Method == http.MethodGet && r.URL.Path == "/there":
			_, _ = io.WriteString(w, `{"name":"found"}`)
		case r.Method == http.MethodGet && r.URL.Path == "/broken":
			_, _ = io.WriteString(w, "{")
		case r.Method == http.MethodPatch && r.URL.RawQuery == "fieldManager=vaultferry-cluster&force=true" &&
			r.Header.Get("Content-Type") == "application/apply-patch+yaml" && string(body) == "kind: X":
		case r.URL.Path == "/refused":
			http.Error(w, "no such luck", http.StatusConflict)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	c := client(t, url, dir)
	var got struct{ Name string }
	if err := c.Get(t.Context(), "/there", &got); err != nil || got.Name != "found" {
		t.Errorf("there: %v %v", got, err)
	}
	if err := c.Apply(t.Context(), "/x", []byte("kind: X")); err != nil {
		t.Errorf("apply: %v", err)
	}
	if err := c.Get(t.Context(), "/nowhere", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("nowhere: %v", err)
	}
	for path, want := range map[string]string{"/broken": "reading the answer to GET /broken", "/refused": "409 Conflict: no such luck"} {
		if err := c.Get(t.Context(), path, &got); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAnotherClustersServerIsNotTrusted(t *testing.T) {
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("was asked") })
	if err := client(t, url, makePKI(t)).Get(t.Context(), "/", nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("got %v", err)
	}
	if _, err := New(Config{Server: url, PKI: t.TempDir()}); err == nil {
		t.Fatal("no certificates, no error")
	}
}
