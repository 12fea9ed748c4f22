// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/test/cluster/internal/filelock"
	"github.com/vaultferry/vaultferry/test/cluster/internal/host"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
)

// cluster is one with places of the test's own, of a name that nobody uses.
func cluster(t *testing.T) Cluster {
	t.Helper()
	return Cluster{
		Layout: layout.Layout{StateRoot: t.TempDir(), RunRoot: t.TempDir(), Name: fmt.Sprintf("unit-%d", os.Getpid())},
		Step:   func(string) func(error) { return func(error) {} },
	}
}

func state(t *testing.T, c Cluster) State {
	t.Helper()
	state, _, err := c.Find()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestWhatAClusterIsAt(t *testing.T) {
	c := cluster(t)
	if got := state(t, c); got != Absent {
		t.Errorf("nothing there: %s", got)
	}
	self, err := host.Self()
	if err != nil {
		t.Fatal(err)
	}
	if err := record.Write(c.Layout.Supervisor(), self); err != nil {
		t.Fatal(err)
	}
	if got := state(t, c); got != Running {
		t.Errorf("its supervisor lives: %s", got)
	}
	// The id went to another process since.
	if err := record.Write(c.Layout.Supervisor(), record.Process{PID: self.PID, Start: self.Start - 1}); err != nil {
		t.Fatal(err)
	}
	if got := state(t, c); got != Stopped {
		t.Errorf("its supervisor was killed: %s", got)
	}
	if _, err := c.Settings(); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "run `up` first") {
		t.Errorf("settings of a stopped cluster: %v", err)
	}
	if names, err := Names(c.Layout.StateRoot); err != nil || !slices.Equal(names, []string{c.Layout.Name}) {
		t.Errorf("names: %v %v", names, err)
	}
}

func TestDownRemovesWhatAKilledUpLeft(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("looks into cgroups: needs root")
	}
	c := cluster(t)
	if existed, err := c.Down(t.Context()); existed || err != nil {
		t.Errorf("of none: %v %v", existed, err)
	}
	if err := c.write(record.Cluster{Name: c.Layout.Name, Port: 1}); err != nil {
		t.Fatal(err)
	}
	if got := state(t, c); got != Stopped {
		t.Fatalf("half made: %s", got)
	}
	if existed, err := c.Down(t.Context()); !existed || err != nil {
		t.Fatalf("%v %v", existed, err)
	}
	if got := state(t, c); got != Absent {
		t.Errorf("after down: %s", got)
	}
	for _, dir := range []string{c.Layout.StateRoot, c.Layout.RunRoot} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
}

func TestUpRefusesOtherSettingsOfARunningCluster(t *testing.T) {
	c := cluster(t)
	if err := record.Write(c.Layout.Record(), record.Cluster{Issuer: "https://a.example.com"}); err != nil {
		t.Fatal(err)
	}
	alive, err := filelock.Try(c.Layout.AliveLock())
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Release()
	_, err = c.Up(t.Context(), Options{
		Issuer: "https://b.example.com", Build: func(context.Context) (map[string]string, error) { return nil, nil },
	})
	if err == nil || !strings.Contains(err.Error(), `--service-account-issuer "https://a.example.com"`) {
		t.Fatalf("got %v", err)
	}
}

// A supervisor that was killed a moment ago still has its lock.
func TestUpStartsAnewWhatEndsMeanwhile(t *testing.T) {
	c := cluster(t)
	supervisor, err := host.Self()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(record.Write(c.Layout.Record(), record.Cluster{}), record.Write(c.Layout.Supervisor(), supervisor)); err != nil {
		t.Fatal(err)
	}
	alive, err := filelock.Try(c.Layout.AliveLock())
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = alive.Release() })
	built := errors.New("this far")
	_, err = c.Up(t.Context(), Options{
		Timeout: time.Minute, Build: func(context.Context) (map[string]string, error) { return nil, built },
	})
	if !errors.Is(err, built) {
		t.Fatalf("got %v", err)
	}
}
