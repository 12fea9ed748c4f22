// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"crypto/x509"
	"fmt"
	"os"
)

func readAuthority(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("reading the cluster's CA %s: no certificate in it", path)
	}
	return pool, nil
}
