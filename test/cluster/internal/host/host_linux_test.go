// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"os/exec"
	"testing"

	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
)

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	child := exec.CommandContext(t.Context(), "sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child
}

func TestSelfIsAlive(t *testing.T) {
	self, err := Self()
	if err != nil || self.PID != os.Getpid() || !Alive(self) {
		t.Fatalf("%+v %v", self, err)
	}
	if Alive(record.Process{PID: self.PID, Start: self.Start + 1}) {
		t.Error("a process of another start is alive")
	}
}

func TestAKilledProcessIsGone(t *testing.T) {
	child := sleeper(t)
	process, err := Child(child.Process.Pid)
	if err != nil || process.PID != child.Process.Pid || !Alive(process) {
		t.Fatalf("%+v %v", process, err)
	}
	// An id that belongs to another process by now is left alone.
	if err := Kill(t.Context(), record.Process{PID: process.PID, Start: process.Start + 1}); err != nil || !Alive(process) {
		t.Fatalf("the other was meant: %v, alive %v", err, Alive(process))
	}
	for range 2 { // the second is one of a process that has ended
		if err := Kill(t.Context(), process); err != nil {
			t.Fatal(err)
		}
	}
	if Alive(process) {
		t.Error("a zombie is alive")
	}
	_ = child.Wait()
	if _, err := Child(child.Process.Pid); err == nil {
		t.Error("a child that has ended was found")
	}
	if _, err := Process(child.Process.Pid); err == nil {
		t.Error("a process that has ended was found")
	}
	if err := Kill(t.Context(), process); err != nil {
		t.Errorf("of one that is reaped: %v", err)
	}
}
