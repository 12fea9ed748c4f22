// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

var _ keyvault.Observer = (*Metrics)(nil)

func newMetrics(t *testing.T) (*Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	return metrics, registry
}

// series are the names and labels of what registry holds, with the values of all but histograms.
func series(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			delete(labels, "os_type")
			text, _ := json.Marshal(labels)
			got[family.GetName()+string(text)] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return got
}

var dbItem = keyvault.Item{Vault: "kv", Type: "secret", Name: "db"}

// use makes metrics count one of everything.
func use(metrics *Metrics) {
	metrics.ObjectRead(dbItem, keyvault.Attributes{Expires: time.Unix(1_900_000_000, 0)}, nil, time.Second)
	metrics.ObjectRead(dbItem, keyvault.Attributes{}, reason.New(reason.VaultForbidden, "", "secret %s", canary), time.Second)
	metrics.ObjectRead(dbItem, keyvault.Attributes{}, errors.New(canary), time.Second)
	metrics.ObjectRead(dbItem, keyvault.Attributes{}, context.Canceled, time.Second)
	metrics.ListingRead("key", nil, time.Second)
	metrics.VaultThrottled("kv")
	metrics.CacheUsed(keyvault.CacheJoined)
	metrics.CacheHolds(3, 4096)
	metrics.TokenRequested(reason.New(reason.TenantNotFound, "", "tenant %s", canary), time.Second)
}

func TestMetricsHaveBoundedLabels(t *testing.T) {
	metrics, registry := newMetrics(t)
	use(metrics)
	r := start(t, fetch(everything), func(c *Config) { c.Metrics = metrics })
	if _, err := r.client.Mount(t.Context(), validCall().request()); err != nil {
		t.Fatal(err)
	}
	const azure = `"provider":"azure","service_name":"csi-secrets-store-provider-azure"}`
	want := map[string]float64{
		`grpc_request{"grpc_code":"OK","grpc_method":"/v1alpha1.CSIDriverProvider/Mount",` + azure:                                            0,
		`keyvault_request{"error":"","object_type":"secret",` + azure:                                                                         0,
		`keyvault_request{"error":"VaultForbidden","object_type":"secret",` + azure:                                                           0,
		`keyvault_request{"error":"Unexpected","object_type":"secret",` + azure:                                                               0,
		`keyvault_request{"error":"Canceled","object_type":"secret",` + azure:                                                                 0,
		`vaultferry_entra_tokens_requested_total{"error":"TenantNotFound"}`:                                                                   1,
		`vaultferry_keyvault_cache_answers{}`:                                                                                                 3,
		`vaultferry_keyvault_cache_bytes{}`:                                                                                                   4096,
		`vaultferry_keyvault_cache_lookups_total{"result":"joined"}`:                                                                          1,
		`vaultferry_keyvault_listing_duration_seconds{"error":"","object_type":"key"}`:                                                        0,
		`vaultferry_keyvault_object_expiration_timestamp_seconds{"object_name":"db","object_type":"secret","object_version":"","vault":"kv"}`: 1_900_000_000,
		`vaultferry_keyvault_throttled_total{"vault":"kv"}`:                                                                                   1,
	}
	if diff := cmp.Diff(want, series(t, registry)); diff != "" {
		t.Fatal(diff)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Fatal("the metrics were registered twice")
	}
}

func TestOnlySomeVaultsHaveAThrottleCountOfTheirOwn(t *testing.T) {
	metrics, registry := newMetrics(t)
	for i := range maxThrottleLabels + 10 {
		metrics.VaultThrottled(fmt.Sprintf("kv-%d", i))
	}
	metrics.VaultThrottled("kv-0")
	got := series(t, registry)
	other, first := got[`vaultferry_keyvault_throttled_total{"vault":"other"}`], got[`vaultferry_keyvault_throttled_total{"vault":"kv-0"}`]
	if other != 10 || first != 2 {
		t.Fatalf("other %v, the first %v", other, first)
	}
}

