// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// issuer is that of the cluster's ServiceAccount tokens.
	issuer       = "https://kubernetes.default.svc.cluster.local"
	apiServerURL = "https://127.0.0.1:6443"
	adminToken   = "benchmark"
)

// apiServer is a kube-apiserver with its etcd, and nothing else of Kubernetes.
type apiServer struct {
	program      string
	dir          string
	etcd, server *process
	clients      *kubernetes.Clientset
	objects      *dynamic.DynamicClient
	rest         rest.Interface
	// keys is the issuer's JSON Web Key Set.
	keys string
}

// startAPIServer starts program, which is test/cluster's Kubernetes in one binary, as etcd and as kube-apiserver.
func startAPIServer(ctx context.Context, dir, program string) (*apiServer, error) {
	a := &apiServer{program: program, dir: filepath.Join(dir, "kubernetes")}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, err
	}
	key, tokens := filepath.Join(a.dir, "sa.key"), filepath.Join(a.dir, "tokens.csv")
	if err := writeKey(key); err != nil {
		return nil, err
	}
	if err := os.WriteFile(tokens, []byte(adminToken+",benchmark,1,system:masters\n"), 0o600); err != nil {
		return nil, err
	}
	var err error
	// Nothing is written through to the disk: what counts here is not the disk of this machine.
	if a.etcd, err = start(ctx, dir, "etcd", nil, program, "etcd", "--data-dir="+filepath.Join(a.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380"); err != nil {
		return nil, err
	}
	if a.server, err = start(ctx, dir, "kube-apiserver", nil, program, "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=6443", "--cert-dir="+filepath.Join(a.dir, "certs"),
		"--token-auth-file="+tokens, "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer="+issuer, "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--disable-admission-plugins=ServiceAccount", "--allow-privileged=true", "--endpoint-reconciler-type=none"); err != nil {
		return a, err
	}
	return a, a.connect(ctx)
}

func (a *apiServer) connect(ctx context.Context) error {
	config := a.config(adminToken)
	config.QPS = -1
	err := eventually(ctx, time.Minute, 20*time.Millisecond, func(context.Context) error {
		_, err := os.Stat(config.CAFile) // the API server makes it
		return err
	})
	if err != nil {
		return a.server.withLog(err)
	}
	if a.clients, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if a.objects, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	a.rest = a.clients.CoreV1().RESTClient()
	if err := eventually(ctx, time.Minute, 100*time.Millisecond, func(ctx context.Context) error {
		return a.rest.Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		return a.server.withLog(fmt.Errorf("the API server does not become ready: %w", err))
	}
	keys, err := a.rest.Get().AbsPath("/openid/v1/jwks").Do(ctx).Raw()
	a.keys = string(keys)
	return err
}

func (a *apiServer) config(token string) *rest.Config {
	return &rest.Config{Host: apiServerURL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(a.dir, "certs", "apiserver.crt")}}
}

// kubeconfig writes a kubeconfig with the token and returns its path.
func (a *apiServer) kubeconfig(name, token string) (string, error) {
	path := filepath.Join(a.dir, name+".kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: bench, cluster: {server: %q, certificate-authority: certs/apiserver.crt}}]
users: [{name: bench, user: {token: %q}}]
contexts: [{name: bench, context: {cluster: bench, user: bench}}]
current-context: bench
`, apiServerURL, token)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// apply applies manifests with the cluster's own kubectl.
func (a *apiServer) apply(ctx context.Context, manifests []byte) error {
	config, err := a.kubeconfig("admin", adminToken)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, a.program, "kubectl", "--kubeconfig="+config, "apply", "--server-side", "--validate=false", "-f", "-") //nolint:gosec // as flags say
	command.Stdin = bytes.NewReader(manifests)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl apply: %w: %s", err, out)
	}
	return nil
}

// counts are the requests that the API server answered since its start.
type counts struct{ Reads, Writes float64 }

func (c counts) since(before counts) counts {
	return counts{c.Reads - before.Reads, c.Writes - before.Writes}
}

// requests reads the API server's own counters for the resources that a driver has to do with. A watch counts when it ends.
func (a *apiServer) requests(ctx context.Context) (counts, error) {
	text, err := a.rest.Get().AbsPath("/metrics").Do(ctx).Raw()
	if err != nil {
		return counts{}, err
	}
	var c counts
	for _, s := range samples(text, "apiserver_request_total") {
		switch s.label("resource") {
		case "secretproviderclasses", "secretproviderclasspodstatuses", "events", "pods", "serviceaccounts", "secrets":
		default:
			continue
		}
		if s.label("subresource") != "" {
			continue
		}
		switch s.label("verb") {
		case "GET", "LIST", "WATCH":
			c.Reads += s.value
		default:
			c.Writes += s.value
		}
	}
	return c, nil
}

func (a *apiServer) stop() []error {
	if a == nil {
		return nil
	}
	return []error{a.server.stop(), a.etcd.stop()}
}

// writeKey writes a new RSA key, with which the API server signs ServiceAccount tokens.
func writeKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

// kubernetesProgram finds the binary among the lines that "cluster build" prints.
func kubernetesProgram(ctx context.Context, cluster string) (string, error) {
	out, err := exec.CommandContext(ctx, cluster, "build").Output()
	if err != nil {
		return "", fmt.Errorf("building the API server (%s build): %w", cluster, err)
	}
	for line := range strings.Lines(string(out)) {
		if part, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && part == "kubernetes" {
			return filepath.Join(dir, "kubernetes"), nil
		}
	}
	return "", fmt.Errorf("%s build names no kubernetes", cluster)
}
