// SPDX-License-Identifier: Apache-2.0

package lab

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
	// Issuer is that of the cluster's ServiceAccount tokens.
	Issuer = "https://kubernetes.default.svc.cluster.local"
	// AdminToken is that of a user who may do everything.
	AdminToken = "benchmark"

	apiServerURL = "https://127.0.0.1:6443"
)

// APIServer is a kube-apiserver with its etcd, and nothing else of Kubernetes.
type APIServer struct {
	program      string
	dir          string
	Etcd, Server *Process
	Clients      *kubernetes.Clientset
	Objects      *dynamic.DynamicClient
	REST         rest.Interface
	// Keys is the issuer's JSON Web Key Set.
	Keys string
}

// StartAPIServer starts program, which is test/cluster's Kubernetes in one binary, as etcd and as kube-apiserver.
func StartAPIServer(ctx context.Context, dir, program string) (*APIServer, error) {
	a := &APIServer{program: program, dir: filepath.Join(dir, "kubernetes")}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, err
	}
	key, tokens := filepath.Join(a.dir, "sa.key"), filepath.Join(a.dir, "tokens.csv")
	if err := writeKey(key); err != nil {
		return nil, err
	}
	if err := os.WriteFile(tokens, []byte(AdminToken+",benchmark,1,system:masters\n"), 0o600); err != nil {
		return nil, err
	}
	var err error
	// Nothing is written through to the disk: what counts here is not the disk of this machine.
	if a.Etcd, err = Start(ctx, dir, "etcd", nil, program, "etcd", "--data-dir="+filepath.Join(a.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380"); err != nil {
		return nil, err
	}
	if a.Server, err = Start(ctx, dir, "kube-apiserver", nil, program, "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=6443", "--cert-dir="+filepath.Join(a.dir, "certs"),
		"--token-auth-file="+tokens, "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer="+Issuer, "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--disable-admission-plugins=ServiceAccount", "--allow-privileged=true", "--endpoint-reconciler-type=none"); err != nil {
		return a, err
	}
	return a, a.connect(ctx)
}

func (a *APIServer) connect(ctx context.Context) error {
	config := a.Config(AdminToken)
	config.QPS = -1
	err := Eventually(ctx, time.Minute, 20*time.Millisecond, func(context.Context) error {
		_, err := os.Stat(config.CAFile) // the API server makes it
		return err
	})
	if err != nil {
		return a.Server.WithLog(err)
	}
	if a.Clients, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if a.Objects, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	a.REST = a.Clients.CoreV1().RESTClient()
	if err := Eventually(ctx, time.Minute, 100*time.Millisecond, func(ctx context.Context) error {
		return a.REST.Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		return a.Server.WithLog(fmt.Errorf("the API server does not become ready: %w", err))
	}
	keys, err := a.REST.Get().AbsPath("/openid/v1/jwks").Do(ctx).Raw()
	a.Keys = string(keys)
	return err
}

// Config returns how a client with the token reaches the API server.
func (a *APIServer) Config(token string) *rest.Config {
	return &rest.Config{Host: apiServerURL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(a.dir, "certs", "apiserver.crt")}}
}

// Kubeconfig writes a kubeconfig with the token and returns its path.
func (a *APIServer) Kubeconfig(name, token string) (string, error) {
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

// Apply applies manifests with the cluster's own kubectl.
func (a *APIServer) Apply(ctx context.Context, manifests []byte) error {
	config, err := a.Kubeconfig("admin", AdminToken)
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

// Stop ends both processes.
func (a *APIServer) Stop() []error {
	if a == nil {
		return nil
	}
	return []error{a.Server.Stop(), a.Etcd.Stop()}
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

// KubernetesProgram finds the binary among the lines that "cluster build" prints.
func KubernetesProgram(ctx context.Context, cluster string) (string, error) {
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
