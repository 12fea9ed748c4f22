// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// metricName finds what a query selects: a name that stands before labels, a range or an operator, and after no quote.
var (
	quoted     = regexp.MustCompile(`"[^"]*"`)
	metricName = regexp.MustCompile(`\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b`)
	grouping   = regexp.MustCompile(`\b(?:by|on|group_left|group_right|without|ignoring) ?\([^)]*\)`)
	selector   = regexp.MustCompile(`\{[^}]*\}`)
)

// metricsIn returns the metrics that a query reads, without the suffixes of histograms.
func metricsIn(query string) []string {
	query = grouping.ReplaceAllString(selector.ReplaceAllString(quoted.ReplaceAllString(query, ""), ""), "")
	var names []string
	for _, name := range metricName.FindAllString(query, -1) {
		switch {
		case name == "histogram_quantile", name == "__rate_interval", strings.HasPrefix(name, "process_"):
			continue
		}
		names = append(names, strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"))
	}
	return names
}

func TestMetricsIn(t *testing.T) {
	got := strings.Join(metricsIn(`histogram_quantile(0.99, sum by (le, object_type) (rate(keyvault_request_bucket{error!="a_b"}[$__rate_interval]))) / on (pod) other_total`), " ")
	if got != "keyvault_request other_total" {
		t.Errorf("%q", got)
	}
}

// Alerts and dashboard ask for metrics that there are, and each alert has a section that says what to do.
func TestAlertsAndDashboardAreOfMetricsThatThereAre(t *testing.T) {
	read := func(name string, into any) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, "charts/vaultferry/files", name))
		if err == nil {
			err = yaml.Unmarshal(text, into) // JSON is YAML
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	known := pages(t)[metricsPage].Text
	queries := 0
	check := func(where, query string) {
		queries++
		names := metricsIn(query)
		if len(names) == 0 {
			names = []string{query} // nothing but the runtime's own
			if strings.Contains(query, "process_") {
				return
			}
		}
		for _, name := range names {
			if !strings.Contains(known, "`"+name+"`") {
				t.Errorf("%s asks for %s, of which %s says nothing", where, name, metricsPage)
			}
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	read("alerts.yaml", &rules)
	runbook := pages(t)["docs/alerts.md"].Text
	for _, rule := range rules.Groups[0].Rules {
		check(rule.Alert, rule.Expr)
		if !strings.Contains(runbook, "\n## "+rule.Alert+"\n") {
			t.Errorf("docs/alerts.md has no section %s", rule.Alert)
		}
	}
	if sections := strings.Count(runbook, "\n## Vaultferry"); sections != len(rules.Groups[0].Rules) {
		t.Errorf("docs/alerts.md has %d sections for %d alerts", sections, len(rules.Groups[0].Rules))
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	read("dashboard.json", &board)
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			check(panel.Title, target.Expr)
		}
	}
	if queries < 30 {
		t.Errorf("only %d queries were found", queries)
	}
}

// Grafana reads JSON, and not the YAML that the test above would take.
func TestDashboardIsJSON(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "charts/vaultferry/files/dashboard.json"))
	if err != nil || !json.Valid(text) {
		t.Error("not valid JSON", err)
	}
}
