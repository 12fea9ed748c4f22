// SPDX-License-Identifier: Apache-2.0

package servingcert_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/vaultferry/vaultferry/internal/webhook/servingcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	day  = 24 * time.Hour
	name = "vaultferry-webhook.kube-system.svc"
)

// apiServer is an API server with one Secret and two configurations. Writes of anything but the newest version are refused, and every answer
// takes time, so that replicas get into each other's way.
type apiServer struct {
	mu       sync.Mutex
	data     map[string][]byte
	bundles  []string
	versions [3]int // Secret, configurations
	watchers []func()
	writes   int
	// history holds what the first configuration said from when on.
	history []bundleSince
	broken  error
}

type bundleSince struct {
	at     time.Time
	bundle string
}

func newAPIServer() *apiServer {
	return &apiServer{data: map[string][]byte{}, bundles: []string{"", ""}}
}

func (a *apiServer) answer(ctx context.Context) (func(), error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(10 * time.Millisecond):
	}
	a.mu.Lock()
	if a.broken != nil {
		defer a.mu.Unlock()
		return nil, a.broken
	}
	return a.mu.Unlock, nil
}

func (a *apiServer) Secret(ctx context.Context) (map[string][]byte, string, error) {
	done, err := a.answer(ctx)
	if err != nil {
		return nil, "", err
	}
	defer done()
	return maps.Clone(a.data), fmt.Sprint(a.versions[0]), nil
}

func (a *apiServer) SaveSecret(ctx context.Context, data map[string][]byte, version string) error {
	done, err := a.answer(ctx)
	if err != nil {
		return err
	}
	defer done()
	if version != fmt.Sprint(a.versions[0]) {
		return fmt.Errorf("the Secret: %w", servingcert.ErrConflict)
	}
	a.data = maps.Clone(data)
	a.wrote(0)
	return nil
}

func (a *apiServer) Configurations(ctx context.Context) ([]servingcert.Configuration, error) {
	done, err := a.answer(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var out []servingcert.Configuration
	for i, bundle := range a.bundles {
		out = append(out, servingcert.Configuration{Name: fmt.Sprint(i), Version: fmt.Sprint(a.versions[i+1]), Bundles: [][]byte{[]byte(bundle)}})
	}
	return out, nil
}

func (a *apiServer) SaveBundle(ctx context.Context, c servingcert.Configuration, bundle []byte) error {
	done, err := a.answer(ctx)
	if err != nil {
		return err
	}
	defer done()
	i := int(c.Name[0] - '0')
	if c.Version != fmt.Sprint(a.versions[i+1]) {
		return fmt.Errorf("configuration %s: %w", c.Name, servingcert.ErrConflict)
	}
	a.bundles[i] = string(bundle)
	if i == 0 {
		a.history = append(a.history, bundleSince{time.Now(), string(bundle)})
	}
	a.wrote(i + 1)
	return nil
}

func (a *apiServer) wrote(object int) {
	a.versions[object]++
	a.writes++
	for _, changed := range a.watchers {
		changed()
	}
}

func (a *apiServer) Watch(ctx context.Context, changed func()) {
	a.mu.Lock()
	a.watchers = append(a.watchers, changed)
	a.mu.Unlock()
	<-ctx.Done()
}

// known is the bundle as an API server sees it whose watch is late.
func (a *apiServer) known(late time.Duration) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	bundle := ""
	for _, h := range a.history {
		if !h.at.After(time.Now().Add(-late)) {
			bundle = h.bundle
		}
	}
	return bundle
}

func (a *apiServer) change(what func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what()
}

// replicas runs n rotators against api until the test ends.
func replicas(t *testing.T, api *apiServer, n int) []*servingcert.Rotator {
	t.Helper()
	return replicasWith(t, api, n, servingcert.DefaultPolicy("kube-system", "vaultferry-webhook"))
}

func replicasWith(t *testing.T, api *apiServer, n int, policy servingcert.Policy) []*servingcert.Rotator {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	var out []*servingcert.Rotator
	for range n {
		r := servingcert.NewRotator(api, policy, slog.New(slog.DiscardHandler))
		running.Go(func() { r.Run(ctx) })
		out = append(out, r)
	}
	t.Cleanup(func() { cancel(); running.Wait() })
	return out
}

// trusted tells whether an API server with that bundle would talk to the replica.
func trusted(r *servingcert.Rotator, bundle string) error {
	certificate, err := r.GetCertificate(nil)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(bundle))
	_, err = certificate.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
	return err
}

// Two replicas that start at once agree on one CA, with few writes.
func TestReplicasThatStartAtOnceAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer()
		both := replicas(t, api, 2)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for i, r := range both {
			for _, bundle := range api.bundles {
				if err := trusted(r, bundle); err != nil {
					t.Errorf("replica %d: %v", i, err)
				}
			}
		}
		if strings.Count(api.bundles[0], "BEGIN") != 1 || api.writes != 3 {
			t.Errorf("%d writes, bundle %s", api.writes, api.bundles[0])
		}
	})
}

