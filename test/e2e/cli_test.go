// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// cli runs kubectl-vaultferry with the cluster's kubeconfig and returns what it says and its exit code.
func (s *scene) cli(environment []string, args ...string) (out string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	program := filepath.Join("..", "..", "dist", "linux-"+runtime.GOARCH, "kubectl-vaultferry")
	cmd := exec.CommandContext(ctx, program, append([]string{"--kubeconfig", s.kubeconfig, "--namespace", s.namespace}, args...)...)
	cmd.Env = append(os.Environ(), environment...)
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	if strings.Contains(all.String(), canary) || strings.Contains(all.String(), syncedCanary) {
		s.t.Error("the output holds a secret value")
	}
	return all.String(), cmd.ProcessState.ExitCode()
}

// explained is the part of `explain -o json` that tests look at.
type explained struct {
	State, Broken, Reason, Fix string
	Chains                     []struct {
		Links []struct{ Kind, Name, State, Detail, Reason, Message, Fix string }
	}
}

// explain explains the pod app.
func (s *scene) explain() explained {
	s.t.Helper()
	out, code := s.cli(nil, "explain", "pod/app", "--azure=never", "-o", "json")
	var e explained
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		s.t.Fatalf("exit code %d: %s", code, out)
	}
	if (code == 3) != (e.State == "broken") {
		s.t.Errorf("exit code %d with state %s", code, e.State)
	}
	return e
}

// For each mistake that the walkthrough warns of, the command line names the same reason as the pod's event, and the command in the event.
func TestExplainNamesTheMistakeOfTheEvent(t *testing.T) {
	together(t)
	for name, m := range map[string]struct {
		breaks func(*scene)
		link   string
		reason string
	}{
		"cli-subject": {federated(federation{subject: "system:serviceaccount:cli-subject:app-sas"}), "federated credential", "FederatedSubjectMismatch"},
		"cli-role":    {func(s *scene) { s.federate(federation{}) }, "role", "VaultForbidden"},
		"cli-object":  {objects(one("objectName: nothing-here\nobjectType: secret")), "object", "ObjectNotFound"},
		"cli-client":  {wrongClass(func(s *scene) { s.clientParam = "99999999-aaaa-2222-bbbb-3333cccc4444" }), "identity", "IdentityNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t)
			s := newScene(t, name)
			m.breaks(s)
			s.applyClass()
			s.apply(s.pod("app", ""))
			event := ""
			s.eventually("the event", 2*time.Minute, func() (bool, string) {
				for _, e := range s.events("app") {
					if strings.Contains(e.Message, m.reason+": ") {
						event = e.Message
					}
				}
				return event != "", s.lastEvent("app")
			})
			e := s.explain()
			if e.Broken != m.link || e.Reason != m.reason {
				t.Fatalf("explained as %s %s, want %s %s", e.Broken, e.Reason, m.link, m.reason)
			}
			if command := regexp.MustCompile(`az [a-z]+ .*$`).FindString(event); command != "" && e.Fix == "" {
				t.Errorf("the event mends it with %q, explain with %q", command, e.Fix)
			}
			for _, link := range e.Chains[0].Links {
				if link.Kind == m.link && link.State == "broken" && !strings.Contains(event, link.Message) {
					t.Errorf("the event says %q, explain %q", event, link.Message)
				}
			}
		})
	}
}

// The label and the file's name are mistakes with which a pod starts.
func TestExplainWarnsOfWhatStartsNevertheless(t *testing.T) {
	beside(t)
	s := syncScene(t, "cli-warned")
	s.secretObjects = "- secretName: app-db\n  type: Opaque\n  data:\n  - {objectName: sync-cli-warned, key: DB_CONNECTION_STRING}"
	s.applyClass()
	s.apply(strings.Replace(s.pod("app", ""), `azure.workload.identity/use: "true"`, "app: app", 1))
	s.awaitRunning("app")
	s.eventually("the trouble with the Secret", time.Minute, func() (bool, string) {
		e := s.explain()
		var label, object bool
		for _, link := range e.Chains[0].Links {
			label = label || link.Reason == "LabelMissing"
			object = object || link.Kind == "Secret" && link.State == "broken" && link.Reason == "SecretObjectInvalid" && strings.Contains(link.Message, "db-connection-string")
		}
		out, _ := json.Marshal(e)
		return label && object, string(out)
	})
}

