// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

const file = "../../charts/vaultferry/files/alerts.yaml"

// rules are the alerts by name. Prometheus' own reading of the file checks queries and templates.
func rules(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Fatal(err)
	}
	found := map[string]rulefmt.Rule{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			found[rule.Alert] = rule
		}
	}
	return found
}

// Each alert is silent on what is well, and speaks of what is not with the labels that its text names. Series are of one sample a minute, in Prometheus'
// own notation; queries are evaluated after an hour.
func TestWhenAlertsFire(t *testing.T) {
	all := rules(t)
	for name, tc := range map[string]struct {
		well, ill string
		// labels are those of the alert that fires.
		labels string
	}{
		"VaultferryMountsFail": {
			`node_publish_error_total{pod="a",error_type="VaultForbidden",provider="azure"} 5x60`,
			`node_publish_error_total{pod="a",error_type="VaultForbidden",provider="azure"} 0+1x60`, `{error_type="VaultForbidden"}`,
		},
		"VaultferryRefreshesFail": {
			`vaultferry_failing_volumes{pod="a"} 0x60`, `vaultferry_failing_volumes{pod="a"} 0x30 2x30`, `vaultferry_failing_volumes{pod="a"}`,
		},
		"VaultferryContentStale": {
			`vaultferry_oldest_refresh_age_seconds{pod="a"} 0+59x60`, `vaultferry_oldest_refresh_age_seconds{pod="a"} 100+60x60`,
			`vaultferry_oldest_refresh_age_seconds{pod="a"}`,
		},
		"VaultferryProviderDown": {
			`vaultferry_provider_up{pod="a",provider="azure"} 1x60`, `vaultferry_provider_up{pod="a",provider="azure"} 1x30 0x30`,
			`vaultferry_provider_up{pod="a",provider="azure"}`,
		},
		"VaultferryTokensRefused": {
			"vaultferry_entra_tokens_requested_total{error=\"\"} 0+1x60\n  vaultferry_entra_tokens_requested_total{error=\"Canceled\"} 0+1x60",
			`vaultferry_entra_tokens_requested_total{error="EntraRejected"} 0+1x60`, `{error="EntraRejected"}`,
		},
		"VaultferryVaultThrottles": {
			`vaultferry_keyvault_throttled_total{pod="a",vault="kv"} 7x60`, `vaultferry_keyvault_throttled_total{pod="a",vault="kv"} 0+2x60`, `{vault="kv"}`,
		},
		"VaultferryObjectExpires": { // the hour begins at the Unix epoch; a mounted older version is nobody's trouble
			"vaultferry_keyvault_object_expiration_timestamp_seconds{pod=\"a\",vault=\"kv\",object_type=\"secret\",object_name=\"db\",object_version=\"1\"} 1000x60\n" +
				`  vaultferry_keyvault_object_expiration_timestamp_seconds{pod="a",vault="kv",object_type="secret",object_name="db"} 700000x60`,
			`vaultferry_keyvault_object_expiration_timestamp_seconds{pod="a",vault="kv",object_type="secret",object_name="db"} 600000x60`,
			`{vault="kv",object_type="secret",object_name="db"}`,
		},
		"VaultferryObjectDisabled": {
			`vaultferry_keyvault_object_disabled{vault="kv",object_type="secret",object_name="db"} 0x60`,
			`vaultferry_keyvault_object_disabled{vault="kv",object_type="secret",object_name="db"} 1x60`, `{vault="kv",object_type="secret",object_name="db"}`,
		},
		"VaultferryRolloutFailed": {
			`reloader_errors_total{type="reload"} 0+1x60`, `reloader_errors_total{type="rollout"} 0x50 1x10`, `{type="rollout"}`,
		},
		"VaultferryEventsFail": {
			`vaultferry_key_vault_event_failures_total{pod="a",stage="receive"} 0x55 1x5`,
			`vaultferry_key_vault_event_failures_total{pod="a",stage="receive"} 0+1x60`, `{stage="receive"}`,
		},
	} {
		rule, ok := all[name]
		if !ok {
			t.Errorf("there is no alert %s", name)
			continue
		}
		delete(all, name)
		t.Run(name, func(t *testing.T) {
			query := strings.TrimSpace(rule.Expr)
			run(t, tc.well, fmt.Sprintf("eval instant at 60m count(%s) or vector(0)\n  {} 0", query))
			run(t, tc.ill, fmt.Sprintf("eval instant at 60m (%s) * 0\n  %s 0", query, strings.TrimPrefix(tc.labels, metricOf(tc.labels))))
		})
	}
	for name := range all {
		t.Errorf("no test of alert %s", name)
	}
}

// metricOf is the name before the labels, which arithmetic drops.
func metricOf(series string) string {
	name, _, _ := strings.Cut(series, "{")
	return name
}

func run(t *testing.T, series, check string) {
	t.Helper()
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	promqltest.RunTest(t, fmt.Sprintf("load 1m\n  %s\n\n%s\n", series, check), promql.QueryEngine(engine))
}
