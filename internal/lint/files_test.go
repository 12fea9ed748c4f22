// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/lint"
)

// The walkthrough's manifests: nothing is wrong with them.
const walkthrough = `# the account
apiVersion: v1
kind: ServiceAccount
metadata:
  name: app-sa
  namespace: payments
  annotations:
    azure.workload.identity/client-id: 00001111-aaaa-2222-bbbb-3333cccc4444
---
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: app-kv
  namespace: payments
spec:
  provider: azure
  secretObjects:
    - secretName: app-db
      type: Opaque
      data:
        - objectName: db-connection-string
          key: DB_CONNECTION_STRING
  parameters:
    usePodIdentity: "false"
    clientID: "00001111-aaaa-2222-bbbb-3333cccc4444"  # workload identity clientId
    keyvaultName: "kv-platform-prod"
    cloudName: ""
    tenantId: "ffffffff-1111-2222-3333-444444444444"
    objects: |
      array:
        - |
          objectName: db-connection-string
          objectType: secret
          objectVersion: ""        # empty = latest
        - |
          objectName: tls-app
          objectType: secret
          objectAlias: tls-app.pem
---
apiVersion: v1
kind: Pod
metadata:
  name: payments-api
  namespace: payments
  labels:
    azure.workload.identity/use: "true"
spec:
  serviceAccountName: app-sa
  containers:
    - name: api
      image: ghcr.io/acme/payments-api:1.8.2
      env:
        - name: DB_CONNECTION_STRING
          valueFrom:
            secretKeyRef:
              name: app-db
              key: DB_CONNECTION_STRING
      volumeMounts:
        - name: kv
          mountPath: /mnt/secrets-store
          readOnly: true
  volumes:
    - name: kv
      csi:
        driver: secrets-store.csi.k8s.io
        readOnly: true
        volumeAttributes:
          secretProviderClass: "app-kv"
`

func check(t *testing.T, text string) []string {
	t.Helper()
	var lines []string
	for _, m := range lint.Files(t.Context(), []lint.File{{Name: "app.yaml", Text: []byte(text)}}, "default") {
		for _, f := range m.Findings {
			hasRule(t, f)
			lines = append(lines, fmt.Sprintf("%s:%d %s %s %s", m.File, f.Line, f.Severity, f.Reason.Name, f.Field))
		}
	}
	return lines
}

func TestTheWalkthroughsFilesAreFine(t *testing.T) {
	if got := check(t, walkthrough); len(got) > 0 {
		t.Fatal(got)
	}
	checked := 0
	for range lint.Files(t.Context(), []lint.File{{Text: []byte(walkthrough)}}, "default") {
		checked++
	}
	if checked != 2 {
		t.Fatalf("checked %d objects", checked)
	}
}

