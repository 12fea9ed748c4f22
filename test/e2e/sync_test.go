// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// syncScene is a scene with a secret of its own in the vault, which its class mirrors into the Kubernetes Secret app-db.
func syncScene(t *testing.T, namespace string) *scene {
	t.Helper()
	return newScene(t, namespace).syncs()
}

// syncs makes a scene one of syncScene's.
func (s *scene) syncs() *scene {
	s.t.Helper()
	namespace := s.namespace
	s.grant()
	s.federate(federation{})
	s.setSecret("one")
	s.objects = "array:\n  - |\n    objectName: sync-" + namespace + "\n    objectAlias: db-connection-string\n    objectType: secret\n"
	s.secretObjects = "- secretName: app-db\n  type: Opaque\n  data:\n  - {objectName: db-connection-string, key: DB_CONNECTION_STRING}"
	s.applyClass()
	return s
}

// setSecret makes a new version of the scene's secret.
func (s *scene) setSecret(value string) {
	s.t.Helper()
	s.must(s.az([]byte(syncedCanary+value), "keyvault", "secret", "set", "--vault-name", vault, "--name", "sync-"+s.namespace, "--file", "-"))
}

// synced returns what the Kubernetes Secret app-db holds, "" if there is none.
func (s *scene) synced() string {
	s.t.Helper()
	return s.secret("app-db", "DB_CONNECTION_STRING")
}

// secret returns what a Kubernetes Secret holds, "" if there is none.
func (s *scene) secret(name, key string) string {
	s.t.Helper()
	secret, err := s.kube.CoreV1().Secrets(s.namespace).Get(s.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ""
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(secret.Data[key])
}

// consumers are env, a volume and a subPath of the synced Secret, and a subPath of the mount.
const consumers = `
    env:
    - {name: DB_CONNECTION_STRING, valueFrom: {secretKeyRef: {name: app-db, key: DB_CONNECTION_STRING}}}`

// consumer is a pod that takes the secret in every way there is.
func (s *scene) consumer(name string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  serviceAccountName: app-sa
  terminationGracePeriodSeconds: 0
  containers:
  - name: api
    image: %s
    imagePullPolicy: Never%s
    volumeMounts:
    - {name: kv, mountPath: /mnt/secrets-store, readOnly: true}
    - {name: kv, mountPath: /mnt/sub-file, subPath: db-connection-string, readOnly: true}
    - {name: secret, mountPath: /mnt/secret, readOnly: true}
    - {name: secret, mountPath: /mnt/sub-secret, subPath: DB_CONNECTION_STRING, readOnly: true}
  volumes:
  - name: kv
    csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: app-kv}}
  - name: secret
    secret: {secretName: app-db}
