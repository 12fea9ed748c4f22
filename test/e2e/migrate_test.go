// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// migration is a cluster of its own with an installation that looks like the Secrets Store CSI Driver and its Azure provider: see
// testdata/former. The emulator stands outside of it, like Azure.
type migration struct {
	*world
	t       *testing.T
	version string
}

func newMigration(t *testing.T) *migration {
	t.Helper()
	m := &migration{world: &world{name: "e2e-migrate", command: clusterCommand}, t: t, version: os.Getenv("VERSION")}
	t.Cleanup(func() {
		if os.Getenv("E2E_KEEP") == "" {
			m.must(m.cluster("down"))
		}
	})
	bringing.Lock()
	err := m.up(m.version)
	bringing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	emulator := m.must(m.helm("helm4", "template", "vaultferry", chartDir, "--show-only", "templates/emulator/*.yaml", "--set", "emulator.enabled=true",
		"--set", "emulator.image.repository=localhost/vaultferry/azure-emulator,emulator.image.tag="+m.version))
	m.must(m.kubectl([]byte(emulator), "-n", system, "apply", "-f", "-"))
	m.must(m.kubectl(nil, "-n", system, "rollout", "status", "deployment/azure-emulator", "--timeout=2m"))
	if err := m.fillVault(); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *migration) must(out []byte, err error) string {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (m *migration) installFormer() {
	m.t.Helper()
	m.must(m.kubectl(nil, "apply", "-f", "testdata/former-crds.yaml"))
	m.must(m.kubectl(nil, "annotate", "crd", "--all", "--overwrite", "helm.sh/resource-policy=keep"))
	m.must(m.helm("helm3", "install", "csi", "testdata/former", "--set", "image=localhost/vaultferry/vaultferry:"+m.version, "--wait", "--timeout", "3m"))
}

// uninstallFormer leaves a node without a driver.
func (m *migration) uninstallFormer() {
	m.t.Helper()
	m.must(m.helm("helm3", "uninstall", "csi", "--wait", "--timeout", "2m"))
	m.must(m.kubectl(nil, "-n", system, "wait", "--for=delete", "pod", "--selector", "app in (secrets-store-csi-driver,csi-secrets-store-provider-azure)", "--timeout=2m"))
}

func (m *migration) installVaultferry(args ...string) error {
	return m.installVaultferryWith("helm4", args...)
}

func (m *migration) installVaultferryWith(helm string, args ...string) error {
	_, err := m.helm(helm, append([]string{
		"install", "vaultferry", chartDir, "--wait", "--timeout", "3m",
		"--set", "image.repository=localhost/vaultferry/vaultferry,image.tag=" + m.version,
		"--set", "enableSecretRotation=true,rotationPollInterval=10s,syncSecret.enabled=true",
		"--set", "provider.extraEnv[0].name=HTTPS_PROXY,provider.extraEnv[0].value=http://azure-emulator.kube-system.svc:8080",
		"--set", "provider.extraEnv[1].name=SSL_CERT_FILE,provider.extraEnv[1].value=/etc/azure-emulator/ca.crt",
		"--set", "provider.extraVolumes[0].name=ca,provider.extraVolumes[0].configMap.name=azure-emulator-ca",
		"--set", "provider.extraVolumeMounts[0].name=ca,provider.extraVolumeMounts[0].mountPath=/etc/azure-emulator",
	}, args...)...)
	return err
}

// makeFormer rewrites what the stand-in left as the former driver leaves it: pod statuses without conditions and annotations, a Secret
// written as a whole under that driver's name, a tmpfs without options.
func (s *scene) makeFormer(pods ...string) {
	s.t.Helper()
	resource := s.kube.CoreV1().RESTClient()
	for _, pod := range pods {
		path := "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/" + s.namespace + "/secretproviderclasspodstatuses"
		name := pod + "-" + s.namespace + "-app-kv"
		var status map[string]any
		raw, err := resource.Get().AbsPath(path, name).DoRaw(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &status); err != nil {
			s.t.Fatal(err)
		}
		meta, _ := status["metadata"].(map[string]any)
		status["metadata"] = map[string]any{"name": name, "labels": meta["labels"], "ownerReferences": meta["ownerReferences"]}
		former, err := json.Marshal(status)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := resource.Delete().AbsPath(path, name).Do(s.t.Context()).Error(); err != nil {
			s.t.Fatal(err)
		}
		err = resource.Post().AbsPath(path).Param("fieldManager", formerManager).SetHeader("Content-Type", "application/json").Body(former).Do(s.t.Context()).Error()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	secrets := s.kube.CoreV1().Secrets(s.namespace)
	secret, err := secrets.Get(s.t.Context(), "app-db", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	former := secret.DeepCopy()
	former.ObjectMeta = metav1.ObjectMeta{Name: secret.Name, Labels: secret.Labels, OwnerReferences: secret.OwnerReferences}
	if err := secrets.Delete(s.t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := secrets.Create(s.t.Context(), former, metav1.CreateOptions{FieldManager: formerManager}); err != nil {
		s.t.Fatal(err)
	}
	s.must(s.cluster("exec", "--", "sh", "-c",
		`for m in /var/lib/kubelet/pods/*/volumes/kubernetes.io~csi/kv/mount; do mount -o remount,exec,suid,dev,size=50% "$m" && chmod 1777 "$m"; done`))
}

const formerManager = "secrets-store-csi"

// workload is a Deployment of one pod that mounts the class and has the synced Secret in its environment.
func (s *scene) workload(name string) {
	s.t.Helper()
	s.apply(deployment(name, s.podSpec("")))
}

// podOf returns the name and UID of a workload's only pod.
func (s *scene) podOf(workload string) (name string, uid types.UID) {
	s.t.Helper()
	s.eventually("a pod of "+workload, 2*time.Minute, func() (bool, string) {
		list, err := s.kube.CoreV1().Pods(s.namespace).List(s.t.Context(), metav1.ListOptions{LabelSelector: "app=" + workload})
		if err != nil || len(list.Items) != 1 {
			return false, fmt.Sprint(err)
		}
		name, uid = list.Items[0].Name, list.Items[0].UID
		return true, ""
	})
	return name, uid
}

func (s *scene) file(pod string) string {
	s.t.Helper()
	return s.inPod(pod, "cat", "/mnt/secrets-store/db-connection-string")
}

// mountsOnNode counts the CSI volumes that are mounted on the node.
func (s *scene) mountsOnNode() int {
	s.t.Helper()
	return strings.Count(s.must(s.cluster("exec", "--", "cat", "/proc/mounts")), "/volumes/kubernetes.io~csi/kv/mount tmpfs ")
}

// The steps of docs/migrate.md, on a cluster where the former driver runs: pods go on running through all of it, their volumes, statuses and
// Secrets are taken over, and there is a way back.
func TestMigrationFromTheFormerDriverAndBack(t *testing.T) {
	scenario(t)
	m := newMigration(t)
	m.installFormer()
	s := newSceneIn(t, m.world, "payments")
	s.grant()
	s.federate(federation{})
	s.setSecret("one")
	s.objects = "array:\n  - |\n    objectName: sync-payments\n    objectAlias: db-connection-string\n    objectType: secret\n"
	s.secretObjects = "- secretName: app-db\n  type: Opaque\n  data:\n  - {objectName: db-connection-string, key: DB_CONNECTION_STRING}"
	s.applyClass()
	for _, name := range []string{"stays", "ends"} {
		s.workload(name)
	}
	stays, uid := s.podOf("stays")
	ends, _ := s.podOf("ends")
	s.awaitRunning(stays)
	s.awaitRunning(ends)

	// Without a driver, who runs goes on, who starts or ends waits.
	m.uninstallFormer()
	s.makeFormer(stays, ends)
	if s.file(stays) != syncedCanary+"one" || s.synced() != syncedCanary+"one" {
		t.Fatal("the running pod lost its file or its Secret with the former driver")
	}
	s.must(s.kubectl(nil, "-n", s.namespace, "delete", "deployment", "ends"))
	s.workload("starts")
	starts, _ := s.podOf("starts")
	s.eventually("the event of a pod without a driver", time.Minute, func() (bool, string) {
		saw := s.lastEvent(starts)
		return strings.Contains(saw, "driver name secrets-store.csi.k8s.io not found in the list of registered CSI drivers"), saw
	})

	// The CRDs are of another owner, which Helm says.
	err := m.installVaultferry()
	if err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") {
		t.Errorf("installing over the former CRDs: %v", err)
	}
	if err := m.installVaultferry("--take-ownership", "--force-conflicts"); err != nil {
		t.Fatal(err)
	}
	s.awaitRunning(starts)
	s.eventually("the volume of the ended pod to go", 3*time.Minute, func() (bool, string) { return s.mountsOnNode() == 2, fmt.Sprint(s.mountsOnNode()) })

	// Kubelet's next call hands the running pod's volume over.
	s.setSecret("two")
	s.eventually("the running pod to get the new value", 4*time.Minute, func() (bool, string) {
		return s.file(stays) == syncedCanary+"two", s.lastEvent(stays)
	})
	s.eventually("the Secret to get the new value", time.Minute, func() (bool, string) { return s.synced() == syncedCanary+"two", s.lastEvent(stays) })
	s.eventually("the status to be completed", time.Minute, func() (bool, string) {
		out, err := s.get("secretproviderclasspodstatus", stays+"-"+s.namespace+"-app-kv",
			`{.status.conditions[?(@.type=="Ready")].status} {.metadata.annotations.vaultferry\.io/node-name}`)
		return err == nil && strings.HasPrefix(string(out), "True ") && len(out) > len("True "), string(out)
	})
	if _, now := s.podOf("stays"); now != uid {
		t.Error("the running pod was made again")
	}
	for _, event := range s.events(stays) {
		// Kubelet's own word, if its next call comes while no driver is there. docs/migrate.md says so.
		if event.Reason == "FailedMount" && strings.Contains(event.Message, "not found in the list of registered CSI drivers") {
			continue
		}
		t.Errorf("a warning to the running pod: %s %s", event.Reason, event.Message)
	}
	s.must(s.kubectl(nil, "-n", s.namespace, "get", "secretproviderclasses.v1alpha1.secrets-store.csi.x-k8s.io", "app-kv"))

	// The way back.
	m.must(m.helm("helm4", "uninstall", "vaultferry", "--wait", "--timeout", "2m"))
	m.must(m.kubectl(nil, "-n", system, "wait", "--for=delete", "pod", "--selector", "app=secrets-store-csi-driver", "--timeout=2m"))
	s.must(s.kubectl(nil, "-n", s.namespace, "get", "secretproviderclass", "app-kv"))
	m.installFormer()
	s.workload("again")
	again, _ := s.podOf("again")
	s.awaitRunning(again)
	if s.file(stays) != syncedCanary+"two" || s.file(again) != syncedCanary+"two" {
		t.Error("after the way back a pod does not have the value")
	}

	// An owner that takes the CRDs with it, and all classes and statuses with them: the AKS add-on cannot be disabled while there are classes.
	s.must(s.kubectl(nil, "-n", s.namespace, "delete", "secretproviderclass", "app-kv"))
	m.uninstallFormer()
	s.must(s.kubectl(nil, "delete", "crd", "--all"))
	if s.file(stays) != syncedCanary+"two" {
		t.Fatal("the running pod lost its file with the class")
	}
	if err := m.installVaultferry(); err != nil {
		t.Fatal(err)
	}
	s.applyClass()
	s.setSecret("three")
	s.eventually("the running pod to get the new value", 4*time.Minute, func() (bool, string) {
		return s.file(stays) == syncedCanary+"three", s.lastEvent(stays)
	})
	s.eventually("the Secret to get the new value", time.Minute, func() (bool, string) { return s.synced() == syncedCanary+"three", s.lastEvent(stays) })
	s.eventually("a new status", time.Minute, func() (bool, string) {
		_, err := s.get("secretproviderclasspodstatus", stays+"-"+s.namespace+"-app-kv", "{.metadata.name}")
		return err == nil, fmt.Sprint(err)
	})

	// Helm 3 takes over the former CRDs as well.
	m.must(m.helm("helm4", "uninstall", "vaultferry", "--wait", "--timeout", "2m"))
	s.must(s.kubectl(nil, "apply", "-f", "testdata/former-crds.yaml"))
	if err := m.installVaultferryWith("helm3", "--take-ownership"); err != nil {
		t.Fatal(err)
	}
}