func TestExpiries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, registry := newMetrics(t)
		told := func() (n int) {
			for name := range series(t, registry) {
				if strings.HasPrefix(name, "vaultferry_keyvault_object_expiration") {
					n++
				}
			}
			return n
		}
		read := func(name string, expires time.Time) {
			item := dbItem
			item.Name = name
			metrics.ObjectRead(item, keyvault.Attributes{Expires: expires}, nil, 0)
		}
		soon := time.Now().Add(time.Hour)
		read("db", soon)
		read("db", soon)
		if told() != 1 {
			t.Fatalf("%d objects, want 1", told())
		}
		read("db", time.Time{})
		if told() != 0 {
			t.Fatal("an object that expires no more is told")
		}
		for i := range maxExpiries + 10 {
			read(fmt.Sprint(i), soon)
		}
		if told() != maxExpiries {
			t.Fatalf("%d objects, want %d", told(), maxExpiries)
		}
		time.Sleep(expiryLife / 2)
		read("100", soon)
		time.Sleep(expiryLife/2 + time.Second)
		if told() != 1 {
			t.Fatalf("%d objects, want the one that was read again", told())
		}
	})
}

func TestADisabledObjectIsToldUntilItCanBeRead(t *testing.T) {
	metrics, registry := newMetrics(t)
	told := func() (n int) {
		for name := range series(t, registry) {
			if strings.HasPrefix(name, "vaultferry_keyvault_object_disabled{") {
				n++
			}
		}
		return n
	}
	metrics.ObjectRead(dbItem, keyvault.Attributes{}, reason.New(reason.VaultForbidden, "", "no role"), 0)
	if told() != 0 {
		t.Fatal("an object that may not be read is told to be disabled")
	}
	metrics.ObjectRead(dbItem, keyvault.Attributes{}, reason.New(reason.ObjectDisabled, "", "disabled"), 0)
	if told() != 1 {
		t.Fatal("a disabled object is not told")
	}
	metrics.ObjectRead(dbItem, keyvault.Attributes{}, nil, 0)
	if told() != 0 {
		t.Fatal("an object that could be read is still told to be disabled")
	}
}

func TestWhenAnObjectIsMeantToBeUsed(t *testing.T) {
	const begin, end = "vaultferry_keyvault_object_not_before_timestamp_seconds", "vaultferry_keyvault_object_expiration_timestamp_seconds"
	for _, tc := range []struct {
		attributes keyvault.Attributes
		want       map[string]float64
	}{
		{keyvault.Attributes{}, map[string]float64{}},
		{keyvault.Attributes{NotBefore: time.Unix(1_800_000_000, 0)}, map[string]float64{begin: 1_800_000_000}},
		{keyvault.Attributes{Expires: time.Unix(1_900_000_000, 0)}, map[string]float64{end: 1_900_000_000}},
		{
			keyvault.Attributes{NotBefore: time.Unix(1_800_000_000, 0), Expires: time.Unix(1_900_000_000, 0)},
			map[string]float64{begin: 1_800_000_000, end: 1_900_000_000},
		},
	} {
		metrics, registry := newMetrics(t)
		metrics.ObjectRead(dbItem, tc.attributes, nil, 0)
		got := map[string]float64{}
		for name, value := range series(t, registry) {
			if family, _, _ := strings.Cut(name, "{"); family == begin || family == end {
				got[family] = value
			}
		}
		if !maps.Equal(got, tc.want) {
			t.Errorf("%+v: got %v", tc.attributes, got)
		}
	}
}

func TestMetricNames(t *testing.T) {
	metrics, registry := newMetrics(t)
	use(metrics)
	metrics.call("/x", 0, time.Second)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v %v", err, problems)
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			row := "| `" + family.GetName() + "` |"
			_, line, ok := strings.Cut(string(page), row)
			line, _, _ = strings.Cut(line, "\n")
			if !ok {
				t.Errorf("docs/metrics.md has no row for %s", family.GetName())
			}
			for _, label := range metric.GetLabel() {
				if !strings.Contains(line, "`"+label.GetName()+"`") {
					t.Errorf("docs/metrics.md does not name the label %s of %s", label.GetName(), family.GetName())
				}
			}
		}
	}
}
