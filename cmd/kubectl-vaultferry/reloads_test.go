// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// The last and the pending reload of each kind of workload are told where its pods are explained, and with the class.
func TestReloads(t *testing.T) {
	_, url := startAPIServer(t, "testdata/cluster/reloaded.yaml")
	explain := func(object string, more ...string) []string {
		return append([]string{"explain", object, "-n", "orders", "--azure=never"}, more...)
	}
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"explain/reloads-deployment.pipe", exitOK, explain("deployment/api")},
		{"explain/reloads-deployment.json", exitOK, explain("deployment/api", "-o", "json")},
		{"explain/reloads-secret.pipe", exitOK, explain("secret/orders-db")},
		{"explain/reloads-class.pipe", exitOK, explain("class/orders-kv")},
		{"explain/reloads-pod.pipe", exitOK, explain("pod/writer-0")},
		{"status/reloads.pipe", exitOK, []string{"status", "-n", "orders"}},
		{"status/reloads.wide", exitOK, []string{"status", "-n", "orders", "-o", "wide"}},
		{"status/reloads.json", exitOK, []string{"status", "-n", "orders", "-o", "json"}},
	} {
		t.Run(c.name, func(t *testing.T) { golden(t, url, false, c.name, c.code, c.args...) })
	}
}

// A kind that may not be read is named, and the others are told all the same. Rollouts are no news: few clusters have them, and few people a right to them.
func TestReloadsWithFewRights(t *testing.T) {
	s, url := startAPIServer(t, "testdata/cluster/reloaded.yaml")
	s.refuse([]string{"list statefulsets", "list rollouts"}, []string{"jobs"})
	const refused = `statefulsets is forbidden: User "jane" cannot list resource "statefulsets"`
	out, errs, code := runFor(t, url, "status", "-n", "orders")
	if code != exitOK || !strings.Contains(errs, refused) || strings.Contains(errs, "rollouts") || strings.Contains(errs, "jobs") {
		t.Errorf("status: exit code %d, notes %q", code, errs)
	}
	if !strings.Contains(out, "reload pending: Deployment orders/api") {
		t.Errorf("status tells less than it could:\n%s", out)
	}
	out, errs, _ = runFor(t, url, "explain", "secret/orders-db", "-n", "orders", "--azure=never")
	if !strings.Contains(out, "DaemonSet/agent") || !strings.Contains(out, refused) {
		t.Errorf("explain: %s\n%s", out, errs)
	}
}
