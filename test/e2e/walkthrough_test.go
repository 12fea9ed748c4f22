// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// warned is a mistake that a walkthrough of Key Vault on AKS warns of, and that is no matter of the mount alone. Event, explain and what is said when the
// manifests are applied name the same reason, and the same words and repair.
type warned struct {
	// class and pod change manifests that are right: old and new texts in turn.
	class, pod []string
	// prepare does what else there is to do.
	prepare func(*scene)
	reason  string
	// says is in all three; a part of it may be the command that mends.
	says []string
	// applied is what kubectl says before the reason when class or pod is applied.
	applied string
	// kubelet is what kubelet's own event says where it is kubelet that stumbles; otherwise the event names the reason.
	kubelet string
}

const (
	refused = "is invalid"
	caution = "Warning: "
)

func walkthrough() map[string]warned {
	secretEnv := "    env:\n    - {name: DB, valueFrom: {secretKeyRef: {name: app-db, key: DB}}}"
	mounted := "    volumeMounts:\n    - {name: kv, mountPath: /mnt/secrets-store, readOnly: true}"
	volume := "csi:\n      driver: secrets-store.csi.k8s.io\n      readOnly: true\n      volumeAttributes: {secretProviderClass: app-kv}"
	tls := []string{"type: Opaque", "type: kubernetes.io/tls", "{objectName: db.txt, key: DB}", "{objectName: db.txt, key: tls.crt}"}
	return map[string]warned{
		// Step 2: the role does not follow from the type of the object.
		"walk-role": {
			class:  []string{"objectName: api-key\n          objectType: secret", "objectName: api-key\n          objectType: key"},
			reason: "VaultForbidden", says: []string{"Key Vault Certificate User"}, applied: caution,
		},
		// Step 3: the retired kind of identity.
		"walk-pod-identity": {
			class:  []string{"clientID:", "usePodIdentity: \"true\"\n    clientID:"},
			reason: "ParameterInvalid", says: []string{`usePodIdentity "true" is not supported`, `set it to "false" and spec.parameters.clientID to the identity's client id`}, applied: refused,
		},
		// Step 4: the label, and the ServiceAccount.
		"walk-label": {
			pod:    []string{`labels: {azure.workload.identity/use: "true"}`, "labels: {app: app}"},
			reason: "LabelMissing", says: []string{`lacks the label azure.workload.identity/use: "true"`, "add the label to metadata.labels"}, applied: caution,
		},
		"walk-account": {
			prepare: func(s *scene) { s.annotateAccount("99999999-aaaa-2222-bbbb-3333cccc4444") },
			reason:  "ClientIDMismatch", says: []string{"SecretProviderClass app-kv reads with clientID", "99999999-aaaa-2222-bbbb-3333cccc4444"}, applied: caution,
		},
		// Step 5: the file's name, not the vault's; and who keeps the Secret alive.
		"walk-file": {
			class:  []string{"objectName: db.txt", "objectName: app-db-connection"},
			reason: "SecretObjectInvalid", says: []string{"file matching objectName app-db-connection not found", `use the alias "db.txt"`}, applied: refused,
		},
		"walk-volume": {
			pod:     []string{mounted, secretEnv, volume, "emptyDir: {}"},
			reason:  "SecretWithoutVolume",
			says:    []string{`container "api" uses Secret "app-db", which exists only while a pod mounts SecretProviderClass app-kv, and no volume of this pod does`},
			applied: caution, kubelet: `secret "app-db" not found`,
		},
		// Step 6: what never sees a rotation.
		"walk-sub-path": {
			pod:     []string{"mountPath: /mnt/secrets-store, readOnly: true", "mountPath: /etc/db, subPath: db.txt, readOnly: true"},
			reason:  "SubPathStale",
			says:    []string{`container "api" mounts db.txt of SecretProviderClass app-kv at /etc/db by subPath`, "mount the whole volume into a directory of its own"},
			applied: caution,
		},
		// Step 7: a TLS Secret needs both, of something that holds both.
		"walk-tls-key": {class: tls, reason: "SecretObjectInvalid", says: []string{`needs the key "tls.key"`}, applied: refused},
		"walk-tls-cert": {
			class: []string{"type: Opaque", "type: kubernetes.io/tls", "[{objectName: db.txt, key: DB}]", "[{objectName: db.txt, key: tls.crt}, {objectName: db.txt, key: tls.key}]",
				"objectName: app-db-connection\n          objectType: secret", "objectName: tls-app\n          objectType: cert"},
			prepare: func(s *scene) {
				s.must(s.az(nil, "role", "assignment", "create", "--role", "Key Vault Certificate User", "--assignee", s.clientID, "--scope", s.vaultID))
			},
			reason: "SecretObjectInvalid", says: []string{"no private key found", "mount the certificate with objectType: secret"}, applied: refused,
		},
	}
}

