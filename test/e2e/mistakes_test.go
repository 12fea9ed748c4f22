// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mistake is one thing done wrong: what the pod's event says, and that the pod starts by itself once it is mended.
type mistake struct {
	// breaks makes the scene wrong, before class and pod are applied; what it does to federation and role replaces the right ones.
	breaks func(*scene)
	// mends puts it right.
	mends func(*scene)
	// code is the gRPC code that kubelet reports; says is what the event tells.
	code string
	says []string
	// applied says what the API server does when it is applied where the webhook checks: refuse the class, or warn of the pod. Empty where only
	// Azure, or the cluster as it is at that time, can know.
	applied string
}

const (
	refusesClass = "refuses the class"
	warnsOfPod   = "warns of the pod"
)

func federated(f federation) func(*scene) {
	return func(s *scene) { s.grant(); s.federate(f) }
}

func refederate(s *scene) { s.unfederate(); s.federate(federation{}) }

// wrongClass breaks a field of the class; mending restores it.
func wrongClass(change func(*scene)) func(*scene) {
	return func(s *scene) { s.grant(); s.federate(federation{}); change(s) }
}

func rightClass(s *scene) {
	s.provider, s.clientParam, s.tenantParam, s.vaultParam, s.objects = "azure", s.clientID, tenant, vault, goodObjects
	s.applyClass()
}

func objects(yaml string) func(*scene) {
	return wrongClass(func(s *scene) { s.objects = yaml })
}

func one(entry string) string {
	return "array:\n  - |\n    " + strings.ReplaceAll(entry, "\n", "\n    ") + "\n"
}

func mistakes() map[string]mistake {
	return map[string]mistake{
		"class-missing": {
			wrongClass(func(s *scene) { s.objects = "" }), rightClass, "NotFound",
			[]string{"ClassNotFound: failed to get secretproviderclass class-missing/app-kv", "not found"}, warnsOfPod,
		},
		"provider-mistyped": {
			wrongClass(func(s *scene) { s.provider = "azrue" }), rightClass, "NotFound",
			[]string{"ProviderNotFound", "did you mean spec.provider: azure?"}, "",
		},
		"objects-not-yaml": {objects("array:\n  - |\n    objectName: \"a\n"), rightClass, "InvalidArgument", []string{"ObjectsInvalid", "line"}, refusesClass},
		"unknown-type": {
			objects(one("objectName: api-key\nobjectType: secrte")), rightClass, "InvalidArgument", []string{"ObjectsInvalid", "secrte"}, refusesClass,
		},
		"no-vault": {
			wrongClass(func(s *scene) { s.vaultParam = "" }), rightClass, "InvalidArgument", []string{"keyvaultName is not provided"}, refusesClass,
		},
		"no-tenant": {wrongClass(func(s *scene) { s.tenantParam = "" }), rightClass, "InvalidArgument", []string{"tenantId is not provided"}, refusesClass},
		"no-client": {wrongClass(func(s *scene) { s.clientParam = "" }), rightClass, "InvalidArgument", []string{"clientID"}, warnsOfPod},
		"vault-name": {
			wrongClass(func(s *scene) { s.vaultParam = "kv_prod" }), rightClass, "InvalidArgument", []string{"VaultNameInvalid", "Invalid vault name"}, refusesClass,
		},
		"path-escape": {
			objects(one("objectName: api-key\nobjectType: secret\nobjectAlias: ../../etc/passwd")), rightClass, "InvalidArgument",
			[]string{"must not contain '..'"}, refusesClass,
		},
		"wrong-subject": {
			federated(federation{subject: "system:serviceaccount:wrong-subject:app-sas"}), refederate, "Unauthenticated",
			[]string{"FederatedSubjectMismatch", "AADSTS700213", "az identity federated-credential create"}, "",
		},
		"wrong-issuer": {
			federated(federation{issuer: "https://oidc.example.com/"}), refederate, "Unauthenticated",
			[]string{"FederatedIssuerMismatch", "AADSTS700211"}, "",
		},
		"wrong-audience": {
			federated(federation{audience: "api://SomethingElse"}), refederate, "Unauthenticated",
			[]string{"FederatedAudienceMismatch", "AADSTS700212"}, "",
		},
		"no-role": {
			func(s *scene) { s.federate(federation{}) }, (*scene).grant, "PermissionDenied",
			[]string{"VaultForbidden", "Key Vault Secrets User", "az role assignment create"}, "",
		},
		"object-missing": {
			objects(one("objectName: nothing-here\nobjectType: secret")), rightClass, "NotFound", []string{"ObjectNotFound", "nothing-here", vault}, "",
		},
		"object-disabled": {
			objects(one("objectName: disabled\nobjectType: secret")), rightClass, "FailedPrecondition", []string{"ObjectDisabled", "disabled"}, "",
		},
		"vault-unresolved": {
			wrongClass(func(s *scene) { s.vaultParam = "kv-typo" }), rightClass, "NotFound", []string{"VaultNotFound", "kv-typo"}, "",
		},
		"entra-unreachable": {
			faulty("--service", "entra", "--identity", "id-entra-unreachable", "--blackhole"), clearFaults, "Unavailable", []string{"EntraUnreachable"}, "",
		},
		"vault-unreachable": {
			faulty("--service", "vault", "--identity", "id-vault-unreachable", "--blackhole"), clearFaults, "Unavailable", []string{"VaultUnreachable"}, "",
		},
		"throttled": {
			// Everybody waits for a throttled vault, so that it is one of its own.
			func(s *scene) {
				s.ownVault("kv-throttled")
				faulty("--vault", "kv-throttled", "--status", "429", "--retry-after", "2s")(s)
			}, clearFaults, "ResourceExhausted", []string{"VaultThrottled"}, "",
		},
	}
}

