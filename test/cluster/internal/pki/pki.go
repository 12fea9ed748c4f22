// SPDX-License-Identifier: Apache-2.0

// Package pki makes the keys and certificates of a local cluster and keeps
// them in a directory, so that a cluster that is started again has the same.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Config is what the certificates are made out for.
type Config struct {
	Dir       string   // where keys and certificates are kept, mode 0700
	NodeNames []string // names of the Node objects
	NodeIPs   []string // addresses of the nodes, in the same order
	ServiceIP string   // address of the Service default/kubernetes
	Domain    string   // the cluster's DNS domain
	Now       time.Time
}

// validity of every certificate. A local cluster doesn't live that long.
const validity = 10 * 365 * 24 * time.Hour

// Authorities, by the base name of their files.
const (
	CA           = "ca"             // everything that talks to the API server
	EtcdCA       = "etcd-ca"        // etcd and its one client
	FrontProxyCA = "front-proxy-ca" // the API server towards extension API servers
)

type leaf struct {
	file, authority string
	name            string
	groups          []string
	server          bool
	hosts           []string
}

// Node files.
func KubeletClient(node string) string { return "kubelet-client-" + node }
func KubeletServer(node string) string { return "kubelet-server-" + node }

// leaves lists the certificates. User and group names are those that the API
// server's built-in roles are bound to.
func leaves(cfg Config) []leaf {
	api := []string{
		"localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc." + cfg.Domain, cfg.ServiceIP,
	}
	api = append(api, cfg.NodeIPs...)
	api = append(api, cfg.NodeNames...)
	list := []leaf{
		{file: "apiserver", authority: CA, name: "kube-apiserver", server: true, hosts: api},
		{file: "apiserver-kubelet-client", authority: CA, name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
		{file: "front-proxy-client", authority: FrontProxyCA, name: "front-proxy-client"},
		{file: "etcd-server", authority: EtcdCA, name: "etcd", server: true, hosts: []string{"localhost", "127.0.0.1"}},
		{file: "etcd-client", authority: EtcdCA, name: "kube-apiserver"},
		{file: "admin", authority: CA, name: "kubernetes-admin", groups: []string{"system:masters"}},
		{file: "controller-manager", authority: CA, name: "system:kube-controller-manager"},
		{file: "scheduler", authority: CA, name: "system:kube-scheduler"},
		{file: "proxy", authority: CA, name: "system:kube-proxy"},
		{file: "dns", authority: CA, name: "system:coredns"},
	}
	for i, node := range cfg.NodeNames {
		list = append(list,
			leaf{file: KubeletClient(node), authority: CA, name: "system:node:" + node, groups: []string{"system:nodes"}},
			leaf{file: KubeletServer(node), authority: CA, name: node, server: true, hosts: []string{node, cfg.NodeIPs[i]}},
		)
	}
	return list
}

// Ensure makes whatever is missing.
func Ensure(cfg Config) error {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making the certificates' directory: %w", err)
	}
	authorities := map[string]*pair{}
	for _, name := range []string{CA, EtcdCA, FrontProxyCA} {
		authority, err := ensure(cfg, name, func(key crypto.Signer) (*x509.Certificate, *pair) {
			return authorityTemplate(cfg, name), nil
		})
		if err != nil {
			return err
		}
		authorities[name] = authority
	}
	for _, leaf := range leaves(cfg) {
		_, err := ensure(cfg, leaf.file, func(crypto.Signer) (*x509.Certificate, *pair) {
			return leafTemplate(cfg, leaf), authorities[leaf.authority]
		})
		if err != nil {
			return err
		}
	}
	return ensureServiceAccountKey(cfg)
}

type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// ensure reads the named pair or makes it. The key is written first, so that a
// certificate on disk always has its key.
func ensure(cfg Config, name string, template func(crypto.Signer) (*x509.Certificate, *pair)) (*pair, error) {
	if found, err := load(cfg.Dir, name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return found, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making key %s: %w", name, err)
	}
	certificate, signer := template(key)
	if signer == nil {
		signer = &pair{certificate: certificate, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, signer.certificate, key.Public(), signer.key)
	if err != nil {
		return nil, fmt.Errorf("making certificate %s: %w", name, err)
	}
	if err := writeKey(cfg.Dir, name, key); err != nil {
		return nil, err
	}
	if err := writePEM(filepath.Join(cfg.Dir, name+".crt"), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return load(cfg.Dir, name)
}

func authorityTemplate(cfg Config, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "vaultferry test cluster " + name},
		NotBefore:             cfg.Now.Add(-time.Hour),
		NotAfter:              cfg.Now.Add(validity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

func leafTemplate(cfg Config, leaf leaf) *x509.Certificate {
	certificate := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: leaf.name, Organization: leaf.groups},
		NotBefore:    cfg.Now.Add(-time.Hour),
		NotAfter:     cfg.Now.Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if leaf.server {
		// etcd and the API server call themselves, with the same certificate.
		certificate.ExtKeyUsage = append(certificate.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range leaf.hosts {
		if ip := net.ParseIP(host); ip != nil {
			certificate.IPAddresses = append(certificate.IPAddresses, ip)
		} else {
			certificate.DNSNames = append(certificate.DNSNames, host)
		}
	}
	return certificate
}

// ensureServiceAccountKey makes the key that signs ServiceAccount tokens. It is
// an RSA key because Entra ID takes only RS256 from an outside issuer.
func ensureServiceAccountKey(cfg Config) error {
	public := filepath.Join(cfg.Dir, "sa.pub")
	if _, err := os.Stat(public); err == nil {
		return nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making the ServiceAccount key: %w", err)
	}
	if err := writeKey(cfg.Dir, "sa", key); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the ServiceAccount key: %w", err)
	}
	return writePEM(public, "PUBLIC KEY", der)
}

func serial() *big.Int {
	var bytes [16]byte
	_, _ = rand.Read(bytes[:]) // never fails, see crypto/rand.Read
	bytes[0] &= 0x7f
	return new(big.Int).SetBytes(bytes[:])
}
