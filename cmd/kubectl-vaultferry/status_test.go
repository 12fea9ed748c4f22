// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// after is an API server whose Secret was rewritten while a container held the old value, and of whose mounts one fails.
func after(t *testing.T) string {
	t.Helper()
	s, url := startAPIServer(t, "testdata/cluster/healthy.yaml")
	s.mu.Lock()
	defer s.mu.Unlock()
	set := func(kind, name string, value any, fields ...string) {
		for _, o := range s.objects {
			if o.GetKind() == kind && o.GetName() == name {
				if err := unstructured.SetNestedField(o.Object, value, fields...); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	set("Secret", "app-db", []any{map[string]any{"manager": "vaultferry", "operation": "Apply", "time": "2026-11-25T09:00:00Z"}}, "metadata", "managedFields")
	set("SecretProviderClassPodStatus", "payments-api-6d4cf56db6-abcde-payments-app-kv", []any{
		map[string]any{"id": "key/signing-key", "version": "k1"}, map[string]any{"id": "secret/db-connection-string", "version": "v2"},
	}, "status", "objects")
	set("SecretProviderClassPodStatus", "payments-api-6d4cf56db6-abcde-payments-app-kv", "2026-11-25T09:00:00Z", "status", "lastChangeTime")
	set("SecretProviderClassPodStatus", "payments-api-6d4cf56db6-fghij-payments-app-kv", []any{map[string]any{
		"type": "Ready", "status": "False", "reason": "VaultThrottled", "lastTransitionTime": "2026-11-25T09:00:00Z",
		"message": "VaultThrottled: vault kv-platform-prod answered that there are too many requests; kubelet tries again by itself",
	}}, "status", "conditions")
	return url
}

func TestStatus(t *testing.T) {
	_, healthy := startAPIServer(t, "testdata/cluster/healthy.yaml")
	rotated := after(t)
	for _, c := range []struct {
		name, url string
		terminal  bool
		args      []string
	}{
		{"healthy.pipe", healthy, false, []string{"status"}},
		{"healthy.wide", healthy, false, []string{"status", "-A", "-o", "wide"}},
		{"rotated.pipe", rotated, false, []string{"status"}},
		{"rotated.terminal", rotated, true, []string{"status"}},
		{"rotated.json", rotated, false, []string{"status", "-o", "json"}},
		{"none.pipe", healthy, false, []string{"status", "-n", "empty"}},
	} {
		t.Run(c.name, func(t *testing.T) { golden(t, c.url, c.terminal, "status/"+c.name, exitOK, c.args...) })
	}
}

// A container that holds an old value of a Secret is told where the Secret is explained, too.
func TestExplainStale(t *testing.T) {
	golden(t, after(t), false, "explain/stale.pipe", exitFound, "explain", "secret/app-db", "--azure=never")
}

// written is what a program writes while a test looks at it.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *written) count(of string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.text.String(), of)
}

// A watched status is printed once, and once more for each change, until it is interrupted.
func TestStatusIsWatched(t *testing.T) {
	s, url := startAPIServer(t, "testdata/cluster/healthy.yaml")
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(config, []byte(kubeconfig(url)), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs written
	code := make(chan int, 1)
	go func() {
		code <- run([]string{"kubectl-vaultferry", "--kubeconfig", config, "status", "--watch", "-o", "json"}, streams{
			out: &out, err: &errs, terminal: func(io.Writer) bool { return false }, getenv: func(string) string { return "" },
		})
	}()
	const document = `"kind": "Status"`
	until := func(documents int) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); out.count(document) < documents; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain for %d answers; stderr: %s", documents, errs.text.String())
			}
		}
	}
	until(1)
	s.mu.Lock()
	for _, o := range s.objects {
		if o.GetKind() == "SecretProviderClassPodStatus" {
			changed := o.DeepCopy()
			if err := unstructured.SetNestedField(changed.Object, "2026-11-25T10:00:00Z", "status", "lastChangeTime"); err != nil {
				t.Error(err)
			}
			s.change(changed)
			break
		}
	}
	s.mu.Unlock()
	until(2)
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d after an interrupt", got)
	}
	if got := out.count(document); got != 2 {
		t.Errorf("printed %d times", got)
	}
}