`, name, s.appImage, consumers)
}

// The Secret is there after the first mount and not before, in time for the pod's environment, and goes with the last owner.
func TestSyncedSecretLivesAsLongAsItsWorkloads(t *testing.T) {
	beside(t)
	s := syncScene(t, "sync-life")
	if got := s.synced(); got != "" {
		t.Fatal("the Secret is there before any pod")
	}
	for _, name := range []string{"first", "second"} {
		s.apply(deployment(name, s.podSpec("")))
	}
	s.eventually("both Deployments to run", 2*time.Minute, func() (bool, string) {
		out, err := s.list("deployments", "{.items[*].status.readyReplicas}")
		return err == nil && string(out) == "1 1", string(out)
	})
	if got := s.synced(); got != syncedCanary+"one" {
		t.Fatal("the Secret does not hold the value")
	}
	owners := func() string {
		out, _ := s.get("secret", "app-db", "{.metadata.ownerReferences[*].kind}")
		return string(out)
	}
	s.eventually("two owners", 30*time.Second, func() (bool, string) { return owners() == "ReplicaSet ReplicaSet", owners() })
	s.must(s.kubectl(nil, "-n", s.namespace, "delete", "deployment", "first"))
	s.eventually("one owner", time.Minute, func() (bool, string) { return owners() == "ReplicaSet", owners() })
	if got := s.synced(); got == "" {
		t.Fatal("the Secret went with the first of two owners")
	}

	// Deleted by hand it comes back, edited it is repaired.
	s.must(s.kubectl(nil, "-n", s.namespace, "delete", "secret", "app-db"))
	s.eventually("the deleted Secret to come back", time.Minute, func() (bool, string) { return s.synced() == syncedCanary+"one", "" })
	s.must(s.kubectl(nil, "-n", s.namespace, "patch", "secret", "app-db", "--type=merge", "-p", `{"stringData":{"DB_CONNECTION_STRING":"edited"}}`))
	s.eventually("the edited Secret to be repaired", time.Minute, func() (bool, string) { return s.synced() == syncedCanary+"one", "" })

	s.must(s.kubectl(nil, "-n", s.namespace, "delete", "deployment", "second"))
	s.eventually("the Secret to go with its last owner", 2*time.Minute, func() (bool, string) { return s.synced() == "", owners() })
}

func deployment(name, podSpec string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s, azure.workload.identity/use: "true"}}
    spec:
    %[2]s
`, name, strings.ReplaceAll(podSpec, "\n", "\n    "))
}

// What a rotation reaches: the file, the Secret and its volume; not the environment, and nothing that is mounted with subPath.
func TestRotationReachesFilesAndSecretsAndNotTheEnvironment(t *testing.T) {
	beside(t)
	s := syncScene(t, "rotation")
	s.apply(s.consumer("app"))
	s.awaitRunning("app")
	environment := func() string {
		for line := range strings.Lines(s.inPod("app", "env")) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "DB_CONNECTION_STRING="); ok {
				return value
			}
		}
		return ""
	}
	files := map[string]string{
		"the mount": "/mnt/secrets-store/db-connection-string", "its subPath": "/mnt/sub-file",
		"the Secret's volume": "/mnt/secret/DB_CONNECTION_STRING", "its volume's subPath": "/mnt/sub-secret",
	}
	for what, path := range files {
		if got := s.inPod("app", "cat", path); got != syncedCanary+"one" {
			t.Fatalf("at the start %s holds %q", what, strings.TrimPrefix(got, syncedCanary))
		}
	}
	if environment() != syncedCanary+"one" {
		t.Fatal("the environment lacks the value")
	}

	s.setSecret("two")
	rotated := time.Now()
	s.eventually("the file to change", time.Minute, func() (bool, string) {
		return s.inPod("app", "cat", files["the mount"]) == syncedCanary+"two", ""
	})
	t.Logf("the file changed %s after the vault", time.Since(rotated).Round(100*time.Millisecond))
	s.eventually("the Secret to change", time.Minute, func() (bool, string) { return s.synced() == syncedCanary+"two", "" })
	t.Logf("the Secret changed %s after the vault", time.Since(rotated).Round(100*time.Millisecond))
	// Kubelet looks at Secret volumes when it syncs the pod, about once a minute.
	s.eventually("the Secret's volume to change", 3*time.Minute, func() (bool, string) {
		return s.inPod("app", "cat", files["the Secret's volume"]) == syncedCanary+"two", ""
	})
	for _, what := range []string{"its subPath", "its volume's subPath"} {
		if got := s.inPod("app", "cat", files[what]); got != syncedCanary+"one" {
			t.Errorf("%s holds %q", what, strings.TrimPrefix(got, syncedCanary))
		}
	}
	if environment() != syncedCanary+"one" {
		t.Error("the environment of a running container changed")
	}
	for reason, want := range map[string]string{
		"MountRotationComplete":  "successfully rotated mounted contents for spc rotation/app-kv",
		"SecretRotationComplete": "successfully rotated K8s secret app-db",
	} {
		s.eventually("the event "+reason, 30*time.Second, func() (bool, string) { return s.eventOf("app", reason) == want, s.eventOf("app", reason) })
	}

	// A rotation that is asked for does not wait for the interval.
	s.setSecret("three")
	s.must(s.kubectl(nil, "-n", s.namespace, "annotate", "secretproviderclass", "app-kv", "--overwrite", "vaultferry.io/rotate-requested-at=now"))
	asked := time.Now()
	s.eventually("the asked-for rotation", time.Minute, func() (bool, string) {
		return s.inPod("app", "cat", files["the mount"]) == syncedCanary+"three", ""
	})
	t.Logf("the asked-for rotation took %s", time.Since(asked).Round(100*time.Millisecond))

	// Trouble while the pod runs leaves the files, and is told.
	s.unfederate()
	s.must(s.az(nil, "role", "assignment", "delete", "--role", "Key Vault Secrets User", "--assignee", s.clientID, "--scope", s.vaultID))
	s.eventually("the failed rotation to be told", 2*time.Minute, func() (bool, string) {
		told := s.eventOf("app", "MountRotationFailed")
		return strings.Contains(told, "VaultForbidden"), told
	})
	s.eventually("the status to tell", time.Minute, func() (bool, string) {
		out, err := s.list("secretproviderclasspodstatus",
			`{.items[0].status.conditions[?(@.type=="Ready")].status} {.items[0].status.conditions[?(@.type=="Ready")].reason}`)
		return err == nil && string(out) == "False VaultForbidden", string(out)
	})
	if got := s.inPod("app", "cat", files["the mount"]); got != syncedCanary+"three" {
		t.Error("the file did not survive the failed rotation")
	}
}

