// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	deployments = "/apis/apps/v1/namespaces/payments/deployments/"
	secrets     = "/api/v1/namespaces/payments/secrets/"
	configMaps  = "/api/v1/namespaces/payments/configmaps/"
	statuses    = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/payments/secretproviderclasspodstatuses/"
)

type object = map[string]any

// harness is a controller, or several in turn, at an API server in memory. Tests run in synctest bubbles: time passes only when nothing
// else is to be done.
type harness struct {
	t      testing.TB
	server *apiServer
	config func(*controller.Config)
	// transport is the way to the server, if it is not the server itself.
	transport http.RoundTripper

	registry *prometheus.Registry
	current  *controller.Controller
	stop     func()
}

func newHarness(t testing.TB, config func(*controller.Config)) *harness {
	h := &harness{t: t, server: newAPIServer(), config: config}
	t.Cleanup(h.end)
	return h
}

// begin starts a controller; it ends the one before.
func (h *harness) begin() {
	h.end()
	ctx, cancel := context.WithCancel(context.Background())
	h.beginWith(ctx, cancel)
}

func (h *harness) beginWith(ctx context.Context, cancel context.CancelFunc) {
	clients := clientsOf(h.t, h.server)
	if h.transport != nil {
		clients = clientsThrough(h.t, h.transport)
	}
	h.registry = prometheus.NewRegistry()
	config := controller.Config{Clients: clients, Log: slog.New(slog.DiscardHandler), Metrics: controller.NewMetrics(h.registry), Key: []byte("key"), Classes: true, Namespace: "system"}
	if h.config != nil {
		h.config(&config)
	}
	c, err := controller.New(config)
	if err != nil {
		h.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			h.t.Error(err)
		}
	})
	h.current = c
	h.stop = func() {
		cancel()
		running.Wait()
	}
}

func clientsOf(t testing.TB, server *apiServer) controller.Clients { return clientsThrough(t, server) }

func clientsThrough(t testing.TB, transport http.RoundTripper) controller.Clients {
	config := &rest.Config{Host: "http://api", Transport: transport, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return controller.Clients{Kube: kube, Dynamic: dyn, Metadata: meta}
}

func (h *harness) end() {
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// settle waits until the controller has nothing to do but to wait, for a while of its time.
func (h *harness) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// secret puts a Secret.
func (h *harness) secret(name string, pairs ...string) {
	h.t.Helper()
	data := object{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = []byte(pairs[i+1])
	}
	h.server.put(h.t, secrets+name, object{"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": name, "namespace": "payments"}, "data": data})
}

// envOf is a container's env that reads key of a Secret.
func envOf(secret, key string) object {
	return object{"env": []object{{"name": "A", "valueFrom": object{"secretKeyRef": object{"name": secret, "key": key}}}}}
}

func template(container object) object {
	c := object{"name": "app", "image": "x"}
	for key, value := range container {
		if key != "volumes" {
			c[key] = value
		}
	}
	return object{"metadata": object{"labels": object{"app": "x"}}, "spec": object{"containers": []object{c}, "volumes": container["volumes"]}}
}

// deployment puts a Deployment; annotations are pairs.
func (h *harness) deployment(name string, container object, annotations ...string) {
	h.t.Helper()
	h.server.put(h.t, deployments+name, workloadOf("apps/v1", "Deployment", name, container, annotations...))
}

func workloadOf(version, kind, name string, container object, annotations ...string) object {
	marks := object{}
	for i := 0; i < len(annotations); i += 2 {
		marks[annotations[i]] = annotations[i+1]
	}
	return object{
		"apiVersion": version, "kind": kind, "metadata": object{"name": name, "namespace": "payments", "annotations": marks},
		"spec": object{"replicas": 1, "selector": object{"matchLabels": object{"app": "x"}}, "template": template(container)},
	}
}

// restarts is how often the pod template of a workload has changed.
func (h *harness) restarts(path string) int {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	count, last := -1, ""
	for _, change := range h.server.history {
		if change.path != path {
			continue
		}
		spec, _ := change.object["spec"].(map[string]any)
		if now := mustJSON(spec["template"]); now != last {
			count, last = count+1, now
		}
	}
	return count
}

// expect compares how often Deployments were restarted.
func (h *harness) expect(what string, want map[string]int) {
	h.t.Helper()
	for name, n := range want {
		if got := h.restarts(deployments + name); got != n {
			h.t.Errorf("%s: Deployment %s was restarted %d times, want %d", what, name, got, n)
		}
	}
}

func (h *harness) annotation(path, key string) string {
	o := h.server.get(path)
	if o == nil {
		return ""
	}
	marks, _ := meta(o)["annotations"].(map[string]any)
	text, _ := marks[key].(string)
	return text
}

// events returns the events as "reason: message".
func (h *harness) events(reason string) []string {
	var found []string
	for _, path := range h.server.paths("/events/") {
		event := h.server.get(path)
		if event["reason"] == reason {
			found = append(found, fmt.Sprint(event["message"]))
		}
	}
	return found
}

// writes counts the requests that write workloads.
func writes(requests []string) (n int) {
	for _, r := range requests {
		if !strings.HasPrefix(r, "GET ") && !strings.Contains(r, "/events") {
			n++
		}
	}
	return n
}

const auto = "reloader.stakater.com/auto"

// metric is the value of a metric, by name and labels as Prometheus writes them; of a histogram, <name>_count. What is not there is 0.
func (h *harness) metric(want string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name, value := family.GetName(), m.GetCounter().GetValue()+m.GetGauge().GetValue()
			if histogram := m.GetHistogram(); histogram != nil {
				name, value = name+"_count", float64(histogram.GetSampleCount())
			}
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			if name == want {
				return value
			}
		}
	}
	return 0
}

func (h *harness) expectMetrics(want map[string]float64) {
	h.t.Helper()
	for name, value := range want {
		if got := h.metric(name); got != value {
			h.t.Errorf("%s is %v, want %v", name, got, value)
		}
	}
}
