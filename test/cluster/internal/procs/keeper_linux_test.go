// SPDX-License-Identifier: Apache-2.0

package procs

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
)

// watch keeps what the keeper told last.
type watch struct {
	mu   sync.Mutex
	last []record.Program
}

func (w *watch) changed(programs []record.Program) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = programs
}

func (w *watch) program(name string) record.Program {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, program := range w.last {
		if program.Name == name {
			return program
		}
	}
	return record.Program{}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

func shell(script string) Command {
	return Command{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: os.Environ()}
}

// keep runs programs until the test ends, and then ends what still runs.
func keep(t *testing.T, programs ...Program) (*watch, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reaper, w, logs := NewReaper(), &watch{}, t.TempDir()
	keeper := NewKeeper(KeeperConfig{Reaper: reaper, LogDir: logs, Changed: w.changed, Logger: slog.New(slog.DiscardHandler)})
	var group sync.WaitGroup
	group.Go(func() { reaper.Run(ctx) })
	group.Go(func() { keeper.Keep(ctx, programs) })
	t.Cleanup(func() {
		cancel()
		group.Wait()
		for _, program := range programs {
			// Each is the first process of a session of its own.
			if pid := w.program(program.Name).PID; pid > 0 {
				_ = unix.Kill(-pid, unix.SIGKILL)
			}
		}
	})
	return w, logs
}

func TestAKilledProgramStartsAgain(t *testing.T) {
	w, logs := keep(t, Program{Name: "long", Command: shell("echo here; sleep 600"), Ready: func(context.Context) error { return nil }})
	lines := func() int {
		content, err := os.ReadFile(filepath.Join(logs, "long.log"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Count(string(content), "here")
	}
	eventually(t, "the first start", func() bool { return w.program("long").Ready && lines() == 1 })
	first := w.program("long")
	if err := unix.Kill(first.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = unix.Kill(-first.PID, unix.SIGKILL) // what it had started
	eventually(t, "the second start", func() bool {
		now := w.program("long")
		return now.Ready && now.Restarts == 1 && now.PID != first.PID
	})
	eventually(t, "both lines of output", func() bool { return lines() == 2 })
}

func TestAProgramThatEndsSaysHow(t *testing.T) {
	w, _ := keep(t, Program{Name: "short", Command: shell("exit 3")}, Program{Name: "nothing", Command: Command{Path: "/nowhere", Args: []string{"nothing"}}})
	eventually(t, "the exit code", func() bool { return strings.Contains(w.program("short").Message, "short ended with exit code 3") })
	eventually(t, "the missing file", func() bool { return strings.Contains(w.program("nothing").Message, "starting nothing") })
	eventually(t, "another try", func() bool { return w.program("short").Restarts > 1 && !w.program("short").Ready })
}

func TestNeedsComeFirst(t *testing.T) {
	var mu sync.Mutex
	met := false
	needs := func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if !met {
			return errors.New("etcd is not there")
		}
		return nil
	}
	w, _ := keep(t, Program{Name: "server", Command: shell("sleep 600"), Needs: needs})
	eventually(t, "the reason", func() bool { return w.program("server").Message == "etcd is not there" })
	if pid := w.program("server").PID; pid != 0 {
		t.Fatalf("it runs as %d", pid)
	}
	mu.Lock()
	met = true
	mu.Unlock()
	eventually(t, "the start", func() bool { return w.program("server").PID > 0 })
}

func TestRunCommand(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reaper := NewReaper()
	var group sync.WaitGroup
	group.Go(func() { reaper.Run(ctx) })
	defer group.Wait()
	defer cancel()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for script, want := range map[string]string{"exit 0": "", "exit 7": "running sh: ended with exit code 7", "kill -9 $$": "running sh: ended by SIGKILL"} {
		command := shell(script)
		command.Output = null
		if err := reaper.RunCommand(ctx, command); (err == nil) != (want == "") || (err != nil && err.Error() != want) {
			t.Errorf("%s: %v", script, err)
		}
	}
	short, stop := context.WithTimeout(ctx, 10*time.Millisecond)
	defer stop()
	command := shell("exec sleep 600")
	command.Output = null
	if err := reaper.RunCommand(short, command); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no end: %v", err)
	}
}
