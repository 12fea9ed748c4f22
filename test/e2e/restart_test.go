// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const volumes = 20

// metric returns the sum of a metric's series at a pod of the system's namespace.
func (s *scene) metric(selector, port, name string) float64 {
	s.t.Helper()
	pod := s.must(s.kubectl(nil, "-n", system, "get", "pods", "-l", selector, "--field-selector=status.phase=Running",
		"-o", "jsonpath={.items[0].metadata.name}"))
	text := s.must(s.kubectl(nil, "get", "--raw", "/api/v1/namespaces/"+system+"/pods/"+pod+":"+port+"/proxy/metrics"))
	sum := 0.0
	for _, match := range regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			s.t.Fatal(err)
		}
		sum += value
	}
	return sum
}

// A refresh that finds nothing new writes nothing, neither a file nor an object; a rolling restart of driver and provider takes no file away,
// touches no Secret, and tells nobody anything.
func TestQuietRefreshAndRestart(t *testing.T) {
	s := syncScene(t, "quiet")
	for i := range volumes {
		s.apply(s.pod(fmt.Sprintf("app-%d", i), ""))
	}
	for i := range volumes {
		s.awaitRunning(fmt.Sprintf("app-%d", i))
	}
	const driver = "app=secrets-store-csi-driver"
	writes := func() float64 { return s.metric(driver, "8095", "vaultferry_api_writes_total") }
	refreshes := func() float64 { return s.metric(driver, "8095", "rotation_reconcile_total") }
	stamps := func() string {
		return s.must(s.cluster("exec", "--", "sh", "-c", "readlink /var/lib/kubelet/pods/*/volumes/kubernetes.io~csi/kv/mount/..data | sort"))
	}
	version := func() string {
		return s.must(s.kubectl(nil, "-n", s.namespace, "get", "secret", "app-db", "-o", "jsonpath={.metadata.resourceVersion}"))
	}
	// The writes that the pods' start causes come first.
	settled := -1.0
	s.eventually("the writes to settle", time.Minute, func() (bool, string) {
		before := settled
		settled = writes()
		time.Sleep(2 * time.Second) // as long as nothing may happen in
		return before == settled, fmt.Sprint(settled)
	})
	filesBefore, secretBefore, start := stamps(), version(), refreshes()
	s.eventually("three rounds of refreshes", 2*time.Minute, func() (bool, string) {
		done := refreshes() - start
		return done >= 3*volumes, fmt.Sprint(done)
	})
	if after := writes(); after != settled {
		t.Errorf("refreshes that found nothing new wrote %v times to the API server", after-settled)
	}
	if stamps() != filesBefore {
		t.Error("refreshes that found nothing new wrote files")
	}

	for _, set := range []string{"secrets-store-csi-driver", "secrets-store-provider-azure"} {
		s.must(s.kubectl(nil, "-n", system, "rollout", "restart", "daemonset", set))
		s.must(s.kubectl(nil, "-n", system, "rollout", "status", "daemonset", set, "--timeout=2m"))
	}
	// Kubelet's calls teach the new driver its volumes; each is refreshed within the interval after that.
	s.eventually("the restarted driver to look after its volumes", 4*time.Minute, func() (bool, string) {
		done := refreshes()
		return done >= 2*volumes, fmt.Sprint(done)
	})
	if stamps() != filesBefore {
		t.Error("the restart wrote files")
	}
	if got := version(); got != secretBefore {
		t.Errorf("the restart touched the Secret: %s, before %s", got, secretBefore)
	}
	for i := range volumes {
		for _, event := range s.allEvents(fmt.Sprintf("app-%d", i)) {
			if strings.Contains(event.Reason, "Rotation") || event.Type == "Warning" {
				t.Errorf("an event about nothing: %s %s", event.Reason, event.Message)
			}
		}
	}
}