// Each mistake of the walkthrough, and what else a file can have, with the line where it is.
func TestMistakesInFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		old, broken string
		want        []string
	}{
		"type in the block": {"          objectType: secret\n          objectAlias", "          objectType: secrte\n          objectAlias",
			[]string{"app.yaml:37 error ObjectsInvalid spec.parameters.objects[1].objectType"}},
		"entry without a name": {"          objectName: tls-app\n", "", []string{"app.yaml:35 error ObjectsInvalid spec.parameters.objects[1].objectName"}},
		"block that is no YAML": {"          objectName: tls-app\n", "         objectName: tls-app\n",
			[]string{"app.yaml:37 error ObjectsInvalid spec.parameters.objects[1]"}},
		"wrong vault":          {`keyvaultName: "kv-platform-prod"`, `keyvaultName: "kv_prod"`, []string{"app.yaml:26 error VaultNameInvalid spec.parameters.keyvaultName"}},
		"vault missing":        {"    keyvaultName: \"kv-platform-prod\"\n", "", []string{"app.yaml:23 error ParameterInvalid spec.parameters.keyvaultName"}},
		"name instead of file": {"- objectName: db-connection-string", "- objectName: tls-app", []string{"app.yaml:21 error SecretObjectInvalid spec.secretObjects[0].data[0].objectName"}},
		"no quotes":            {`usePodIdentity: "false"`, "usePodIdentity: false", []string{"app.yaml:24 error ManifestInvalid spec.parameters.usePodIdentity"}},
		"unknown field":        {"  secretObjects:", "  secretObject:", []string{"app.yaml:17 error ManifestInvalid spec.secretObject"}},
		"key without role": {"          objectType: secret\n          objectAlias", "          objectType: key\n          objectAlias",
			[]string{"app.yaml:38 warning VaultForbidden spec.parameters.objects[1]"}},
		"label missing":   {"    azure.workload.identity/use: \"true\"\n", "    app: api\n", []string{"app.yaml:45 warning LabelMissing metadata.labels"}},
		"label not true":  {`azure.workload.identity/use: "true"`, `azure.workload.identity/use: "yes"`, []string{"app.yaml:45 warning LabelMissing metadata.labels"}},
		"other client id": {"client-id: 00001111", "client-id: 99991111", []string{"app.yaml:48 warning ClientIDMismatch spec.serviceAccountName"}},
		"other class": {`secretProviderClass: "app-kv"`, `secretProviderClass: "app-kw"`, []string{
			"app.yaml:53 warning SecretWithoutVolume spec.containers[0].env[0]",
			"app.yaml:68 warning ClassNotFound spec.volumes[0].csi.volumeAttributes.secretProviderClass"}},
		"not read-only":  {"        readOnly: true\n        volumeAttributes", "        volumeAttributes", []string{"app.yaml:64 warning RequestInvalid spec.volumes[0].csi.readOnly"}},
		"subPath":        {"          readOnly: true\n  volumes", "          subPath: tls-app.pem\n          readOnly: true\n  volumes", []string{"app.yaml:59 warning SubPathStale spec.containers[0].volumeMounts[0]"}},
		"no credentials": {"    clientID: \"00001111-aaaa-2222-bbbb-3333cccc4444\"  # workload identity clientId\n", "", []string{"app.yaml:63 warning ParameterInvalid spec.volumes[0].csi"}},
		"foreign Secret": {"# the account\n", "apiVersion: v1\nkind: Secret\nmetadata: {name: app-db, namespace: payments}\n---\n",
			[]string{"app.yaml:21 warning SecretNotOurs spec.secretObjects[0].secretName"}},
		"label without quotes": {`azure.workload.identity/use: "true"`, "azure.workload.identity/use: true",
			[]string{"app.yaml:46 error ManifestInvalid metadata.labels.azure.workload.identity/use"}},
		"annotation without quotes": {"  name: app-kv\n", "  name: app-kv\n  annotations: {vaultferry.io/allow-volume-attributes-override: true}\n",
			[]string{"app.yaml:14 error ManifestInvalid metadata.annotations.vaultferry.io/allow-volume-attributes-override"}},
		"annotation of a mapping": {"  name: payments-api\n", "  name: payments-api\n  annotations:\n    note: {a: b}\n", []string{"app.yaml:45 error ManifestInvalid metadata.annotations.note"}},
		"a number for a name":     {"  name: payments-api\n", "  name: 20261125\n", []string{"app.yaml:43 error ManifestInvalid metadata.name"}},
		"after the separator":     {"---\napiVersion: v1\nkind: Pod\n", "--- {a: b}\n", []string{"app.yaml:39 error ManifestInvalid "}},
		"no YAML":                 {"# the account\n", "a: [\n---\n", []string{"app.yaml:1 error ManifestInvalid "}},
		"a template":              {"# the account\n", "a: {{ .Values.x }}\nb: c: d\n---\n", []string{"app.yaml:2 error ManifestInvalid "}},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(walkthrough, tc.old) {
				t.Fatalf("%q is not in the manifests", tc.old)
			}
			if diff := cmp.Diff(tc.want, check(t, strings.Replace(walkthrough, tc.old, tc.broken, 1))); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

// Templates of pods are checked like pods, lists like their items, and objects without a namespace belong to the given one.
func TestOtherShapes(t *testing.T) {
	pod := "{metadata: {labels: {a: b}}, spec: {serviceAccountName: app-sa, containers: [{name: api}], volumes: [{name: kv, csi: " +
		"{driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: app-kv}}}]}}"
	base := strings.ReplaceAll(walkthrough, "  namespace: payments\n", "")
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"} {
		got := check(t, base+"---\napiVersion: apps/v1\nkind: "+kind+"\nmetadata: {name: x}\nspec: {template: "+pod+"}\n")
		if diff := cmp.Diff([]string{"app.yaml:70 warning LabelMissing spec.template.metadata.labels"}, got); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
	got := check(t, base+"---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x}\nspec: {jobTemplate: {spec: {template: "+pod+"}}}\n")
	if diff := cmp.Diff([]string{"app.yaml:70 warning LabelMissing spec.jobTemplate.spec.template.metadata.labels"}, got); diff != "" {
		t.Error(diff)
	}
	got = check(t, base+"---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: x}\n  spec: {template: "+pod+"}\n")
	if diff := cmp.Diff([]string{"app.yaml:73 warning LabelMissing spec.template.metadata.labels"}, got); diff != "" {
		t.Error(diff)
	}
	if got := check(t, strings.Replace(base, "kind: Pod\n", "kind: Pod\n", 1)); len(got) > 0 {
		t.Error(got)
	}
	if got := check(t, "just text\n---\n\n---\n# nothing\n---\napiVersion: kustomize.config.k8s.io/v1\nkind: Kustomization\n"); len(got) > 0 {
		t.Error(got)
	}
}

// A comment may follow the separator of documents, as for kubectl, and says nothing.
func TestSeparatorsWithComments(t *testing.T) {
	text := strings.ReplaceAll(walkthrough, "---\n", "---  # the next one\r\n")
	if got := check(t, text); len(got) > 0 {
		t.Error(got)
	}
	got := check(t, strings.Replace(text, "    azure.workload.identity/use: \"true\"\n", "    app: api\n", 1))
	if diff := cmp.Diff([]string{"app.yaml:45 warning LabelMissing metadata.labels"}, got); diff != "" {
		t.Error(diff)
	}
}

// A value without quotes counts as what it says, so that nothing else is reported of it, and is told as it was written.
func TestTextsWithoutQuotes(t *testing.T) {
	pod := "{metadata: {labels: {azure.workload.identity/use: true, build: 20261125}, annotations: {empty: }}, spec: {serviceAccountName: app-sa, containers: [{name: api}], volumes: [{name: kv, csi: " +
		"{driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: app-kv}}}]}}"
	text := walkthrough + "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x, namespace: payments}\nspec: {jobTemplate: {spec: {template: " + pod + "}}}\n"
	var got []string
	for _, m := range lint.Files(t.Context(), []lint.File{{Name: "app.yaml", Text: []byte(text)}}, "default") {
		for _, f := range m.Findings {
			got = append(got, f.Field+": "+f.Text())
		}
	}
	const labels = "spec.jobTemplate.spec.template.metadata.labels."
	want := []string{
		labels + `azure.workload.identity/use: azure.workload.identity/use is not text; put it into quotes: azure.workload.identity/use: "true"`,
		labels + `build: build is not text; put it into quotes: build: "20261125"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Files of any content end in findings, and every line is within the file.
func FuzzFiles(f *testing.F) {
	f.Add(walkthrough)
	f.Add("a: &a [*a]\n")
	f.Add("0: \n0")
	f.Add("apiVersion: v1\nkind: List\nitems: [null, {kind: Pod}]\n")
	f.Add("apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nspec: {provider: azure, parameters: {objects: 'array: [\"x\"]'}, secretObjects: [null]}\n")
	f.Add("kind: Pod\nmetadata: {name: 1, labels: {a.b/c: true, '': [1]}, annotations: [1]}\n--- x\n---#y\nkind: Pod\nspec: {template: {metadata: {labels: {'[0].x': 1.5}}}}\n")
	f.Add("kind: CronJob\nspec: 1\n---\nkind: Deployment\nspec: {template: {spec: {volumes: [{csi: {driver: secrets-store.csi.k8s.io}}]}}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range lint.Files(t.Context(), []lint.File{{Name: "f", Text: []byte(text)}}, "default") {
			for _, finding := range m.Findings {
				if finding.Line < 1 || finding.Line > strings.Count(text, "\n")+1 {
					t.Errorf("line %d: %+v", finding.Line, finding)
				}
				if strings.ContainsAny(finding.Text(), "\n\r") {
					t.Errorf("more than one line: %q", finding.Text())
				}
			}
		}
	})
}
