// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the golden files") //nolint:gochecknoglobals // a flag

// The program under each of its names, for scripts.
func TestMain(m *testing.M) {
	as := func(name string) func() {
		return func() {
			os.Exit(run(append([]string{name}, os.Args[1:]...), streams{
				in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, terminal: func(io.Writer) bool { return false },
			}))
		}
	}
	testscript.Main(m, map[string]func(){
		"kubectl-vaultferry":          as("kubectl-vaultferry"),
		"vaultferry":                  as("vaultferry"),
		"kubectl_complete-vaultferry": as("kubectl_complete-vaultferry"),
	})
}

// Each script is a session of a user, against an API server that serves the manifests named in its first line, `serve healthy.yaml`.
func TestSessions(t *testing.T) {
	type key struct{}
	server := func(ts *testscript.TestScript) **apiServer { return ts.Value(key{}).(**apiServer) } // scripts run side by side
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Values[key{}] = new(*apiServer)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "kubeconfig"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": func(ts *testscript.TestScript, _ bool, args []string) {
				var files []string
				for _, name := range args {
					file, err := filepath.Abs(filepath.Join("testdata", "cluster", name))
					ts.Check(err)
					files = append(files, file)
				}
				s, url := startAPIServer(t, files...)
				*server(ts) = s
				ts.Check(os.WriteFile(ts.Getenv("KUBECONFIG"), []byte(kubeconfig(url)), 0o600))
			},
			"forbid": func(ts *testscript.TestScript, _ bool, args []string) {
				(*server(ts)).refuse([]string{strings.Join(args, " ")}, nil)
			},
			"absent": func(ts *testscript.TestScript, _ bool, args []string) { (*server(ts)).refuse(nil, args) },
			// exits CODE ARGS... runs the program and wants its exit code.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				var code int
				_, err := fmt.Sscan(args[0], &code)
				ts.Check(err)
				if got := exitCode(ts.Exec(args[1], args[2:]...)); got != code {
					ts.Fatalf("exit code %d, want %d", got, code)
				}
			},
		},
	})
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(interface{ ExitCode() int }); ok {
		return e.ExitCode()
	}
	return -1
}

func kubeconfig(url string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q}}]
users: [{name: jane, user: {}}]
contexts: [{name: test, context: {cluster: test, user: jane, namespace: payments}}]
current-context: test
`, url)
}

// runFor runs the program in-process, as in a pipe.
func runFor(t *testing.T, server string, args ...string) (out, errs string, code int) {
	t.Helper()
	return runAs(t, server, false, args...)
}

func runAs(t *testing.T, server string, terminal bool, args ...string) (out, errs string, code int) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(config, []byte(kubeconfig(server)), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code = run(append([]string{"kubectl-vaultferry", "--kubeconfig", config}, args...), streams{
		out: &stdout, err: &stderr, terminal: func(io.Writer) bool { return terminal },
		getenv: func(name string) string { return map[string]string{"TERM": "xterm"}[name] },
	})
	return stdout.String(), stderr.String(), code
}

// golden runs the program in-process and compares what it writes with a file, once for each kind of reader.
func golden(t *testing.T, server string, terminal bool, name string, wantCode int, args ...string) {
	t.Helper()
	out, errs, code := runAs(t, server, terminal, args...)
	if code != wantCode {
		t.Errorf("exit code %d, want %d; stderr: %s", code, wantCode, errs)
	}
	if strings.Contains(out+errs, "Y2FuYXJ5LXZhbHVl") || strings.Contains(out+errs, "canary-value") {
		t.Error("the output holds a secret value")
	}
	got := strings.ReplaceAll(out, server, "http://SERVER")
	if errs != "" {
		got += "--- stderr ---\n" + strings.ReplaceAll(errs, server, "http://SERVER")
	}
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (write it with -update):\n%s", file, diff)
	}
}
