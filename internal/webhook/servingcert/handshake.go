// SPDX-License-Identifier: Apache-2.0

package servingcert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Handshake opens a TLS connection to address, as an API server that trusts the PEM certificates in bundle and calls the server by name.
func Handshake(ctx context.Context, address, name string, bundle []byte) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return fmt.Errorf("the webhook configuration has no caBundle")
	}
	return dial(ctx, address, &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12})
}

func dial(ctx context.Context, address string, config *tls.Config) error {
	dialer := &tls.Dialer{Config: config}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("shaking hands with myself at %s: %w", address, err)
	}
	return connection.Close()
}

// Files is a serving certificate that somebody else renews: tls.crt and tls.key in a directory, read again when they change.
type Files struct {
	dir string

	mu     sync.Mutex
	loaded *tls.Certificate
	of     [2]time.Time
}

// NewFiles returns the certificate in dir, which need not be there yet.
func NewFiles(dir string) *Files { return &Files{dir: dir} }

// GetCertificate is for [tls.Config].
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	certificate, key := filepath.Join(f.dir, leafCertKey), filepath.Join(f.dir, leafKeyKey)
	var of [2]time.Time
	for i, file := range []string{certificate, key} {
		info, err := os.Stat(file)
		if err != nil {
			return nil, fmt.Errorf("finding the serving certificate (--webhook-cert-dir): %w", err)
		}
		of[i] = info.ModTime()
	}
	if f.loaded != nil && of == f.of {
		return f.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	switch {
	case err == nil:
		f.loaded, f.of = &pair, of
	case f.loaded == nil:
		return nil, fmt.Errorf("loading the serving certificate (--webhook-cert-dir): %w", err)
	}
	// A pair that is being written does not match; the one before it goes on.
	return f.loaded, nil
}

// Ready tells whether the server at address shows the certificate. Who trusts it is the business of whoever made it.
func (f *Files) Ready(ctx context.Context, address string) error {
	if _, err := f.GetCertificate(nil); err != nil {
		return err
	}
	return dial(ctx, address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // it asks only whether it is served
}
