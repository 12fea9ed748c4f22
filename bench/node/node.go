// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

const (
	driverMetrics    = "http://127.0.0.1:8095/metrics"
	driverProfiles   = "http://127.0.0.1:6065/debug/pprof/"
	providerProfiles = "http://127.0.0.1:6066/debug/pprof/"
)

// node is a driver with its Azure provider, and kubelet's side of their socket.
type node struct {
	*kubelet
	// driver and provider are nil where --csi-socket points at a driver that is not ours.
	driver, provider *lab.Process
	other            *lab.Process
	// refresh is the rotation interval.
	refresh time.Duration
}

// nodeSettings are those that a measurement chooses.
type nodeSettings struct {
	// refresh is the rotation interval, 0 for none.
	refresh time.Duration
}

// startNode starts a driver and a provider that know nothing yet, with the flags of the chart.
func (b *bench) startNode(ctx context.Context, s nodeSettings) (n *node, err error) {
	n = &node{refresh: s.refresh}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.stop())
		}
	}()
	for _, dir := range []string{"providers", "pods", "registration"} {
		if err := os.MkdirAll(filepath.Join(b.dir, dir), 0o755); err != nil {
			return n, err
		}
	}
	socket := filepath.Join(b.dir, "csi.sock")
	switch {
	case b.options.csiSocket == "":
		err = b.startOurs(ctx, n, socket, s)
	case b.options.command != "":
		socket = b.options.csiSocket
		n.other, err = lab.Start(ctx, b.dir, "other", b.environment(s), "/bin/sh", "-c", "exec "+b.options.command)
	default:
		socket = b.options.csiSocket
	}
	if err != nil {
		return n, err
	}
	n.kubelet, err = connect(ctx, socket, filepath.Join(b.dir, "pods"))
	if err != nil {
		for _, p := range []*lab.Process{n.driver, n.provider, n.other} {
			if p != nil {
				err = p.WithLog(err)
			}
		}
	}
	return n, err
}

// environment tells another driver where everything is.
func (b *bench) environment(s nodeSettings) []string {
	return []string{
		"KUBECONFIG=" + b.kubeconfig, "NODE_NAME=" + nodeName, "CSI_SOCKET=" + b.options.csiSocket, "PROVIDERS_DIR=" + filepath.Join(b.dir, "providers"),
		"PODS_DIR=" + filepath.Join(b.dir, "pods"), "REFRESH_INTERVAL=" + s.refresh.String(), "HTTPS_PROXY=http://" + emulatorProxy, "SSL_CERT_FILE=" + b.azure.ca, "NO_PROXY=127.0.0.1",
	}
}

func (b *bench) startOurs(ctx context.Context, n *node, socket string, s nodeSettings) (err error) {
	forProvider := []string{"provider"}
	forDriver := []string{"driver", "--kubeconfig=" + b.kubeconfig}
	if b.options.profiles != "" {
		forProvider = append(forProvider, "--enable-pprof", "--pprof-port=6066")
		forDriver = append(forDriver, "--enable-pprof", "--pprof-port=6065")
	}
	if s.refresh > 0 && s.refresh < b.options.interval { // each refresh reads anew
		forProvider = append(forProvider, "--object-freshness="+(s.refresh*4/5).String())
	}
	providers := filepath.Join(b.dir, "providers")
	n.provider, err = lab.Start(ctx, b.dir, "provider", []string{"HTTPS_PROXY=http://" + emulatorProxy, "SSL_CERT_FILE=" + b.azure.ca, "NO_PROXY="}, b.options.provider,
		append(forProvider, "--endpoint=unix://"+filepath.Join(providers, "azure.sock"))...)
	if err != nil {
		return err
	}
	if s.refresh > 0 {
		forDriver = append(forDriver, "--enable-secret-rotation", "--rotation-poll-interval="+s.refresh.String())
	}
	n.driver, err = lab.Start(ctx, b.dir, "driver", nil, b.options.driver, append(forDriver, "--endpoint=unix://"+socket, "--nodeid="+nodeName,
		"--registration-dir="+filepath.Join(b.dir, "registration"), "--provider-volume="+providers, "--additional-provider-volume-paths="+providers)...)
	return err
}

// ours reports whether driver and provider are processes of this node, which can be looked at.
func (n *node) ours() bool { return n.driver != nil }

func (n *node) stop() error {
	var errs []error
	if n.kubelet != nil {
		n.conn.Close()
	}
	for _, p := range []*lab.Process{n.driver, n.provider, n.other} {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// unmountAll takes away what a driver that died left, so that one measurement does not spoil the next.
func unmountAll(pods string) error {
	targets, err := filepath.Glob(filepath.Join(pods, "*", "volumes", "*", "*", "mount"))
	if err != nil {
		return err
	}
	var errs []error
	for _, target := range targets {
		if err := syscall.Unmount(target, 0); err != nil && !errors.Is(err, syscall.EINVAL) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", target, err))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(pods))...)
}