// ownVault gives a scene a vault that holds what the common one does.
func (s *scene) ownVault(name string) {
	s.t.Helper()
	id := s.must(s.az(nil, "keyvault", "create", "--name", name, "-o", "tsv", "--query", "id"))
	s.must(s.az(nil, "role", "assignment", "create", "--role", "Key Vault Secrets User", "--assignee", s.clientID, "--scope", id))
	for _, secret := range []string{"db-connection-string", "api-key"} {
		s.must(s.az([]byte(canary+secret), "keyvault", "secret", "set", "--vault-name", name, "--name", secret, "--file", "-"))
	}
	s.vaultParam = name
}

func faulty(args ...string) func(*scene) {
	return func(s *scene) {
		s.grant()
		s.federate(federation{})
		s.must(s.az(nil, append([]string{"fault", "set"}, args...)...))
	}
}

func clearFaults(s *scene) { s.must(s.az(nil, "fault", "clear")) }

// Each mistake is named in an event on the pod, with what to do, on one line. The command line names the same reason with the same words, and so does the
// API server where it can know when the manifests are applied. Mended, the pod starts without a restart of anything.
func TestMistakesAreExplainedAndMended(t *testing.T) {
	beside(t)
	scenes := map[string]*scene{}
	for name, m := range mistakes() {
		s := newScene(t, name)
		m.breaks(s)
		if name != "class-missing" {
			s.applyClass()
		}
		s.apply(s.pod("app", ""))
		scenes[name] = s
		s.t = t
	}
	for name, m := range mistakes() {
		t.Run(name, func(t *testing.T) {
			s := scenes[name]
			s.t = t
			s.sameEverywhere(m, s.awaitEvent(m))
		})
	}
	for name, m := range mistakes() {
		s := scenes[name]
		s.t = t
		m.mends(s)
	}
	for name, s := range scenes {
		t.Run(name+"-mended", func(t *testing.T) {
			s.t = t
			s.awaitRunning("app")
			if got := s.inPod("app", "cat", "/mnt/secrets-store/db-connection-string"); got != canary+"db-connection-string" {
				t.Fatal("the file does not hold the secret")
			}
		})
		s.t = t
	}
}

// awaitEvent waits for the event of a mistake and returns what it says, from the reason on.
func (s *scene) awaitEvent(m mistake) (text string) {
	s.t.Helper()
	s.eventually("the event", time.Minute, func() (bool, string) {
		for _, event := range s.events("app") {
			if !strings.Contains(event.Message, "code = "+m.code+" ") {
				continue
			}
			for _, want := range m.says {
				if !strings.Contains(event.Message, want) {
					return false, event.Message
				}
			}
			if strings.Contains(event.Message, "\n") || strings.Count(event.Message, "rpc error") != 1 {
				s.t.Errorf("not one plain line: %q", event.Message)
			}
			s.t.Logf("%s after the pod was made: %s", event.FirstTimestamp.Sub(s.created("app")), event.Message)
			text = event.Message
			if at := reasonIn.FindStringIndex(text); at != nil {
				text = text[at[0]:]
			}
			return true, ""
		}
		return false, s.lastEvent("app")
	})
	return text
}

// reasonIn finds the name of a reason in an event's text.
var reasonIn = regexp.MustCompile(`[A-Z][a-z]+[A-Z][A-Za-z]+: `)

// sameEverywhere holds the words of a pod's event against those of explain, of lint and of the API server.
func (s *scene) sameEverywhere(m mistake, event string) {
	s.t.Helper()
	reason, _, _ := strings.Cut(event, ": ")
	s.eventually("explain to name "+reason, time.Minute, func() (bool, string) {
		e := s.explain()
		if e.Reason != reason || e.Fix == "" {
			return false, fmt.Sprintf("%s: %s, mended by %q", e.Broken, e.Reason, e.Fix)
		}
		command := azCommand.FindString(event)
		return strings.HasPrefix(e.Fix, command), fmt.Sprintf("explain mends it with %q, the event with %q", e.Fix, command)
	})
	if m.applied == "" {
		return
	}
	s.watched()
	if m.applied == warnsOfPod {
		s.sameWords("the pod is applied", event, reason, s.checked(s.pod("copy", ""), "Warning: "), "Warning: ")
		return
	}
	s.sameWords("the class is applied", event, reason, s.checked(s.class("copy"), "is invalid"), "is invalid")
	said, code := s.cli(nil, "lint")
	s.sameWords("lint looks", event, reason, said, "1 error")
	if code != 3 {
		s.t.Errorf("exit code %d of lint", code)
	}
}

// sameWords wants that what is said about a reason is in the event, which may say before that what was to be done when it happened.
func (s *scene) sameWords(when, event, reason, said, want string) {
	s.t.Helper()
	found := regexp.MustCompile(reason + `[: ] *(.+)`).FindStringSubmatch(said)
	if found == nil || !strings.Contains(said, want) {
		s.t.Errorf("the event says %q; when %s: %q", event, when, said)
		return
	}
	if words := strings.TrimSpace(found[1]); !strings.Contains(event, words) {
		s.t.Errorf("when %s: %q; the event says %q", when, words, event)
	}
}

// azCommand finds the first words of a command of Azure's in a text.
var azCommand = regexp.MustCompile(`az [a-z]+ [a-z-]+ [a-z]+`)

// created is when a pod was made, to the second.
func (s *scene) created(pod string) time.Time {
	s.t.Helper()
	p, err := s.kube.CoreV1().Pods(s.namespace).Get(s.t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return p.CreationTimestamp.Time
}