// All of a pod that works is good, seen from the API server, from Azure, and by trying.
func TestExplainOfAHealthyPod(t *testing.T) {
	beside(t)
	s := newScene(t, "cli-healthy")
	s.grant()
	s.federate(federation{})
	s.applyClass()
	s.apply(s.pod("app", ""))
	s.awaitRunning("app")
	s.eventually("the pod's status", time.Minute, func() (bool, string) {
		e := s.explain()
		if e.State != "ok" {
			return false, e.Broken + " " + e.Reason
		}
		for _, link := range e.Chains[0].Links {
			if link.State != "ok" {
				return false, link.Kind + " is " + link.State
			}
		}
		return true, ""
	})
	s.azureCLI()
}

// azureCLI has the command line ask the emulator's Azure Resource Manager, and try the mount as the node would.
func (s *scene) azureCLI() {
	s.t.Helper()
	appID := s.must(s.az(nil, "ad", "app", "create", "--display-name", "reader-"+s.namespace, "-o", "tsv", "--query", "appId"))
	password := s.must(s.az(nil, "ad", "app", "credential", "reset", "--id", appID, "-o", "tsv", "--query", "password"))
	subscription, _, _ := strings.Cut(s.vaultID, "/resourceGroups/")
	s.must(s.az(nil, "role", "assignment", "create", "--role", "Reader", "--assignee", appID, "--scope", subscription))
	caFile := filepath.Join(s.t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, []byte(s.must(s.az(nil, "ca", "show"))), 0o600); err != nil {
		s.t.Fatal(err)
	}
	out, code := s.cli([]string{"AZURE_TENANT_ID=" + tenant, "AZURE_CLIENT_ID=" + appID, "AZURE_CLIENT_SECRET=" + password},
		"explain", "pod/app", "--probe", "--azure=always", "--azure-proxy", s.portForward("deployment/azure-emulator", "8080"), "--azure-ca-file", caFile)
	if code != 0 {
		s.t.Fatalf("exit code %d: %s", code, out)
	}
	for _, want := range []string{"managed identity id-" + s.namespace, "credential fic of id-" + s.namespace + " trusts it", "has Key Vault Secrets User at"} {
		if !strings.Contains(out, want) {
			s.t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, password) {
		s.t.Error("the output holds the password")
	}
}

// A rotation that was asked for ends when the file has changed, and then the container with an environment variable is known to be stale.
func TestRotateEndsWhenTheFileHasChanged(t *testing.T) {
	beside(t)
	s := syncScene(t, "cli-rotate")
	s.apply(s.consumer("app"))
	s.awaitRunning("app")
	s.setSecret("two")
	out, code := s.cli(nil, "rotate", "class/app-kv", "--timeout", "1m", "-o", "json")
	if code != 0 || !strings.Contains(out, `"complete": true`) {
		t.Fatalf("exit code %d: %s", code, out)
	}
	if got := s.inPod("app", "cat", "/mnt/secrets-store/db-connection-string"); got != syncedCanary+"two" {
		t.Fatal("the file does not hold the new value")
	}
	// Nothing has changed, and the answer comes all the same.
	if out, code = s.cli(nil, "rotate", "class/app-kv", "--timeout", "1m"); code != 0 || !strings.Contains(out, "fetched for 1 mount, 0 changed") {
		t.Errorf("exit code %d: %s", code, out)
	}
	s.eventually("the stale environment", time.Minute, func() (bool, string) {
		out, code := s.cli(nil, "status")
		return code == 0 && strings.Contains(out, "stale: pod cli-rotate/app, container api") && strings.Contains(out, "variable DB_CONNECTION_STRING"), out
	})
}

// Nothing is wrong with the installation of this suite.
func TestDoctorFindsNothingWrong(t *testing.T) {
	beside(t)
	s := newScene(t, "cli-doctor")
	bundle := filepath.Join(t.TempDir(), "support.tar.gz")
	out, code := s.cli(nil, "doctor", "--wait", "1m", "-o", "wide", "--bundle", bundle)
	if code != 0 || !strings.Contains(out, "all checks passed") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	t.Log(out)
	if info, err := os.Stat(bundle); err != nil || info.Size() == 0 {
		t.Errorf("the bundle: %v", err)
	}
}
