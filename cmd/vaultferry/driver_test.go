// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_provider && !vaultferry_webhook

package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// parseDriver returns the driver's flags after args, and what the parser told the user.
func parseDriver(t *testing.T, args ...string) (*driverFlags, string, error) {
	t.Helper()
	var told bytes.Buffer
	f := &driverFlags{}
	cmd := newDriverCommand(environment{stdout: io.Discard, stderr: io.Discard})
	cmd.ResetFlags()
	cmd.Flags().SetOutput(&told)
	f.add(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		return nil, "", err
	}
	return f, told.String(), f.validate()
}

// The flags of the Secrets Store CSI Driver v1.6.0 keep names and defaults, and take the values of today's manifests.
func TestDriverFlagsOfTodaysManifests(t *testing.T) {
	f, _, err := parseDriver(t, "--nodeid=node-0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := socketPath(f.endpoint)
	if err != nil || socket != "/tmp/csi.sock" || f.driverName != "secrets-store.csi.k8s.io" || f.providerDir != "/var/run/secrets-store-csi-providers" ||
		!slices.Equal(f.additionalProviderDirs, []string{"/etc/kubernetes/secrets-store-csi-providers"}) || f.metricsAddr != ":8095" ||
		f.rotation || f.rotationInterval != 2*time.Minute || f.pprof || f.pprofPort != 6065 || f.maxAnswerBytes != 4194304 ||
		f.providerHealth || f.providerHealthInterval != 2*time.Minute || f.common.json {
		t.Fatalf("the defaults are not those of today: %+v, socket %q, %v", f, socket, err)
	}
	f, told, err := parseDriver(t, "--log-format-json=true", "--endpoint=unix:///csi/csi.sock", "--nodeid=node-0", "--drivername=csi.example.com",
		"--provider-volume=/p", "--additional-provider-volume-paths=/a,/b", "--enable-secret-rotation=true", "--rotation-poll-interval=30s",
		"--metrics-addr=:8096", "--enable-pprof=true", "--pprof-port=6066", "--max-call-recv-msg-size=1024", "--provider-health-check=true",
		"--provider-health-check-interval=1m", "--metrics-backend=prometheus", "--kubeconfig=/k", "-v=5")
	if err != nil || told != "" {
		t.Fatalf("%v, told %q", err, told)
	}
	if f.driverName != "csi.example.com" || !slices.Equal(f.additionalProviderDirs, []string{"/a", "/b"}) || !f.rotation ||
		f.rotationInterval != 30*time.Second || f.maxAnswerBytes != 1024 || !f.providerHealth || f.common.verbosity != 5 || f.kubeconfig != "/k" {
		t.Fatalf("got %+v", f)
	}
}

// What has nothing to do any more is taken, and who passes it is told so.
func TestFlagsWithoutEffectAreTold(t *testing.T) {
	for _, arg := range []string{
		"--filtered-watch-secret", "--filtered-watch-secret=false", "--logtostderr", "--alsologtostderr=true", "--one_output", "--add_dir_header",
		"--skip_headers", "--skip_log_headers", "--vmodule=server=4", "--stderrthreshold=2", "--log_dir=/x", "--log_file=x", "--log_file_max_size=1",
		"--log_backtrace_at=a.go:1",
	} {
		flag, _, _ := strings.Cut(arg, "=")
		_, told, err := parseDriver(t, "--nodeid=node-0", arg)
		if err != nil || !strings.Contains(told, flag+" ") || !strings.Contains(told, "has no effect") {
			t.Errorf("%s: %v, told %q", arg, err, told)
		}
	}
}

func TestDriverFlagsRefused(t *testing.T) {
	if _, _, err := parseDriver(t); err == nil || !strings.Contains(err.Error(), "--nodeid") {
		t.Errorf("no node: %v", err)
	}
	for _, args := range [][]string{
		{"--enable-secret-rotation", "--rotation-poll-interval=0s"}, {"--provider-health-check", "--provider-health-check-interval=0s"},
		{"--max-call-recv-msg-size=0"}, {"--volume-size-limit=1"}, {"--metrics-backend=statsd"},
	} {
		flag, _, _ := strings.Cut(args[len(args)-1], "=")
		if _, _, err := parseDriver(t, append(args, "--nodeid=node-0")...); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%v: got %v, want an error that names the flag", args, err)
		}
	}
	if _, err := socketPath("tcp://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "--endpoint must be unix://") {
		t.Errorf("tcp: %v", err)
	}
}
