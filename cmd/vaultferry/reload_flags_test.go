// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_driver && !vaultferry_provider && !vaultferry_webhook

package main

import (
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/vaultferry/vaultferry/internal/reload"
	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

// reloadConfig is what flags and environment make of a controller.
func reloadConfig(env map[string]string, args ...string) (controller.Config, commonFlags, error) {
	var f reloadFlags
	var common commonFlags
	flags := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	common.add(flags)
	f.add(flags)
	if err := flags.Parse(args); err != nil {
		return controller.Config{}, common, err
	}
	if err := f.applyTo(&common); err != nil {
		return controller.Config{}, common, err
	}
	config, err := f.config(environment{getenv: func(name string) string { return env[name] }, stdout: io.Discard, stderr: io.Discard})
	return config, common, err
}

// Every flag and variable of Reloader's, by its own name, and what it does to the configuration. One is given at a time.
func TestReloadersFlags(t *testing.T) {
	for _, tc := range []struct {
		given string // a flag, or NAME=value of the environment
		got   func(controller.Config, commonFlags) any
		want  any
	}{
		{"--auto-reload-all", func(c controller.Config, _ commonFlags) any { return c.Options.AutoReloadAll }, true},
		{"--configmap-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.Named[reload.ConfigMap] }, "example.com/a"},
		{"--secret-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.Named[reload.Secret] }, "example.com/a"},
		{"--auto-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.Auto }, "example.com/a"},
		{"--ignore-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.Ignore }, "example.com/a"},
		{"--configmap-auto-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.TypedAuto[reload.ConfigMap] }, "example.com/a"},
		{"--secret-auto-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.TypedAuto[reload.Secret] }, "example.com/a"},
		{"--auto-search-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.Search }, "example.com/a"},
		{"--search-match-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.Match }, "example.com/a"},
		{"--pause-deployment-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.PausePeriod }, "example.com/a"},
		{"--pause-deployment-time-annotation=example.com/a", func(c controller.Config, _ commonFlags) any { return c.Options.Keys.PausedAt }, "example.com/a"},
		{"--log-format=json", func(_ controller.Config, c commonFlags) any { return c.json }, true},
		{"--log-format=", func(_ controller.Config, c commonFlags) any { return c.json }, false},
		{"--log-level=trace", func(_ controller.Config, c commonFlags) any { return c.verbosity }, 8},
		{"--log-level=debug", func(_ controller.Config, c commonFlags) any { return c.verbosity }, 4},
		{"--log-level=info", func(_ controller.Config, c commonFlags) any { return c.verbosity }, 0},
		{"--log-level=warning", func(_ controller.Config, c commonFlags) any { return c.verbosity }, -4},
		{"--log-level=error", func(_ controller.Config, c commonFlags) any { return c.verbosity }, -8},
		{"--webhook-url=https://hook.example/x", func(c controller.Config, _ commonFlags) any { return c.WebhookURL }, "https://hook.example/x"},
		{"--resources-to-ignore=configmaps", func(c controller.Config, _ commonFlags) any { return c.Options.IgnoredSources }, map[reload.SourceKind]bool{"ConfigMap": true}},
		{"--resources-to-ignore=Secrets", func(c controller.Config, _ commonFlags) any { return c.Options.IgnoredSources }, map[reload.SourceKind]bool{"Secret": true}},
		{"--ignored-workload-types=jobs", func(c controller.Config, _ commonFlags) any { return c.Options.IgnoredWorkloads }, map[reload.WorkloadKind]bool{"Job": true}},
		{"--ignored-workload-types=jobs,cronjobs", func(c controller.Config, _ commonFlags) any { return c.Options.IgnoredWorkloads },
			map[reload.WorkloadKind]bool{"Job": true, "CronJob": true}},
		{"--namespaces=a,b", func(c controller.Config, _ commonFlags) any { return c.Namespaces }, []string{"a", "b"}},
		{"--namespaces-to-ignore=a,b", func(c controller.Config, _ commonFlags) any { return c.IgnoredNamespaces }, []string{"a", "b"}},
		{"--namespace-selector=team=a,stage in (x)", func(c controller.Config, _ commonFlags) any { return fmt.Sprint(c.NamespaceSelector) }, "stage in (x),team=a"},
		{"--namespace-selector=team:a", func(c controller.Config, _ commonFlags) any { return fmt.Sprint(c.NamespaceSelector) }, "team=a"},
		{"--resource-label-selector=team:*", func(c controller.Config, _ commonFlags) any { return fmt.Sprint(c.SourceSelector) }, "team"},
		{"--resource-label-selector=!team", func(c controller.Config, _ commonFlags) any { return fmt.Sprint(c.SourceSelector) }, "!team"},
		{"--is-Argo-Rollouts=true", func(c controller.Config, _ commonFlags) any { return c.Rollouts }, true},
		{"--reload-on-create=true", func(c controller.Config, _ commonFlags) any { return c.Options.OnCreate }, true},
		{"--reload-on-delete=true", func(c controller.Config, _ commonFlags) any { return c.Options.OnDelete }, true},
		{"--reload-strategy=default", func(c controller.Config, _ commonFlags) any { return c.Strategy }, reload.Strategy("env-vars")},
		{"--reload-strategy=env-vars", func(c controller.Config, _ commonFlags) any { return c.Strategy }, reload.Strategy("env-vars")},
		{"--reload-strategy=annotations", func(c controller.Config, _ commonFlags) any { return c.Strategy }, reload.Strategy("annotations")},
		{"--enable-ha=true", func(c controller.Config, _ commonFlags) any { return c.DryRun }, false},
		{"--enable-ha=false", func(c controller.Config, _ commonFlags) any { return c.DryRun }, false},
		{"--sync-after-restart=true", func(c controller.Config, _ commonFlags) any { return c.Options.OnCreate }, false},
		{"--enable-pprof=true", func(c controller.Config, _ commonFlags) any { return c.DryRun }, false},
		{"--pprof-addr=:6060", func(c controller.Config, _ commonFlags) any { return c.DryRun }, false},
		{"--enable-csi-integration=true", func(c controller.Config, _ commonFlags) any { return c.Classes }, true},
		{"--enable-csi-integration=false", func(c controller.Config, _ commonFlags) any { return c.Classes }, false},

		{"KUBERNETES_NAMESPACE=a", func(c controller.Config, _ commonFlags) any { return c.Namespaces }, []string{"a"}},
		{"METRICS_COUNT_BY_NAMESPACE=enabled", func(c controller.Config, _ commonFlags) any { return c.CountByNamespace }, true},
		{"METRICS_COUNT_BY_NAMESPACE=disabled", func(c controller.Config, _ commonFlags) any { return c.CountByNamespace }, false},
		{"ALERT_ON_RELOAD=false", func(c controller.Config, _ commonFlags) any { return c.Alerts.URL }, ""},

		// Vaultferry's own.
		{"--auto-mode=when-stale", func(c controller.Config, _ commonFlags) any { return c.Options.ExactAuto }, false},
		{"--auto-mode=always", func(c controller.Config, _ commonFlags) any { return c.Options.ExactAuto }, true},
		{"--reload-delay=7s", func(c controller.Config, _ commonFlags) any { return c.Delay }, 7 * time.Second},
		{"--reload-min-interval=1h", func(c controller.Config, _ commonFlags) any { return c.MinInterval }, time.Hour},
		{"--rollout-timeout=1h", func(c controller.Config, _ commonFlags) any { return c.RolloutTimeout }, time.Hour},
		{"--signal-delay=1m", func(c controller.Config, _ commonFlags) any { return c.SignalDelay }, time.Minute},
		{"--reload-windows=0 2 * * * 1h; 0 4 * * * 1h", func(c controller.Config, _ commonFlags) any { return len(c.Windows) }, 2},
		{"--max-rollouts=3", func(c controller.Config, _ commonFlags) any { return c.MaxRollouts }, 3},
		{"--max-rollouts-per-namespace=2", func(c controller.Config, _ commonFlags) any { return c.MaxRolloutsPerNamespace }, 2},
		{"--dry-run", func(c controller.Config, _ commonFlags) any { return c.DryRun }, true},
	} {
		t.Run(tc.given, func(t *testing.T) {
			env, args := map[string]string{}, []string{tc.given}
			if name, value, _ := strings.Cut(tc.given, "="); !strings.HasPrefix(name, "-") {
				env[name], args = value, nil
			}
			config, common, err := reloadConfig(env, args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := tc.got(config, common); !reflect.DeepEqual(got, tc.want) {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// Without flags: Reloader's defaults, but for what docs/reload.md calls different.
func TestReloadDefaults(t *testing.T) {
	c, _, err := reloadConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Options.Keys, reload.DefaultKeys()) {
		t.Errorf("keys: %+v", c.Options.Keys)
	}
	got := []any{c.Strategy, c.Classes, c.Rollouts, c.Options.AutoReloadAll, c.Options.OnCreate, c.Options.OnDelete, c.Options.ExactAuto, c.DryRun,
		c.Delay, c.MinInterval, c.RolloutTimeout, c.SignalDelay, c.MaxRollouts, c.MaxRolloutsPerNamespace, len(c.Windows), c.Namespaces == nil, c.NamespaceSelector == nil, c.SourceSelector == nil}
	want := []any{reload.EnvVars, true, false, false, false, false, false, false,
		3 * time.Second, time.Duration(0), 15 * time.Minute, 90 * time.Second, 10, 5, 0, true, true, true}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAlertsOfTheEnvironment(t *testing.T) {
	env := map[string]string{"ALERT_ON_RELOAD": "true", "ALERT_SINK": "Slack", "ALERT_WEBHOOK_URL": " https://hook.example/x ", "ALERT_WEBHOOK_PROXY": "http://proxy.example:3128",
		"ALERT_ADDITIONAL_INFO": "production"}
	c, _, err := reloadConfig(env)
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Alerts; a.Sink != controller.Slack || a.URL != "https://hook.example/x" || a.Info != "production" {
		t.Errorf("got %+v", a)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.Alerts.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := c.Alerts.HTTP.Transport.(*http.Transport).Proxy(request); err != nil || proxy.String() != "http://proxy.example:3128" {
		t.Errorf("goes through %v, %v", proxy, err)
	}
	for sink, want := range map[string]controller.Sink{"": controller.Raw, "raw": controller.Raw, "teams": controller.Teams, "gchat": controller.GoogleChat} {
		env["ALERT_SINK"] = sink
		if c, _, err := reloadConfig(env); err != nil || c.Alerts.Sink != want {
			t.Errorf("sink %q: got %q, %v", sink, c.Alerts.Sink, err)
		}
	}
}

func TestReloadRefusesABadStart(t *testing.T) {
	alerts := func(name, value string) map[string]string {
		env := map[string]string{"ALERT_ON_RELOAD": "true", "ALERT_SINK": "slack", "ALERT_WEBHOOK_URL": "https://hook.example/x"}
		env[name] = value
		return env
	}
	for _, tc := range []struct {
		env  map[string]string
		arg  string
		want string
	}{
		{nil, "--log-level=loud", `--log-level must be trace, debug, info, warning or error, not "loud"`},
		{nil, "--log-format=xml", `--log-format must be "json" or empty, not "xml"`},
		{nil, "--webhook-url=hook.example", "--webhook-url must be an http or https URL"},
		{nil, "--resources-to-ignore=pods", `--resources-to-ignore takes configmaps or secrets, not "pods"`},
		{nil, "--resources-to-ignore=configmaps,secrets", "--resources-to-ignore takes configmaps or secrets, not both: nothing would be left to do"},
		{nil, "--ignored-workload-types=deployments", `--ignored-workload-types takes jobs and cronjobs, not "deployments"`},
		{nil, "--namespace-selector=a b", "--namespace-selector: "},
		{nil, "--resource-label-selector=a b", "--resource-label-selector: "},
		{nil, "--is-Argo-Rollouts=yes", `--is-Argo-Rollouts must be true or false, not "yes"`},
		{nil, "--reload-on-create=yes", `--reload-on-create must be true or false, not "yes"`},
		{nil, "--reload-on-delete=yes", `--reload-on-delete must be true or false, not "yes"`},
		{nil, "--reload-strategy=annotation", `--reload-strategy must be default, env-vars or annotations, not "annotation"`},
		{nil, "--auto-mode=never", `--auto-mode must be when-stale or always, not "never"`},
		{nil, "--reload-delay=-1s", "--reload-delay, --reload-min-interval and --signal-delay must not be below 0"},
		{nil, "--rollout-timeout=1ms", "--rollout-timeout must be at least 1s"},
		{nil, "--max-rollouts=-1", "--max-rollouts and --max-rollouts-per-namespace must not be below 0; 0 is no bound"},
		{nil, "--reload-windows=0 2 * * 3h", "--reload-windows: "},
		{alerts("ALERT_SINK", "pager"), "--dry-run", `ALERT_SINK must be slack, teams, gchat or raw, not "pager"`},
		{alerts("ALERT_WEBHOOK_URL", ""), "--dry-run", "ALERT_WEBHOOK_URL must be an http or https URL"},
		{alerts("ALERT_WEBHOOK_PROXY", "proxy"), "--dry-run", "ALERT_WEBHOOK_PROXY must be a URL"},
	} {
		if _, _, err := reloadConfig(tc.env, tc.arg); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s %v: got %v, want %s", tc.arg, tc.env, err, tc.want)
		}
	}
}
