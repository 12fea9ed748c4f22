// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// shortDir is a directory whose sockets have paths short enough for the kernel.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return strings.Join(list, " ")
}

func TestTheSocketIsPrivateAndGoesWithTheServer(t *testing.T) {
	r := start(t, fetch(everything))
	if _, err := r.client.Version(t.Context(), &v1alpha1.VersionRequest{}); err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(r.endpoint, "unix://")
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("got %v, %v", info.Mode(), err)
	}
	if got := names(t, filepath.Dir(path)); got != "azure.sock" {
		t.Fatalf("the directory holds %s", got)
	}
	r.stop()
	if got := names(t, filepath.Dir(path)); got != "" {
		t.Fatalf("the directory still holds %s", got)
	}
}

func TestASecondInstanceTakesOver(t *testing.T) {
	r := start(t, fetch(everything))
	if _, err := r.client.Version(t.Context(), &v1alpha1.VersionRequest{}); err != nil {
		t.Fatal(err)
	}
	second, err := listen(strings.TrimPrefix(r.endpoint, "unix://"), discard())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := r.client.Version(t.Context(), &v1alpha1.VersionRequest{}); err != nil {
		t.Fatalf("the first instance lost the connections it has: %v", err)
	}
	r.stop()
	if !listens(second.path) {
		t.Fatal("the first instance's end took the second one's socket away")
	}
	second.remove()
	if listens(second.path) {
		t.Fatal("the second instance does not remove its own socket")
	}
}

func TestAnAbandonedSocketIsReplaced(t *testing.T) {
	path := filepath.Join(shortDir(t), "azure.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	fresh, err := listen(path, discard())
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if !listens(path) {
		t.Fatal("nobody listens")
	}
}

func TestListenRefuses(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "azure.sock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(file, discard()); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Fatalf("got %v", err)
	}
	if content, err := os.ReadFile(file); err != nil || len(content) != 0 {
		t.Fatalf("the file is gone: %v", err)
	}
	if _, err := listen(filepath.Join(dir, "absent", "azure.sock"), discard()); err == nil || !strings.Contains(err.Error(), "provider prepare") {
		t.Fatalf("got %v", err)
	}
}

func TestPrepare(t *testing.T) {
	dir := filepath.Join(shortDir(t), "providers")
	for range 2 {
		if err := Prepare(dir, "azure.sock", os.Getgid(), discard()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(dir)
		if err != nil || info.Mode() != fs.ModeDir|fs.ModeSticky|0o775 {
			t.Fatalf("got %v, %v", info.Mode(), err)
		}
	}
}

func TestPrepareRemovesWhatAnotherUserAbandoned(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("giving a directory to another group needs root")
	}
	const gid = 65532
	dir := shortDir(t)
	path := filepath.Join(dir, "azure.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	if err := Prepare(dir, "azure.sock", gid, discard()); err != nil || !listens(path) {
		t.Fatalf("a socket in use was removed, or %v", err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Prepare(dir, "azure.sock", gid, discard()); err != nil || names(t, dir) != "" {
		t.Fatalf("an abandoned socket stays, or %v", err)
	}
}
