// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Each kind of workload owns its Secret: it is there while the workload is, also when that was made anew under its name, and goes with it.
func TestEveryKindOfWorkloadOwnsItsSecret(t *testing.T) {
	beside(t)
	s := syncScene(t, "workloads")
	template := func(name string) string {
		spec := strings.ReplaceAll(strings.ReplaceAll(s.podSpec(""), "app-kv", name), "\n", "\n    ")
		return fmt.Sprintf("  template:\n    metadata: {labels: {app: %s}}\n    spec:\n    %s\n", name, spec)
	}
	selected := func(apiVersion, kind, extra string) func(string) string {
		return func(name string) string {
			return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s}\nspec:\n  selector: {matchLabels: {app: %s}}\n%s%s",
				apiVersion, kind, name, name, extra, template(name))
		}
	}
	workloads := []struct {
		kind, name string
		manifest   func(name string) string
	}{
		{"StatefulSet", "set", selected("apps/v1", "StatefulSet", "  serviceName: set\n")},
		{"DaemonSet", "daemon", selected("apps/v1", "DaemonSet", "")},
		{"Job", "job", func(name string) string {
			// It ends as soon as it has begun.
			once := strings.Replace(template(name), "imagePullPolicy: Never", "imagePullPolicy: Never\n        command: [/ls, /mnt/secrets-store]", 1)
			once = strings.Replace(once, "serviceAccountName:", "restartPolicy: Never\n      serviceAccountName:", 1)
			return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + "}\nspec:\n" + once
		}},
		{"Pod", "bare", func(name string) string { return strings.ReplaceAll(s.pod(name, ""), "app-kv", name) }},
	}
	owner := func(name string) string {
		return s.must(s.getIfThere("secret", name, "{.metadata.ownerReferences[*].kind}/{.metadata.ownerReferences[*].name}"))
	}
	uid := func(kind, name string) string {
		return s.must(s.get(kind, name, "{.metadata.uid}"))
	}
	class := s.must(s.kubectl(nil, "-n", s.namespace, "get", "secretproviderclass", "app-kv", "-o",
		`go-template={{with .spec.parameters}}{clientID: "{{.clientID}}", keyvaultName: "{{.keyvaultName}}", tenantId: "{{.tenantId}}", objects: {{printf "%q" .objects}}}{{end}}`))
	for _, w := range workloads {
		s.apply(fmt.Sprintf("apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: %[1]s}\nspec:\n  provider: azure\n  parameters: %[2]s\n"+
			"  secretObjects: [{secretName: %[1]s, type: Opaque, data: [{objectName: db-connection-string, key: k}]}]\n", w.name, class))
		s.apply(w.manifest(w.name))
	}
	for _, w := range workloads {
		s.eventually("the Secret of "+w.kind, 4*time.Minute, func() (bool, string) { return owner(w.name) == w.kind+"/"+w.name, owner(w.name) })
	}

	// A finished pod is left alone: kubelet has unmounted it, and its Secret stays with the Job.
	s.must(s.kubectl(nil, "-n", s.namespace, "wait", "--for=condition=Complete", "job/job", "--timeout=2m"))
	jobPod := s.must(s.kubectl(nil, "-n", s.namespace, "get", "pods", "-l", "app=job", "-o", "jsonpath={.items[0].metadata.uid}"))
	s.eventually("the finished pod's volume to be gone", 2*time.Minute, func() (bool, string) {
		out := s.must(s.cluster("exec", "--", "sh", "-c", "grep -c "+jobPod+" /proc/mounts || true"))
		return out == "0", out
	})
	if got := owner("job"); got != "Job/job" {
		t.Errorf("the Secret of the finished Job belongs to %s", got)
	}

	// Made anew at once under the same name: another owner.
	before := uid("statefulset", "set")
	s.must(s.kubectl(nil, "-n", s.namespace, "delete", "statefulset", "set", "--cascade=background"))
	s.apply(workloads[0].manifest("set"))
	if uid("statefulset", "set") == before {
		t.Fatal("the StatefulSet was not made anew")
	}
	s.eventually("the new owner alone", 4*time.Minute, func() (bool, string) {
		got := s.must(s.getIfThere("secret", "set", "{.metadata.ownerReferences[*].uid}"))
		return got == uid("statefulset", "set"), got
	})
	for _, w := range workloads {
		s.must(s.kubectl(nil, "-n", s.namespace, "delete", strings.ToLower(w.kind), w.name))
		s.eventually("the Secret of "+w.kind+" to go", 2*time.Minute, func() (bool, string) { return owner(w.name) == "", owner(w.name) })
	}
}
