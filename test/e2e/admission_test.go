// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// classWith is a class called name; changes replace texts of one that is right.
func (s *scene) classWith(name string, changes ...string) string {
	return strings.NewReplacer(changes...).Replace(fmt.Sprintf(`apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: %s}
spec:
  provider: azure
  secretObjects:
  - secretName: app-db
    type: Opaque
    data: [{objectName: db.txt, key: DB}]
  parameters:
    clientID: %s
    keyvaultName: %s
    tenantId: %s
    objects: |
      array:
        - |
          objectName: app-db-connection
          objectType: secret
          objectAlias: db.txt
        - |
          objectName: api-key
          objectType: secret
`, name, s.clientID, vault, tenant))
}

// A class is refused with all of its mistakes at once, each with its field and, within objects, its line.
func TestBrokenClassesAreRefusedWhenApplied(t *testing.T) {
	beside(t)
	s := newScene(t, "refused")
	s.watched()
	if said := s.tried(s.classWith("right")); !strings.Contains(said, "secretproviderclass.secrets-store.csi.x-k8s.io/right created") || strings.Contains(said, "Warning:") {
		t.Errorf("of a class that is right, kubectl says %q", said)
	}
	wants := []string{
		"spec.parameters.keyvaultName", "VaultNameInvalid: Invalid vault name",
		"spec.parameters.objects[1].objectType", "ObjectsInvalid: objects index 1, line 8: objectType is \"secrte\"", "did you mean secret?",
	}
	said := s.checked(s.classWith("wrong", "objectName: api-key\n          objectType: secret", "objectName: api-key\n          objectType: secrte",
		"keyvaultName: "+vault, "keyvaultName: kv_prod", "key: DB}", "key: DB}, {objectName: app-db-connection, key: NAME}"), wants...)
	for _, want := range wants {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in %q", want, said)
		}
	}
	// Which files there are is not known while an entry of objects is wrong.
	wants = []string{"spec.secretObjects[0].data[0].objectName", "SecretObjectInvalid: ", `use the alias "db.txt"`}
	said = s.checked(s.classWith("wrong", "objectName: db.txt", "objectName: app-db-connection"), wants...)
	for _, want := range wants {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in %q", want, said)
		}
	}
	if said := s.checked(s.classWith("key", "objectName: api-key\n          objectType: secret", "objectName: api-key\n          objectType: key"), "Warning: "); !strings.Contains(said,
		`Warning: VaultForbidden: key "api-key" in `+vault+`: reading takes the role "Key Vault Certificate User"`) || !strings.Contains(said, "created") {
		t.Errorf("of a key, kubectl says %q", said)
	}
	s.must(s.kubectl(nil, "-n", s.namespace, "create", "secret", "generic", "taken"))
	if said := s.checked(s.classWith("taken", "secretName: app-db", "secretName: taken"), "Warning: "); !strings.Contains(said, `Warning: SecretNotOurs: Secret "taken" exists already`) {
		t.Errorf("of somebody else's Secret, kubectl says %q", said)
	}
}

