// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_driver && !vaultferry_webhook

package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// parse returns the provider's flags after args.
func parse(t *testing.T, args ...string) (*providerFlags, error) {
	t.Helper()
	f := &providerFlags{}
	cmd := newProviderCommand(environment{stdout: io.Discard, stderr: io.Discard})
	cmd.ResetFlags()
	f.add(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		return nil, err
	}
	return f, f.validate()
}

func TestProviderFlagsOfTodaysManifests(t *testing.T) {
	f, err := parse(t, "--endpoint=unix:///provider/azure.sock", "--construct-pem-chain=true", "--healthz-port=8989", "--healthz-path=/healthz",
		"--healthz-timeout=5s", "--prometheus-port=8898", "--metrics-backend=prometheus", "--cloud-name=AzureCloud", "--custom-user-agent=contoso/1",
		"--log-format-json=true", "--write-cert-and-key-in-separate-files=false", "--enable-pprof=false", "--pprof-port=6060", "-v=5",
		"--token-proxy-url=https://kubernetes.default.svc.cluster.local", "--sni-name=a.ests.aks", "--logtostderr", "--vmodule=server=4")
	if err != nil {
		t.Fatal(err)
	}
	if f.applicationID() != "contoso/1" {
		t.Fatalf("got user agent %q", f.applicationID())
	}
}

// Who replaces version 1.8.2 of the Azure provider and passes none of its flags gets what they meant there. Those of klog have no
// effect, and their defaults no meaning.
func TestProviderFlagsKeepTheirDefaults(t *testing.T) {
	today := []struct{ name, value string }{
		{"endpoint", "unix:///tmp/azure.sock"},
		{"version", "false"},
		{"log-format-json", "false"},
		{"enable-pprof", "false"},
		{"pprof-port", "6060"},
		{"healthz-port", "8989"},
		{"healthz-path", "/healthz"},
		{"healthz-timeout", "5s"},
		{"metrics-backend", "Prometheus"},
		{"prometheus-port", "8898"},
		{"construct-pem-chain", "true"},
		{"write-cert-and-key-in-separate-files", "false"},
		{"cloud-name", "AzurePublicCloud"},
		{"token-proxy-url", ""},
		{"sni-name", ""},
		{"custom-user-agent", ""},
		{"v", "0"},
	}
	cmd := newProviderCommand(environment{stdout: io.Discard, stderr: io.Discard})
	for _, want := range today {
		if flag := cmd.Flags().Lookup(want.name); flag == nil {
			t.Errorf("--%s is gone", want.name)
		} else if flag.DefValue != want.value {
			t.Errorf("--%s is %q by default, in place of %q", want.name, flag.DefValue, want.value)
		}
	}
	for _, name := range []string{
		"add_dir_header", "alsologtostderr", "log_backtrace_at", "log_dir", "log_file", "log_file_max_size", "logtostderr", "one_output",
		"skip_headers", "skip_log_headers", "stderrthreshold", "vmodule",
	} {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("--%s, of klog, is gone", name)
		}
	}
	if f, err := parse(t); err != nil || f.tokenProxy.Validate() != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestProviderFlagsRefused(t *testing.T) {
	for _, arg := range []string{
		"--endpoint=tcp://127.0.0.1:1", "--healthz-port=70000", "--prometheus-port=-1", "--pprof-port=65536", "--healthz-path=healthz",
		"--healthz-timeout=0s", "--cloud-name=AzurePublcCloud", "--metrics-backend=statsd", "--custom-user-agent=with space",
		"--custom-user-agent=" + strings.Repeat("x", 25), "--token-proxy-url=http://x", "--token-proxy-url=https://u:p@x",
		"--sni-name=https://x", "--cloud-env-dir=clouds", "--object-freshness=-1s", "--object-freshness=6m",
	} {
		flag, _, _ := strings.Cut(arg, "=")
		if _, err := parse(t, arg); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: got %v, want an error that names the flag", arg, err)
		}
	}
}

func TestProviderFlagsForFiles(t *testing.T) {
	f, err := parse(t)
	if err != nil || !f.pemChain || f.separateFiles || f.historyPlusOne {
		t.Fatalf("the defaults are not those of today: %+v, %v", f, err)
	}
	f, err = parse(t, "--construct-pem-chain=false", "--write-cert-and-key-in-separate-files", "--object-version-history-plus-one")
	if err != nil || f.pemChain || !f.separateFiles || !f.historyPlusOne {
		t.Fatalf("got %+v, %v", f, err)
	}
}

func TestTheUserAgentFitsAzuresLimit(t *testing.T) {
	f, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if id := f.applicationID(); len(id) > 24 || !strings.HasPrefix(id, "vaultferry/") || strings.Contains(id, " ") {
		t.Fatalf("got %q", id)
	}
}

func TestProviderVersion(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"provider", "--version"}, environment{stdout: &out, stderr: io.Discard}); code != 0 || !strings.Contains(out.String(), `"version"`) {
		t.Fatalf("got %d %s", code, &out)
	}
}

func TestPrepareRefusesABadGroup(t *testing.T) {
	var out bytes.Buffer
	code := run([]string{"provider", "prepare", "--dir", t.TempDir(), "--gid", "-1"}, environment{stdout: io.Discard, stderr: &out})
	if code != 1 || !strings.Contains(out.String(), "--gid") {
		t.Fatalf("got %d %s", code, &out)
	}
}
