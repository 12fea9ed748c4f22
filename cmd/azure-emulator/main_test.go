// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"azure-emulator": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve, "hangup": hangup, "stopped": stopped, "await": await, "get": get,
		},
	})
}

// server is a running `azure-emulator serve` of a script.
type server struct {
	cmd    *exec.Cmd
	stderr chan string
}

// servers are the running ones by script; scripts run side by side.
var servers sync.Map

func running(ts *testscript.TestScript) *server {
	s, ok := servers.Load(ts)
	if !ok {
		ts.Fatalf("no emulator is running")
	}
	return s.(*server)
}

// serve starts the emulator on free ports and sets its addresses as variables.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	args = append([]string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0", "--imds-listen", "127.0.0.1:0", "--audit-log", "audit.jsonl"}, args...)
	// Only inside a script's PATH is there a program of this name.
	path, err := exec.LookPath(strings.Split(ts.Getenv("PATH"), ":")[0] + "/azure-emulator")
	ts.Check(err)
	s := &server{cmd: exec.Command(path, args...), stderr: make(chan string, 1000)}
	s.cmd.Dir = ts.MkAbs(".")
	s.cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	stderr, err := s.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	go func() {
		defer close(s.stderr)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.stderr <- lines.Text()
		}
	}()
	ts.Defer(func() { s.stop(ts) })
	for line := range s.stderr {
		name, address, _ := strings.Cut(strings.TrimSpace(line), " ")
		ts.Setenv(strings.ToUpper(name), strings.TrimSpace(address))
		if name == "health" {
			break
		}
	}
	ts.Setenv("AZURE_EMULATOR_ADMIN", ts.Getenv("ADMIN"))
	servers.Store(ts, s)
}

func (s *server) stop(ts *testscript.TestScript) {
	if s.cmd.ProcessState != nil {
		return
	}
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	for line := range s.stderr {
		ts.Logf("emulator: %s", line)
	}
	if err := s.cmd.Wait(); err != nil {
		ts.Fatalf("after SIGTERM the emulator ended with %v", err)
	}
}

// stopped ends the emulator and wants exit status 0.
func stopped(ts *testscript.TestScript, _ bool, _ []string) { running(ts).stop(ts) }

// hangup sends SIGHUP.
func hangup(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(running(ts).cmd.Process.Signal(syscall.SIGHUP))
}

// await repeats a command until its output has a text.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ts.Exec(args[1], args[2:]...) == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
	}
	ts.Fatalf("waited in vain for %q", args[0])
}

// get fetches a URL and wants a text in the answer.
func get(ts *testscript.TestScript, _ bool, args []string) {
	resp, err := http.Get(args[0])
	ts.Check(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if !strings.Contains(string(data), args[1]) {
		ts.Fatalf("%s answered %s: %s", args[0], resp.Status, data)
	}
}
