// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// metric returns the sum of a metric's series at a pod of the system's namespace.
func (s *scene) metric(app, port, name string) float64 {
	s.t.Helper()
	text := s.must(s.metrics(s.t.Context(), app, port))
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

func (s *scene) refreshes() float64 {
	s.t.Helper()
	return s.metric("secrets-store-csi-driver", "8095", "rotation_reconcile_total")
}

// written lists what Vaultferry has written in the scene's namespace, as the API server's audit log has it: "verb resource/name".
func (s *scene) written() []string {
	s.t.Helper()
	log := s.must(s.cluster("logs", "audit"))
	if !strings.Contains(log, `"kind":"Event"`) {
		s.t.Fatalf("this is no audit log: %.200q", log)
	}
	var writes []string
	for line := range strings.Lines(log) {
		if !strings.Contains(line, `"namespace":"`+s.namespace+`"`) {
			continue
		}
		var entry struct {
			Verb string `json:"verb"`
			User struct {
				Username string `json:"username"`
			} `json:"user"`
			Object struct {
				Namespace   string `json:"namespace"`
				Resource    string `json:"resource"`
				Subresource string `json:"subresource"`
				Name        string `json:"name"`
			} `json:"objectRef"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			continue // the line that is being written
		}
		ours := strings.HasPrefix(entry.User.Username, "system:serviceaccount:"+system+":secrets-store-csi-driver") ||
			strings.HasPrefix(entry.User.Username, "system:serviceaccount:"+system+":vaultferry-")
		switch entry.Verb {
		case "create", "update", "patch", "delete", "deletecollection":
			if ours && entry.Object.Namespace == s.namespace {
				writes = append(writes, strings.TrimSuffix(entry.Verb+" "+entry.Object.Resource+"/"+entry.Object.Name+"/"+entry.Object.Subresource, "/"))
			}
		}
	}
	return writes
}

// azureCalls counts what the emulator was asked.
func (s *scene) azureCalls() int {
	s.t.Helper()
	var counts []struct {
		Count int `json:"count"`
	}
	// A busy node takes its time to run a command in a container, which kubelet may give up waiting for.
	s.eventually("the emulator's counters", time.Minute, func() (bool, string) {
		out, err := s.az(nil, "requests", "-o", "json")
		if err == nil {
			err = json.Unmarshal(out, &counts)
		}
		return err == nil, fmt.Sprint(err)
	})
	total := 0
	for _, c := range counts {
		total += c.Count
	}
	return total
}

// many is a pod that mounts the class many times.
func (s *scene) many(name string, volumes int) string {
	var mounts, list strings.Builder
	for i := range volumes {
		fmt.Fprintf(&mounts, "\n    - {name: kv-%[1]d, mountPath: /mnt/kv-%[1]d, readOnly: true}", i)
		fmt.Fprintf(&list, "\n  - {name: kv-%d, csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: app-kv}}}", i)
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  serviceAccountName: app-sa
  terminationGracePeriodSeconds: 0
  containers:
  - name: api
    image: %s
    imagePullPolicy: Never
    volumeMounts:%s
  volumes:%s
`, name, s.appImage, mounts.String(), list.String())
}

// 200 volumes: a refresh that finds nothing new writes nothing, neither a file nor an object, and asks Azure next to nothing; a rolling restart of
// driver and provider takes no file away, touches no Secret, and tells nobody anything. Counted at the API server and the emulator.
func TestQuietRefreshAndRestart(t *testing.T) {
	const pods, each = 20, 10
	const volumes = pods * each
	s := newSceneIn(t, alone(t, quiet), "unchanged").syncs()
	for i := range pods {
		s.apply(s.many(fmt.Sprintf("app-%d", i), each))
	}
	for i := range pods {
		s.awaitRunning(fmt.Sprintf("app-%d", i))
	}
	stamps := func() string {
		out := s.must(s.cluster("exec", "--", "sh", "-c", "readlink /var/lib/kubelet/pods/*/volumes/kubernetes.io~csi/kv-*/mount/..data | sort"))
		if got := len(strings.Fields(out)); got != volumes {
			t.Fatalf("%d volumes have files", got)
		}
		return out
	}
	version := func() string {
		return s.must(s.get("secret", "app-db", "{.metadata.uid} {.metadata.resourceVersion}"))
	}
	statuses := func() int {
		return len(strings.Fields(s.must(s.list("secretproviderclasspodstatuses", "{.items[*].metadata.name}"))))
	}
	s.eventually("a status of each volume", 2*time.Minute, func() (bool, string) { return statuses() == volumes, fmt.Sprint(statuses()) })
	// The writes that the pods' start causes come first.
	settled := -1
	s.eventually("the writes to settle", 2*time.Minute, func() (bool, string) {
		before := settled
		settled = len(s.written())
		time.Sleep(5 * time.Second) // longer than anything waits with a write
		return before == settled, fmt.Sprint(settled)
	})
	if settled < volumes {
		t.Fatalf("the audit log has only %d writes of %d volumes", settled, volumes)
	}

	filesBefore, secretBefore, eventsBefore, start, calls := stamps(), version(), s.told(pods), s.refreshes(), s.azureCalls()
	done := 0.0
	s.eventually("three rounds of refreshes", 3*time.Minute, func() (bool, string) {
		done = s.refreshes() - start
		return done >= 3*volumes, fmt.Sprint(done)
	})
	rounds := done / volumes
	calls = s.azureCalls() - calls
	t.Logf("%.1f refreshes of each of %d volumes: %d calls of Azure", rounds, volumes, calls)
	if most := 10 * rounds; float64(calls) > most {
		t.Errorf("they made %d calls of Azure, more than %.0f", calls, most)
	}
	if after := s.written(); len(after) != settled {
		t.Errorf("refreshes that found nothing new wrote to the API server: %q", after[settled:])
	}
	if stamps() != filesBefore {
		t.Error("refreshes that found nothing new wrote files")
	}

	for _, set := range []string{"secrets-store-csi-driver", "secrets-store-provider-azure"} {
		s.must(s.kubectl(nil, "-n", system, "rollout", "restart", "daemonset", set))
		s.must(s.kubectl(nil, "-n", system, "rollout", "status", "daemonset", set, "--timeout=2m"))
		stamps() // no file is away in between
	}
	// Kubelet's calls teach the new driver its volumes; each is refreshed within the interval after that.
	s.eventually("the restarted driver to look after its volumes", 5*time.Minute, func() (bool, string) {
		done := s.refreshes()
		return done >= 2*volumes, fmt.Sprint(done)
	})
	if stamps() != filesBefore {
		t.Error("the restart wrote files")
	}
	if got := version(); got != secretBefore {
		t.Errorf("the restart touched the Secret: %s, before %s", got, secretBefore)
	}
	if after := s.written(); len(after) != settled {
		t.Errorf("the restart wrote to the API server: %q", after[settled:])
	}
	for event, count := range s.told(pods) {
		if count != eventsBefore[event] {
			t.Errorf("an event about nothing: %s", event)
		}
	}
}

// told counts what the driver has told about pods. A machine that is slow to start them may have been worth a word.
func (s *scene) told(pods int) map[string]int32 {
	s.t.Helper()
	told := map[string]int32{}
	for i := range pods {
		for _, event := range s.allEvents(fmt.Sprintf("app-%d", i)) {
			if event.Source.Component == "secrets-store-csi-driver" {
				told[fmt.Sprintf("app-%d: %s %s", i, event.Reason, event.Message)] += max(event.Count, 1)
			}
		}
	}
	return told
}
