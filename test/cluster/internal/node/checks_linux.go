// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/procs"
)

// listens checks that something accepts connections.
func listens(network, address string) procs.Check {
	return func(ctx context.Context) error {
		dialer := net.Dialer{Timeout: time.Second}
		connection, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}

// healthy checks that a health URL on the node's loopback says 200.
func healthy(url string) procs.Check {
	// The programs make up their own certificates for these ports.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s says %s", url, response.Status)
		}
		return nil
	}
}

// resolves checks DNS as a pod would use it, through the Service's address.
func resolves(ctx context.Context) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		dialer := net.Dialer{Timeout: time.Second}
		return dialer.DialContext(ctx, network, net.JoinHostPort(layout.DNSServiceIP, "53"))
	}}
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	name := "kubernetes.default.svc." + layout.ClusterDomain + "."
	addresses, err := resolver.LookupHost(limited, name)
	if err != nil {
		return fmt.Errorf("asking the cluster's DNS: %w", err)
	}
	if len(addresses) != 1 || addresses[0] != layout.APIServiceIP {
		return fmt.Errorf("the cluster's DNS says that %s is %v", name, addresses)
	}
	return nil
}

func both(checks ...procs.Check) procs.Check {
	return func(ctx context.Context) error {
		for _, check := range checks {
			if err := check(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}
