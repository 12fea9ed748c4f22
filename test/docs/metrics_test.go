// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vaultferry/vaultferry/internal/announce"
	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

const metricsPage = "docs/metrics.md"

// described is a registry that remembers what it was given, whether or not it counts anything yet.
type described struct {
	prometheus.Registerer
	// labels are by the metric's name.
	labels map[string][]string
}

var descriptor = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)

// MustRegister implements [prometheus.Registerer].
func (d described) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		descriptors := make(chan *prometheus.Desc, 1)
		go func() { defer close(descriptors); c.Describe(descriptors) }()
		for found := range descriptors {
			match := descriptor.FindStringSubmatch(found.String())
			d.labels[match[1]] = strings.FieldsFunc(match[2], func(r rune) bool { return r == ',' })
		}
	}
}

// The page names the metrics of the controller's parts, all of them and with their labels, and no others.
func TestMetricsOfTheControllerAreAllThere(t *testing.T) {
	for heading, tc := range map[string]struct {
		register func(described)
		least    int
	}{
		"| metric of reloads |": {func(d described) { controller.NewMetrics(d) }, 10},
		"| metric of events |":  {func(d described) { announce.NewMetrics(d) }, 4},
	} {
		t.Run(heading, func(t *testing.T) {
			there := described{labels: map[string][]string{}}
			tc.register(there)
			if len(there.labels) < tc.least {
				t.Fatalf("found only %v", there.labels)
			}
			compareMetrics(t, heading, there)
		})
	}
}

// compareMetrics compares the table below a heading with the metrics that there are.
func compareMetrics(t *testing.T, heading string, there described) {
	t.Helper()
	page := pages(t)[metricsPage]
	inTable, told := false, map[string]bool{}
	for _, line := range page.Prose() {
		cells := strings.Split(strings.Trim(line.Text, "| "), " | ")
		switch {
		case strings.HasPrefix(line.Text, heading):
			inTable = true
		case !strings.HasPrefix(line.Text, "|"):
			inTable = false
		case inTable && !strings.HasPrefix(line.Text, "|---"):
			name := strings.Trim(cells[0], "`")
			told[name] = true
			labels, known := there.labels[name]
			if !known {
				t.Errorf("%s:%d: there is no metric %s", metricsPage, line.Number, name)
				continue
			}
			var want []string
			for _, match := range inCode.FindAllStringSubmatch(cells[2], -1) {
				want = append(want, match[1])
			}
			if !slices.Equal(labels, want) {
				t.Errorf("%s:%d: %s has the labels %q", metricsPage, line.Number, name, labels)
			}
		}
	}
	for name := range there.labels {
		if !told[name] {
			t.Errorf("%s says nothing of %s", metricsPage, name)
		}
	}
}
