// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// everyMetric is a registry in which each metric of the driver has a sample.
func everyMetric() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.follow(newVolumes())
	denied := reason.New(reason.VaultForbidden, "", "may not read")
	m.published(time.Millisecond, "azure", denied)
	m.refreshed(time.Millisecond, "azure", denied, false)
	m.unpublished(errors.New("busy"))
	m.rotated(time.Second)
	m.synced(time.Millisecond, "azure")
	m.Wrote("secrets")
	NewProviderHealth(&Providers{}, time.Minute, registry).up.WithLabelValues("azure").Set(1)
	return registry
}

func TestMetricsFollowTheRulesOfPrometheus(t *testing.T) {
	problems, err := testutil.GatherAndLint(everyMetric())
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		// The names that dashboards know break the rules; those of our own may not.
		if strings.HasPrefix(problem.Metric, "vaultferry_") {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
}

// A dashboard of either generation finds its names, with the same counts.
func TestBothGenerationsOfNames(t *testing.T) {
	registry := everyMetric()
	want := `
# HELP rotation_reconcile_error_total Total number of rotation reconciles with error
# TYPE rotation_reconcile_error_total counter
rotation_reconcile_error_total{error_type="VaultForbidden",os_type="linux",provider="azure",rotated="false"} 1
# HELP rotation_reconcile_total Total number of rotation reconciles
# TYPE rotation_reconcile_total counter
rotation_reconcile_total{os_type="linux",provider="azure",rotated="false"} 1
# HELP sync_k8s_secret_total Total number of k8s secrets synced
# TYPE sync_k8s_secret_total counter
sync_k8s_secret_total{os_type="linux",provider="azure"} 1
# HELP total_rotation_reconcile Total number of rotation reconciles
# TYPE total_rotation_reconcile counter
total_rotation_reconcile{os_type="linux",provider="azure",rotated="false"} 1
# HELP total_rotation_reconcile_error Total number of rotation reconciles with error
# TYPE total_rotation_reconcile_error counter
total_rotation_reconcile_error{error_type="VaultForbidden",os_type="linux",provider="azure",rotated="false"} 1
# HELP total_sync_k8s_secret Total number of k8s secrets synced
# TYPE total_sync_k8s_secret counter
total_sync_k8s_secret{os_type="linux",provider="azure"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "rotation_reconcile_total", "rotation_reconcile_error_total",
		"sync_k8s_secret_total", "total_rotation_reconcile", "total_rotation_reconcile_error", "total_sync_k8s_secret"); err != nil {
		t.Error(err)
	}
}

// docs/metrics.md has each metric with each of its labels.
func TestEveryMetricIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := everyMetric().Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) < 20 {
		t.Fatalf("only %d metrics", len(families))
	}
	for _, family := range families {
		row := ""
		for line := range strings.Lines(string(page)) {
			if row == "" && strings.HasPrefix(line, "| `") && strings.Contains(line, "`"+family.GetName()+"`") {
				row = line
			}
		}
		if row == "" {
			t.Errorf("%s is not on the page", family.GetName())
			continue
		}
		for _, label := range family.GetMetric()[0].GetLabel() {
			if !strings.Contains(row, "`"+label.GetName()+"`") {
				t.Errorf("%s: the page does not name the label %s", family.GetName(), label.GetName())
			}
		}
	}
}