// A class that was broken before anybody checked can be mended step by step, and not made worse.
func TestBrokenClassesCanBeMended(t *testing.T) {
	beside(t)
	s := newScene(t, "mended")
	noVault, badType := []string{"keyvaultName: " + vault, "keyvaultName: kv_prod"}, []string{"objectType: secret\n          objectAlias", "objectType: secrte\n          objectAlias"}
	s.apply(s.classWith("app-kv", append(noVault, badType...)...))
	s.watched()
	annotated := append([]string{"metadata: {name: app-kv}", "metadata: {name: app-kv, annotations: {team: payments}}"}, noVault...)
	if said := s.checked(s.classWith("app-kv", append(annotated, badType...)...), "Warning: "); !strings.Contains(said, "configured") || !strings.Contains(said, "Warning: VaultNameInvalid: ") {
		t.Errorf("of an annotation, kubectl says %q", said)
	}
	if said := s.checked(s.classWith("app-kv", append(noVault, "tenantId: "+tenant, "tenantId: \"\"")...), "is invalid"); !strings.Contains(said, "tenantId is not provided") ||
		!strings.Contains(said, "is invalid") {
		t.Errorf("of a new mistake, kubectl says %q", said)
	}
	if said := s.says(s.classWith("app-kv", noVault...), "apply", "-f", "-"); !strings.Contains(said, "configured") || !strings.Contains(said, "Warning: VaultNameInvalid: ") ||
		strings.Contains(said, "ObjectsInvalid") {
		t.Errorf("of half a repair, kubectl says %q", said)
	}
	if said := s.says(s.classWith("app-kv"), "apply", "-f", "-"); !strings.Contains(said, "configured") || strings.Contains(said, "Warning:") {
		t.Errorf("of the whole repair, kubectl says %q", said)
	}
}

// Pods and what makes them are admitted, and kubectl shows what deserves a look.
func TestDoubtfulWorkloadsAreWarnedOf(t *testing.T) {
	beside(t)
	s := newScene(t, "warned")
	s.annotateAccount(s.clientID)
	s.apply(s.classWith("app-kv"))
	s.must(s.kubectl(nil, "-n", s.namespace, "create", "serviceaccount", "other"))
	s.must(s.kubectl(nil, "-n", s.namespace, "annotate", "serviceaccount", "other", "azure.workload.identity/client-id=99999999-aaaa-2222-bbbb-3333cccc4444"))
	s.watched()
	env := "    env:\n    - {name: DB, valueFrom: {secretKeyRef: {name: app-db, key: DB}}}\n    volumeMounts:"
	for name, tc := range map[string]struct {
		changes []string
		want    string
	}{
		"right": {nil, ""},
		"no label": {[]string{`labels: {azure.workload.identity/use: "true"}`, "labels: {app: app}"},
			"LabelMissing: the pod mounts SecretProviderClass app-kv with clientID " + s.clientID + `, but lacks the label azure.workload.identity/use: "true"`},
		"other identity": {[]string{"serviceAccountName: app-sa", "serviceAccountName: other"}, "ClientIDMismatch: SecretProviderClass app-kv reads with clientID " + s.clientID},
		"no volume": {[]string{
			"    volumeMounts:\n    - {name: kv, mountPath: /mnt/secrets-store, readOnly: true}", strings.TrimSuffix(env, "\n    volumeMounts:"),
			"csi:\n      driver: secrets-store.csi.k8s.io\n      readOnly: true\n      volumeAttributes: {secretProviderClass: app-kv}", "emptyDir: {}",
		}, `SecretWithoutVolume: container "api" uses Secret "app-db", which exists only while a pod mounts SecretProviderClass app-kv`},
		"subPath": {[]string{"mountPath: /mnt/secrets-store, readOnly: true", "mountPath: /etc/db.txt, subPath: db.txt, readOnly: true"},
			`SubPathStale: container "api" mounts db.txt of SecretProviderClass app-kv at /etc/db.txt by subPath`},
		"no class": {[]string{"secretProviderClass: app-kv", "secretProviderClass: app-vk"}, `ClassNotFound: failed to get secretproviderclass warned/app-vk`},
	} {
		said := s.checked(strings.NewReplacer(tc.changes...).Replace(s.pod("app", "")), tc.want)
		if !strings.Contains(said, "pod/app created") || (tc.want == "") == strings.Contains(said, "Warning:") || !strings.Contains(said, tc.want) {
			t.Errorf("%s: kubectl says %q, want %q", name, said, tc.want)
		}
	}
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec:\n  selector: {matchLabels: {app: app}}\n  template:\n    metadata: {labels: {app: app}}\n    spec:\n    " +
		strings.ReplaceAll(s.podSpec(""), "\n", "\n    ") + "\n"
	if said := s.checked(deployment, "Warning: "); !strings.Contains(said, "Warning: LabelMissing: ") || !strings.Contains(said, "deployment.apps/app created") {
		t.Errorf("of a Deployment, kubectl says %q", said)
	}
}

