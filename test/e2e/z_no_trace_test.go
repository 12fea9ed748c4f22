// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"
)

// No secret value of this suite is in etcd, in a log, an event, a status or a metric. It looks at each cluster when all other tests there have ended, and
// leaves the machine to the other clusters then.
func TestNoSecretLeavesATrace(t *testing.T) {
	t.Parallel()
	for _, w := range []*world{shared, rough, quiet} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if err := w.end(); err != nil {
					t.Error(err)
				}
			})
			w.others.Wait()
			noTrace(t, w)
		})
	}
}

func noTrace(t *testing.T, w *world) {
	t.Helper()
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	s := newSceneIn(t, w, "no-trace")
	s.grant()
	s.federate(federation{})
	s.applyClass()
	s.apply(s.pod("app", ""))
	s.awaitRunning("app")

	etcd := s.must(s.cluster("etcd-dump"))
	if !strings.Contains(etcd, "secretproviderclasspodstatuses/no-trace/") {
		t.Fatal("the dump of etcd does not hold what it must")
	}
	places := map[string]string{
		"etcd":     etcd,
		"events":   s.must(s.kubectl(nil, "get", "events", "-A", "-o", "yaml")),
		"statuses": s.must(s.kubectl(nil, "get", "secretproviderclasspodstatuses", "-A", "-o", "yaml")),
	}
	for _, workload := range []string{"daemonset/secrets-store-csi-driver", "daemonset/secrets-store-provider-azure", "deployment/azure-emulator", "deployment/vaultferry-webhook",
		"deployment/vaultferry-controller"} {
		places["log of "+workload] = s.must(s.kubectl(nil, "-n", system, "logs", workload, "--all-containers"))
	}
	for app, port := range map[string]string{
		"secrets-store-csi-driver": "8095", "secrets-store-provider-azure": "8898", "vaultferry-webhook": "8095", "vaultferry-controller": "8095",
	} {
		metrics := s.must(s.metrics(t.Context(), app, port))
		if !strings.Contains(metrics, "vaultferry_build_info") {
			t.Fatalf("%s: these are not its metrics", app)
		}
		places["metrics of "+app] = metrics
	}
	for place, content := range places {
		for _, value := range []string{canary, syncedCanary} {
			if value == syncedCanary && place == "etcd" {
				continue
			}
			if at := strings.Index(content, value); at >= 0 {
				t.Errorf("a secret value is in %s: %.200q", place, content[max(0, at-80):])
			}
		}
	}
	if found := s.logsWithValues(); found != "" {
		t.Errorf("a secret value is in %s", found)
	}
}

// logsWithValues names the log files of the node that hold a secret value: those of its programs and of each container, also of ones that
// were killed since.
func (s *scene) logsWithValues() string {
	s.t.Helper()
	const where = " /var/log/pods /run/cluster/state/node-0/log"
	known := s.must(s.cluster("exec", "--", "sh", "-c", "grep -rlF -e 'Driver started' -e 'Starting kubelet'"+where))
	if !strings.Contains(known, "secrets-store-csi-driver") || !strings.Contains(known, "kubelet.log") {
		s.t.Fatalf("these are not all logs: %s", known)
	}
	return s.must(s.cluster("exec", "--", "sh", "-c", "grep -rlF -e "+canary+" -e "+syncedCanary+where+" || true"))
}
