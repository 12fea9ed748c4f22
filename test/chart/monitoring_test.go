// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// podMonitor and prometheusRule are what these tests look at of the kinds of the Prometheus operator.
type podMonitor struct {
	Metadata struct{ Labels map[string]string }
	Spec     struct {
		Selector struct {
			MatchLabels map[string]string
		}
		NamespaceSelector   struct{ MatchNames []string }
		PodMetricsEndpoints []struct{ Port, Interval string }
	}
}

type prometheusRule struct {
	Metadata struct{ Labels map[string]string }
	Spec     struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
}

// named returns the object vaultferry of a kind.
func named(t *testing.T, objects []object, kind string) object {
	t.Helper()
	i := slices.IndexFunc(objects, func(o object) bool { return o.Kind == kind && o.Metadata.Name == "vaultferry" })
	if i < 0 {
		t.Fatalf("no %s among %v", kind, names(objects))
	}
	return objects[i]
}

func TestMonitoringIsOffByDefault(t *testing.T) {
	for _, name := range names(render(t)) {
		if kind, _, _ := strings.Cut(name, " "); kind == "PodMonitor" || kind == "PrometheusRule" || name == "ConfigMap vaultferry-dashboard" {
			t.Errorf("%s is installed", name)
		}
	}
}

// The PodMonitor finds every part that serves metrics.
func TestPodMonitor(t *testing.T) {
	objects := render(t, "--set", "monitoring.podMonitor.enabled=true,monitoring.podMonitor.labels.release=prometheus,webhook.enabled=true,webhook.azureTenantID=t,emulator.enabled=true")
	monitor := decodeLoosely[podMonitor](t, named(t, objects, "PodMonitor"))
	if monitor.Metadata.Labels["release"] != "prometheus" || !slices.Equal(monitor.Spec.NamespaceSelector.MatchNames, []string{"kube-system"}) ||
		len(monitor.Spec.PodMetricsEndpoints) != 1 || monitor.Spec.PodMetricsEndpoints[0].Interval != "30s" {
		t.Errorf("%+v", monitor)
	}
	found := map[string]int{}
	look := func(pod corev1.PodTemplateSpec) {
		for key, value := range monitor.Spec.Selector.MatchLabels {
			if pod.Labels[key] != value {
				return
			}
		}
		for _, container := range pod.Spec.Containers {
			for _, port := range container.Ports {
				if port.Name == monitor.Spec.PodMetricsEndpoints[0].Port {
					found[pod.Labels["app.kubernetes.io/component"]]++
				}
			}
		}
	}
	for _, o := range objects {
		switch o.Kind {
		case "DaemonSet":
			look(get[appsv1.DaemonSet](t, objects, o.Kind, o.Metadata.Name).Spec.Template)
		case "Deployment":
			look(get[appsv1.Deployment](t, objects, o.Kind, o.Metadata.Name).Spec.Template)
		}
	}
	if diff := cmp.Diff(map[string]int{"driver": 1, "provider": 1, "controller": 1, "webhook": 1}, found); diff != "" {
		t.Errorf("ports with metrics (-want +got):\n%s", diff)
	}
}

func TestAlerts(t *testing.T) {
	objects := render(t, "--set", "monitoring.alerts.enabled=true,monitoring.alerts.labels.release=prometheus,monitoring.alerts.disabled={VaultferryEventsFail}")
	rules := decodeLoosely[prometheusRule](t, named(t, objects, "PrometheusRule"))
	if rules.Metadata.Labels["release"] != "prometheus" || len(rules.Spec.Groups) != 1 || len(rules.Spec.Groups[0].Rules) < 8 {
		t.Fatalf("%+v", rules)
	}
	for _, rule := range rules.Spec.Groups[0].Rules {
		if rule.Alert == "VaultferryEventsFail" {
			t.Error("an alert that is left out is there")
		}
		if !slices.Contains([]string{"warning", "critical"}, rule.Labels["severity"]) || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" ||
			!strings.HasSuffix(rule.Annotations["runbook_url"], "/docs/alerts.md#"+strings.ToLower(rule.Alert)) {
			t.Errorf("%s: %v, %v", rule.Alert, rule.Labels, rule.Annotations)
		}
	}
	if err := refusal(t, "--set", "monitoring.alerts.enabled=true,monitoring.alerts.disabled={VaultferryEventFails}"); !strings.Contains(err, `there is no alert "VaultferryEventFails"; the alerts are VaultferryMountsFail`) {
		t.Errorf("a misspelt alert: %s", err)
	}
}

func TestDashboard(t *testing.T) {
	board := get[corev1.ConfigMap](t, render(t, "--set", "monitoring.dashboard.enabled=true"), "ConfigMap", "vaultferry-dashboard")
	var content struct {
		Title  string
		Panels []struct{ ID int }
	}
	if err := json.Unmarshal([]byte(board.Data["vaultferry.json"]), &content); err != nil || content.Title != "Vaultferry" || len(content.Panels) < 10 {
		t.Errorf("%v: %+v", err, content)
	}
	if board.Labels["grafana_dashboard"] != "1" {
		t.Errorf("labels %v", board.Labels)
	}
}