// At every moment every API server trusts every replica, even one whose watch is half a minute late. The lifetimes are short so that
// much happens.
func TestRotationIsNeverNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer()
		policy := servingcert.DefaultPolicy("kube-system", "vaultferry-webhook")
		policy.AuthorityLifetime, policy.LeafLifetime = 6*time.Hour, 90*time.Minute
		both := replicasWith(t, api, 2, policy)
		time.Sleep(time.Minute)
		bundles, leaves := map[string]bool{}, map[string]bool{}
		for end := time.Now().Add(day); time.Now().Before(end); time.Sleep(20 * time.Second) {
			for i, r := range both {
				for _, late := range []time.Duration{0, 30 * time.Second} {
					if err := trusted(r, api.known(late)); err != nil {
						t.Fatalf("%s: replica %d: %v", time.Now(), i, err)
					}
				}
				leaf, _ := r.GetCertificate(nil)
				leaves[leaf.Leaf.SerialNumber.String()] = true
			}
			bundles[api.known(0)] = true
		}
		if len(bundles) < 6 || len(leaves) < 20 {
			t.Errorf("%d bundles and %d certificates: nothing was renewed", len(bundles), len(leaves))
		}
	})
}

func TestWhatOthersBreakIsMended(t *testing.T) {
	for what, broken := range map[string]func(*apiServer){
		"a bundle is emptied":       func(a *apiServer) { a.bundles[1] = ""; a.wrote(2) },
		"a bundle is another's":     func(a *apiServer) { a.bundles[1] = "rubbish"; a.wrote(2) },
		"the Secret is emptied":     func(a *apiServer) { a.data = nil; a.wrote(0) },
		"the leaf's key is another": func(a *apiServer) { a.data["tls.key"] = a.data["ca.key"]; a.wrote(0) },
		"the CA's key is lost":      func(a *apiServer) { delete(a.data, "ca.key"); a.wrote(0) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newAPIServer()
				both := replicas(t, api, 2)
				time.Sleep(time.Hour)
				api.change(func() { broken(api) })
				time.Sleep(time.Minute)
				synctest.Wait()
				for i, r := range both {
					for _, bundle := range api.bundles {
						if err := trusted(r, bundle); err != nil {
							t.Errorf("replica %d: %v", i, err)
						}
					}
				}
			})
		})
	}
}

// A Secret that the Azure webhook made, with RSA keys in PKCS#1, is taken over: API servers trust its CA already.
func TestACAFromElsewhereIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer()
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "azure-workload-identity-ca"}, NotBefore: time.Now().Add(-time.Hour),
			NotAfter: time.Now().Add(3650 * day), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		theirs := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		api.data["ca.crt"] = theirs
		api.data["ca.key"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
		r := replicas(t, api, 1)[0]
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := trusted(r, string(theirs)); err != nil || api.bundles[0] != string(theirs) {
			t.Errorf("%v, bundle %s", err, api.bundles[0])
		}
	})
}

// An API server that is away does no harm to what is served, and its return is noticed.
func TestAnAPIServerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer()
		api.broken = errors.New("connection refused")
		r := replicas(t, api, 1)[0]
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := r.GetCertificate(nil); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("before it ever answered: %v", err)
		}
		api.change(func() { api.broken = nil })
		time.Sleep(time.Minute)
		api.change(func() { api.broken = errors.New("connection refused") })
		time.Sleep(day)
		if err := trusted(r, api.known(0)); err != nil {
			t.Error(err)
		}
	})
}

func TestReadyMeansThatTheAPIServerWouldTrustIt(t *testing.T) {
	api := newAPIServer()
	r := replicas(t, api, 1)[0]
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: r.GetCertificate, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_ = connection.(*tls.Conn).Handshake()
			connection.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-accepted })
	ready := func() error { return r.Ready(t.Context(), listener.Addr().String()) }
	for deadline := time.Now().Add(time.Minute); ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never ready: %v", ready())
		}
	}
	if err := r.Ready(t.Context(), "127.0.0.1:1"); err == nil {
		t.Error("ready although nobody listens")
	}
	other := servingcert.NewRotator(api, servingcert.DefaultPolicy("kube-system", "vaultferry-webhook"), slog.New(slog.DiscardHandler))
	if err := other.Ready(t.Context(), listener.Addr().String()); err == nil {
		t.Error("ready without a certificate")
	}
	if err := servingcert.Handshake(t.Context(), listener.Addr().String(), name, nil); err == nil {
		t.Error("a configuration without a bundle trusts it")
	}
	var bundle string
	api.change(func() { bundle = api.bundles[0] })
	if err := servingcert.Handshake(t.Context(), listener.Addr().String(), "other.kube-system.svc", []byte(bundle)); err == nil {
		t.Error("it answers to another name")
	}
}

func TestFilesAreReadAgainWhenTheyChange(t *testing.T) {
	dir := t.TempDir()
	files := servingcert.NewFiles(dir)
	if _, err := files.GetCertificate(nil); err == nil || !strings.Contains(err.Error(), "--webhook-cert-dir") {
		t.Fatalf("got %v", err)
	}
	write := func(serial int64, at time.Time) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{
			"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)},
		} {
			path := filepath.Join(dir, file)
			if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	for serial := int64(1); serial < 3; serial++ {
		write(serial, time.Unix(serial, 0))
		got, err := files.GetCertificate(nil)
		if err != nil || got.Leaf.SerialNumber.Int64() != serial {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.key"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := files.GetCertificate(nil); err != nil || got.Leaf.SerialNumber.Int64() != 2 {
		t.Errorf("while a pair is being written: got %v, %v", got, err)
	}
}
