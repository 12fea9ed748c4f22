// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// programs makes PATH a directory with these programs only.
func programs(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestWhatIsMissing(t *testing.T) {
	for name, tc := range map[string]struct {
		there map[string]string
		build bool
		want  []string
	}{
		"nothing there, running":  {nil, false, []string{"mount", "iptables"}},
		"nothing there, building": {nil, true, []string{"mount", "iptables", "gcc", "pkg-config", "libseccomp-dev"}},
		"all to run":              {map[string]string{"mount": "", "iptables": ""}, false, nil},
		"no library": {
			map[string]string{"mount": "", "iptables": "", "gcc": "", "pkg-config": "exit 1"}, true, []string{"libseccomp-dev"},
		},
		"all to build": {map[string]string{"mount": "", "iptables": "", "gcc": "", "pkg-config": "exit 0"}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			programs(t, tc.there)
			got := Missing(t.Context(), tc.build)
			// The headers of C are looked for in their fixed place, whatever PATH is.
			got = slices.DeleteFunc(got, func(pkg string) bool { return pkg == "libc6-dev" })
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestInstalling(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	programs(t, map[string]string{"apt-get": `echo "$DEBIAN_FRONTEND $*" >>` + log})
	if err := Install(t.Context(), []string{"gcc", "mount"}, nil); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(log)
	if want := "noninteractive update\nnoninteractive install -y --no-install-recommends gcc mount\n"; err != nil || string(content) != want {
		t.Errorf("ran %q %v", content, err)
	}
	programs(t, map[string]string{"apt-get": "echo no network >&2; exit 100"})
	if err := Install(t.Context(), []string{"gcc"}, nil); err == nil || !strings.Contains(err.Error(), "no network") || !strings.Contains(err.Error(), "gcc") {
		t.Errorf("without a network: %v", err)
	}
	programs(t, nil)
	if err := Install(t.Context(), []string{"gcc", "mount"}, nil); err == nil || !strings.Contains(err.Error(), "no apt-get to install them: gcc mount") {
		t.Errorf("on another system: %v", err)
	}
}
