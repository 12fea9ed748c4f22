// SPDX-License-Identifier: Apache-2.0

// Package kubeapi is the little of a Kubernetes client that starting a cluster
// needs.
package kubeapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"
)

// Config says where the API server is and as whom to call it.
type Config struct {
	Server string // URL without a trailing slash
	PKI    string // directory with ca.crt, admin.crt and admin.key
}

// Client calls the API server as the cluster's administrator.
type Client struct {
	server string
	http   *http.Client
}

// ErrNotFound says that the object doesn't exist.
var ErrNotFound = errors.New("not found")

// New reads the certificates and makes a client.
func New(cfg Config) (*Client, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(cfg.PKI, "admin.crt"), filepath.Join(cfg.PKI, "admin.key"))
	if err != nil {
		return nil, fmt.Errorf("reading the administrator's certificate: %w", err)
	}
	authority, err := readAuthority(filepath.Join(cfg.PKI, "ca.crt"))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: authority},
		IdleConnTimeout: 10 * time.Second,
	}
	return &Client{server: cfg.Server, http: &http.Client{Transport: transport, Timeout: 10 * time.Second}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Get reads the object at path into out; nil only asks.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	content, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(content, out); err != nil {
		return fmt.Errorf("reading the answer to GET %s: %w", path, err)
	}
	return nil
}

// Apply makes the object at path what the manifest says, by server-side apply.
func (c *Client) Apply(ctx context.Context, path string, manifest []byte) error {
	_, err := c.do(ctx, http.MethodPatch, path+"?fieldManager=vaultferry-cluster&force=true", "application/apply-patch+yaml", manifest)
	return err
}

func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking the API server: %w", err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the API server: %w", err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s %s: %w", method, path, err)
	}
	if response.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s %s: %w", method, path, ErrNotFound)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, bytes.TrimSpace(content))
	}
	return content, nil
}
