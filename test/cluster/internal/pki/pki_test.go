// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func config(t *testing.T) Config {
	t.Helper()
	return Config{
		Dir: filepath.Join(t.TempDir(), "pki"), NodeNames: []string{"a-node-0", "a-node-1"}, NodeIPs: []string{"10.1.0.2", "10.1.0.3"},
		ServiceIP: "10.96.0.1", Domain: "cluster.local", Now: time.Now(),
	}
}

func ensured(t *testing.T, cfg Config) map[string][]byte {
	t.Helper()
	if err := Ensure(cfg); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(cfg.Dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = content
	}
	return files
}

func TestCertificatesAreGoodForTheirUse(t *testing.T) {
	cfg := config(t)
	files := ensured(t, cfg)
	for name, tc := range map[string]struct {
		authority string
		usage     x509.ExtKeyUsage
		hosts     []string
	}{
		"apiserver": {CA, x509.ExtKeyUsageServerAuth, []string{
			"localhost", "127.0.0.1", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "10.96.0.1", "10.1.0.2", "a-node-0",
		}},
		KubeletServer("a-node-1"): {CA, x509.ExtKeyUsageServerAuth, []string{"a-node-1", "10.1.0.3"}},
		KubeletClient("a-node-0"): {CA, x509.ExtKeyUsageClientAuth, nil},
		"admin":                   {CA, x509.ExtKeyUsageClientAuth, nil},
		"etcd-server":             {EtcdCA, x509.ExtKeyUsageServerAuth, []string{"localhost", "127.0.0.1"}},
		"etcd-client":             {EtcdCA, x509.ExtKeyUsageClientAuth, nil},
		"front-proxy-client":      {FrontProxyCA, x509.ExtKeyUsageClientAuth, nil},
	} {
		certificate, err := tls.X509KeyPair(files[name+".crt"], files[name+".key"])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for authority := range map[string]bool{CA: true, EtcdCA: true, FrontProxyCA: true} {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(files[authority+".crt"])
			_, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{tc.usage}})
			if (err == nil) != (authority == tc.authority) {
				t.Errorf("%s under %s: %v", name, authority, err)
			}
		}
		for _, host := range tc.hosts {
			if err := certificate.Leaf.VerifyHostname(host); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	info, err := os.Stat(cfg.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the keys has mode %v, %v", info.Mode(), err)
	}
}

// A cluster that is started again has the same keys, and one that was killed while they were made gets what is missing.
func TestWhatIsThereStays(t *testing.T) {
	cfg := config(t)
	before := ensured(t, cfg)
	for name, content := range ensured(t, cfg) {
		if !bytes.Equal(before[name], content) {
			t.Errorf("%s was made anew", name)
		}
	}
	// The certificate is written last, so that this is what a kill leaves.
	if err := os.Remove(filepath.Join(cfg.Dir, "admin.crt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(cfg.Dir, "sa.pub")); err != nil {
		t.Fatal(err)
	}
	after := ensured(t, cfg)
	if _, err := tls.X509KeyPair(after["admin.crt"], after["admin.key"]); err != nil {
		t.Errorf("the repaired pair: %v", err)
	}
	if len(after) != len(before) || !bytes.Equal(after["apiserver.crt"], before["apiserver.crt"]) {
		t.Errorf("%d files, before %d", len(after), len(before))
	}
}

func TestABrokenFileIsNamed(t *testing.T) {
	cfg := config(t)
	ensured(t, cfg)
	path := filepath.Join(cfg.Dir, "ca.crt")
	if err := os.WriteFile(path, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Ensure(cfg); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
}
