// SPDX-License-Identifier: Apache-2.0

// Package emulator is Entra ID and Azure Key Vault in one process, for
// laptops and tests. It verifies everything that the real services verify and
// answers with their bodies, and it is not for production: it keeps secrets in
// memory, unencrypted, under an admin API that hands them out.
package emulator

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

// Config is what an Emulator needs. Addresses are host:port; port 0 picks a
// free one.
type Config struct {
	// Listen is the https address of all names of Azure.
	// Default 127.0.0.1:8443.
	Listen string
	// ProxyListen is the address of the forward proxy; empty for none.
	ProxyListen string
	// AdminListen is the address of the admin API, plain http.
	// Default 127.0.0.1:8444.
	AdminListen string
	// AdminTokenFile holds the admin API's bearer token. Without it AdminListen
	// must be a loopback address.
	AdminTokenFile string
	// HealthListen is the address of /healthz, /readyz and /metrics; empty for
	// none beside those on AdminListen.
	HealthListen string
	// IMDSListen is the address of the instance metadata service, plain http;
	// empty for none beside that behind the proxy.
	IMDSListen string
	// BindingListen is the https address of the token proxy of identity
	// bindings; empty for none.
	BindingListen string
	// BindingCACertFile and BindingCAKeyFile hold the token proxy's own CA; made
	// if missing. Both empty: one that lasts as long as the process.
	BindingCACertFile, BindingCAKeyFile string

	// CACertFile and CAKeyFile hold the CA; made if missing. Both empty: a CA
	// that lasts as long as the process.
	CACertFile, CAKeyFile string
	// SigningKeyFile holds the RSA key of access tokens; made if missing.
	// Empty: a key that lasts as long as the process, and so do its tokens.
	SigningKeyFile string
	// StateFile declares tenants, identities, vaults and the rest. Optional.
	StateFile string
	// PollInterval is how often the state file is looked at; a change is taken
	// over when two looks have seen the same. Where there are Event Grid
	// namespaces, pending certificates are looked at as often. Default 500 ms.
	PollInterval time.Duration

	// IssuerCAFiles, IssuerTokenFile and IssuerHosts say how the signing keys
	// of a cluster's token issuer are fetched. See entra.IssuerConfig.
	IssuerCAFiles   []string
	IssuerTokenFile string
	IssuerHosts     []string

	// Version is shown in the status.
	Version string
	// Audit gets audit and sign-in records as JSON lines.
	Audit io.Writer
	Log   *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

func (c *Config) complete() error {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8443"
	}
	if c.AdminListen == "" {
		c.AdminListen = "127.0.0.1:8444"
	}
	if c.PollInterval == 0 {
		c.PollInterval = 500 * time.Millisecond
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.IssuerTokenFile != "" && len(c.IssuerHosts) == 0 {
		return errors.New("an issuer token needs to know whom it is for: name the issuer's host with --issuer-host")
	}
	if c.AdminTokenFile == "" && !Loopback(c.AdminListen) {
		return fmt.Errorf("the admin API hands out secrets without asking who is there, so it listens on a loopback address: "+
			"use 127.0.0.1 in the place of %q, or protect it with --admin-token-file", c.AdminListen)
	}
	return nil
}

// Loopback reports whether a host:port can be reached from this machine alone.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