// The policy makes the label mandatory where the platform says so: for pods and for what makes them, except for classes that need none. What was without
// it before may still be changed.
func TestPolicyMakesTheLabelMandatory(t *testing.T) {
	beside(t)
	s := newScene(t, "mandatory")
	deployment := func(labels, class string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: app}}\n  template:\n    metadata: {labels: {" + labels +
			"}}\n    spec:\n    " + strings.ReplaceAll(strings.ReplaceAll(s.podSpec(""), "app-kv", class), "\n", "\n    ") + "\n"
	}
	const labelled = `app: app, azure.workload.identity/use: "true"`
	s.applied(deployment("app: app", "app-kv"))
	s.must(s.kubectl(nil, "label", "namespace", s.namespace, policyLabel+"=on"))
	bare := strings.Replace(s.pod("app", ""), `azure.workload.identity/use: "true"`, "app: app", 1)
	const refusal = `LabelMissing: the pod mounts SecretProviderClass app-kv, but lacks the label azure.workload.identity/use: "true"; add the label to `
	s.eventually("the policy", time.Minute, func() (bool, string) {
		said := s.tried(bare)
		return strings.Contains(said, refusal+"metadata.labels"), said
	})
	if said := s.tried(s.pod("app", "")); !strings.Contains(said, "pod/app created") {
		t.Errorf("of a pod with the label, kubectl says %q", said)
	}
	if said := s.tried(strings.Replace(bare, "app-kv", "keeper", 1)); !strings.Contains(said, "pod/app created") {
		t.Errorf("of an exempt class, kubectl says %q", said)
	}
	if said := s.tried("apiVersion: v1\nkind: Pod\nmetadata: {name: app}\nspec:\n  containers:\n  - {name: app, image: example}\n"); !strings.Contains(said, "pod/app created") {
		t.Errorf("of a pod without volumes, kubectl says %q", said)
	}
	for name, tc := range map[string]struct{ manifest, want string }{
		"unlabelled before":  {strings.Replace(deployment("app: app", "app-kv"), "replicas: 0", "replicas: 1", 1), "deployment.apps/app configured"},
		"a new one":          {strings.Replace(deployment("app: app", "app-kv"), "{name: app}", "{name: new}", 1), refusal + "spec.template.metadata.labels"},
		"a new one, labeled": {strings.Replace(deployment(labelled, "app-kv"), "{name: app}", "{name: new}", 1), "deployment.apps/new created"},
	} {
		if said := s.tried(tc.manifest); !strings.Contains(said, tc.want) {
			t.Errorf("%s: kubectl says %q, want %q", name, said, tc.want)
		}
	}
	s.must(s.kubectl(nil, "-n", s.namespace, "scale", "deployment", "app", "--replicas=1"))
	s.eventually("the pod of what was unlabelled before", time.Minute, func() (bool, string) {
		pods, err := s.kube.CoreV1().Pods(s.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=app"})
		return err == nil && len(pods.Items) == 1, fmt.Sprintf("%v", err)
	})
	s.applied(deployment(labelled, "app-kv"))
	if said := s.tried(deployment("app: app", "app-kv")); !strings.Contains(said, refusal) {
		t.Errorf("of a label that goes, kubectl says %q", said)
	}
	cronJob := "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: app}\nspec:\n  schedule: '0 0 * * *'\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          restartPolicy: Never\n        " +
		strings.ReplaceAll(s.podSpec(""), "\n", "\n        ") + "\n"
	if said := s.tried(cronJob); !strings.Contains(said, refusal+"spec.jobTemplate.spec.template.metadata.labels") {
		t.Errorf("of a CronJob, kubectl says %q", said)
	}
}