func TestWhatTheWalkthroughWarnsOf(t *testing.T) {
	together(t)
	const policy = `{"issuerParameters":{"name":"Self"},"keyProperties":{"exportable":true,"keyType":"RSA","keySize":2048},` +
		`"secretProperties":{"contentType":"application/x-pem-file"},"x509CertificateProperties":{"subject":"CN=app.example","validityInMonths":12}}`
	if _, err := shared.az(nil, "keyvault", "certificate", "create", "--vault-name", vault, "--name", "tls-app", "--policy", policy); err != nil {
		t.Fatal(err)
	}
	for name, w := range walkthrough() {
		t.Run(name, func(t *testing.T) {
			scenario(t)
			s := newScene(t, name)
			s.grant()
			s.federate(federation{})
			if w.prepare != nil {
				w.prepare(s)
			}
			s.apply(s.classWith("app-kv", w.class...))
			pod := strings.NewReplacer(w.pod...).Replace(s.pod("app", ""))
			s.apply(pod)
			s.inTheEvent(w)
			s.inExplain(w)
			s.watched()
			applied := strings.Replace(pod, "name: app\n", "name: copy\n", 1)
			if w.class != nil {
				applied = s.classWith("copy", w.class...)
			}
			said := s.checked(applied, w.applied, w.reason+": ")
			if !strings.Contains(said, w.applied) || !strings.Contains(said, w.reason+": ") {
				t.Errorf("applied, kubectl does not name %s: %q", w.reason, said)
			}
			s.sayingAll(w, "applied, kubectl says", said)
		})
	}
}

func (s *scene) sayingAll(w warned, who, text string) {
	s.t.Helper()
	for _, want := range w.says {
		if !strings.Contains(text, want) {
			s.t.Errorf("%q is missing: %s %q", want, who, text)
		}
	}
}

func (s *scene) inTheEvent(w warned) {
	s.t.Helper()
	s.eventually("the event", 2*time.Minute, func() (bool, string) {
		seen := ""
		for _, event := range s.events("app") {
			seen += event.Reason + ": " + event.Message + "\n"
			if w.kubelet != "" && strings.Contains(event.Message, w.kubelet) {
				return true, ""
			}
			if w.kubelet == "" && strings.Contains(event.Message, w.reason+": ") {
				s.sayingAll(w, "the event says", event.Message)
				return true, ""
			}
		}
		return false, seen
	})
}

func (s *scene) inExplain(w warned) {
	s.t.Helper()
	s.eventually("explain", time.Minute, func() (bool, string) {
		e := s.explain()
		for _, link := range e.Chains[0].Links {
			if link.Reason == w.reason {
				s.sayingAll(w, "explain says", link.Message+" "+link.Fix)
				if link.State != "broken" && link.State != "warning" || link.Fix == "" {
					s.t.Errorf("the link %+v", link)
				}
				return true, ""
			}
		}
		out, _ := json.Marshal(e)
		return false, string(out)
	})
}