// A Secret that somebody else made is left alone; the pod starts, and its event names the other.
func TestASecretOfSomebodyElseIsLeftAlone(t *testing.T) {
	beside(t)
	s := syncScene(t, "sync-foreign")
	s.must(s.kubectl(nil, "-n", s.namespace, "create", "secret", "generic", "app-db", "--from-literal=theirs=yes"))
	s.apply(s.pod("app", ""))
	s.awaitRunning("app")
	s.eventually("the event", 30*time.Second, func() (bool, string) {
		for _, reason := range []string{"FailedToCreateSecret", "SecretRotationFailed"} {
			if told := s.eventOf("app", reason); strings.Contains(told, "SecretNotOurs") && strings.Contains(told, "app-db") {
				return true, ""
			}
		}
		return false, s.lastEvent("app")
	})
	out := s.must(s.kubectl(nil, "-n", s.namespace, "get", "secret", "app-db", "-o", "jsonpath={.data} {.metadata.ownerReferences}"))
	if strings.TrimSpace(out) != `{"theirs":"eWVz"}` {
		t.Errorf("the Secret of somebody else is now %s", out)
	}
}

// objectName of secretObjects wired to the vault's name instead of the file's: the pod starts, and its event says what to write.
func TestAnObjectNameThatIsNoFileIsExplained(t *testing.T) {
	beside(t)
	s := syncScene(t, "sync-mistake")
	s.secretObjects = "- secretName: app-db\n  type: Opaque\n  data:\n  - {objectName: sync-sync-mistake, key: DB_CONNECTION_STRING}"
	s.applyClass()
	s.apply(s.pod("app", ""))
	s.awaitRunning("app")
	s.eventually("the event", 30*time.Second, func() (bool, string) {
		told := s.eventOf("app", "FailedToCreateSecret")
		return strings.Contains(told, "file matching objectName sync-sync-mistake not found in the pod") && strings.Contains(told, "db-connection-string"), told
	})
	s.secretObjects = "- secretName: app-db\n  type: Opaque\n  data:\n  - {objectName: db-connection-string, key: DB_CONNECTION_STRING}"
	s.applyClass()
	s.eventually("the mended class to arrive", time.Minute, func() (bool, string) { return s.synced() == syncedCanary+"one", "" })
}
