// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_driver && !vaultferry_provider && !vaultferry_webhook

package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vaultferry/vaultferry/internal/reload"
	"github.com/vaultferry/vaultferry/internal/reload/controller"
)

// reloadFlags are those of reloading workloads. They have the names of Reloader's flags where Reloader has them, so that its manifests work.
type reloadFlags struct {
	enabled                                        bool
	addr                                           string
	autoReloadAll                                  bool
	keys                                           reload.Keys
	configMapKey, secretKey                        string
	configMapAutoKey, secretAutoKey                string
	logFormat, logLevel                            string
	webhookURL                                     string
	resourcesToIgnore, ignoredWorkloads            []string
	namespaces, namespacesToIgnore                 []string
	namespaceSelector, sourceSelector              []string
	argoRollouts, onCreate, onDelete, strategy     string
	enableHA, syncAfterRestart                     bool
	pprof                                          bool
	pprofAddr                                      string
	classes                                        bool
	autoMode                                       string
	delay, minInterval, rolloutTimeout, signalWait time.Duration
	windows                                        string
	maxRollouts, maxRolloutsPerNamespace           int
	dryRun, execSignals                            bool
}

func (f *reloadFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.enabled, "reload", false, "reload workloads when what they have read changes")
	flags.StringVar(&f.addr, "reload-addr", ":9090", "address of Reloader's /metrics and /live; empty: none")
	f.keys = reload.DefaultKeys()
	flags.BoolVar(&f.autoReloadAll, "auto-reload-all", false, "reload workloads that carry no annotation too")
	flags.StringVar(&f.configMapKey, "configmap-annotation", f.keys.Named[reload.ConfigMap], "annotation that lists ConfigMaps")
	flags.StringVar(&f.secretKey, "secret-annotation", f.keys.Named[reload.Secret], "annotation that lists Secrets")
	flags.StringVar(&f.keys.Auto, "auto-annotation", f.keys.Auto, "annotation for all that the pod template refers to")
	flags.StringVar(&f.keys.Ignore, "ignore-annotation", f.keys.Ignore, "annotation of ConfigMaps, Secrets and classes that nobody is reloaded for")
	flags.StringVar(&f.configMapAutoKey, "configmap-auto-annotation", f.keys.TypedAuto[reload.ConfigMap], "annotation for ConfigMaps that the pod template refers to")
	flags.StringVar(&f.secretAutoKey, "secret-auto-annotation", f.keys.TypedAuto[reload.Secret], "annotation for Secrets that the pod template refers to")
	flags.StringVar(&f.keys.Search, "auto-search-annotation", f.keys.Search, "annotation for what carries the match annotation")
	flags.StringVar(&f.keys.Match, "search-match-annotation", f.keys.Match, "annotation of ConfigMaps, Secrets and classes that searches find")
	flags.StringVar(&f.keys.PausePeriod, "pause-deployment-annotation", f.keys.PausePeriod, "annotation with the time for which a Deployment is paused after a reload")
	flags.StringVar(&f.keys.PausedAt, "pause-deployment-time-annotation", f.keys.PausedAt, "annotation with the time at which a Deployment was paused")
	flags.StringVar(&f.logFormat, "log-format", "", `"json", or empty for text`)
	flags.StringVar(&f.logLevel, "log-level", "info", "trace, debug, info, warning or error")
	flags.StringVar(&f.webhookURL, "webhook-url", "", "post to this URL instead of reloading")
	flags.StringSliceVar(&f.resourcesToIgnore, "resources-to-ignore", nil, "configmaps or secrets")
	flags.StringSliceVar(&f.ignoredWorkloads, "ignored-workload-types", nil, "jobs, cronjobs")
	flags.StringSliceVar(&f.namespaces, "namespaces", nil, "namespaces to watch; empty: all, or the one of KUBERNETES_NAMESPACE")
	flags.StringSliceVar(&f.namespacesToIgnore, "namespaces-to-ignore", nil, "namespaces to leave alone")
	flags.StringSliceVar(&f.namespaceSelector, "namespace-selector", nil, "labels of the namespaces to serve, as key=value, key:value or key:*")
	flags.StringSliceVar(&f.sourceSelector, "resource-label-selector", nil, "labels of the ConfigMaps and Secrets to watch, as key=value, key:value or key:*")
	flags.StringVar(&f.argoRollouts, "is-Argo-Rollouts", "false", "reload Argo Rollouts")
	flags.StringVar(&f.onCreate, "reload-on-create", "false", "the creation of a ConfigMap or Secret is a change")
	flags.StringVar(&f.onDelete, "reload-on-delete", "false", "the deletion of a ConfigMap or Secret is a change")
	flags.StringVar(&f.strategy, "reload-strategy", "default", "how pod templates are changed: env-vars (the default) or annotations")
	flags.BoolVar(&f.enableHA, "enable-ha", true, "accepted; see --leader-elect")
	flags.BoolVar(&f.pprof, "enable-pprof", false, "serve profiles")
	flags.StringVar(&f.pprofAddr, "pprof-addr", "127.0.0.1:6060", "address of the profiles")
	flags.BoolVar(&f.syncAfterRestart, "sync-after-restart", false, "accepted; changes while the controller was down are always made good")
	flags.BoolVar(&f.classes, "enable-csi-integration", true, "watch what pods mount of SecretProviderClasses, as soon as the cluster has them")
	flags.StringVar(&f.autoMode, "auto-mode", "when-stale", "what auto means for classes and the Secrets that mirror them: when-stale, or always as with Reloader")
	flags.DurationVar(&f.delay, "reload-delay", 3*time.Second, "how long to gather further changes before a reload")
	flags.DurationVar(&f.minInterval, "reload-min-interval", 0, "shortest time between two reloads of a workload")
	flags.DurationVar(&f.rolloutTimeout, "rollout-timeout", 15*time.Minute, "when a rollout without an end counts as failed")
	flags.DurationVar(&f.signalWait, "signal-delay", 90*time.Second, "how long kubelet may take to bring a Secret or ConfigMap to files, before mode signal tells the pods")
	flags.StringVar(&f.windows, "reload-windows", "", `when reloads may begin, as cron fields and a duration: "0 2 * * 6 3h; CRON_TZ=Europe/Berlin 0 4 * * * 30m"`)
	flags.IntVar(&f.maxRollouts, "max-rollouts", 10, "most rollouts under way at once in the cluster; 0: no bound")
	flags.IntVar(&f.maxRolloutsPerNamespace, "max-rollouts-per-namespace", 5, "most rollouts under way at once in a namespace; 0: no bound")
	flags.BoolVar(&f.dryRun, "dry-run", false, "tell what would be reloaded and why, and reload nothing")
	flags.BoolVar(&f.execSignals, "exec-signals", false, "send the signals of mode signal by running kill in the pods, which needs the right to create pods/exec")
}

// applyTo lets Reloader's flags for logs act on the common ones.
func (f *reloadFlags) applyTo(common *commonFlags) error {
	verbosity, known := map[string]int{"trace": 8, "debug": 4, "info": 0, "": 0, "warning": -4, "warn": -4, "error": -8}[strings.ToLower(f.logLevel)]
	if !known {
		return fmt.Errorf("--log-level must be trace, debug, info, warning or error, not %q", f.logLevel)
	}
	if f.logFormat != "" && f.logFormat != "json" && f.logFormat != "text" {
		return fmt.Errorf(`--log-format must be "json" or empty, not %q`, f.logFormat)
	}
	if common.verbosity == 0 {
		common.verbosity = verbosity
	}
	common.json = common.json || f.logFormat == "json"
	return nil
}

// config turns flags and environment into the controller's configuration, or names the one that is not possible.
func (f *reloadFlags) config(env environment) (controller.Config, error) {
	c := controller.Config{
		Classes: f.classes, Delay: f.delay, MinInterval: f.minInterval, RolloutTimeout: f.rolloutTimeout, SignalDelay: f.signalWait,
		MaxRollouts: f.maxRollouts, MaxRolloutsPerNamespace: f.maxRolloutsPerNamespace, DryRun: f.dryRun, WebhookURL: f.webhookURL,
		Namespaces: f.namespaces, IgnoredNamespaces: f.namespacesToIgnore, CountByNamespace: env.getenv("METRICS_COUNT_BY_NAMESPACE") == "enabled",
	}
	if own := env.getenv("KUBERNETES_NAMESPACE"); own != "" && len(c.Namespaces) == 0 {
		c.Namespaces = []string{own}
	}
	if err := f.bounds(); err != nil {
		return c, err
	}
	if err := f.parse(&c); err != nil {
		return c, err
	}
	var err error
	if c.Alerts, err = alertsOf(env); err != nil {
		return c, err
	}
	return c, f.options(&c)
}

// bounds names a number or a URL that is not possible.
func (f *reloadFlags) bounds() error {
	switch {
	case f.delay < 0, f.minInterval < 0, f.signalWait < 0:
		return errors.New("--reload-delay, --reload-min-interval and --signal-delay must not be below 0")
	case f.rolloutTimeout < time.Second:
		return errors.New("--rollout-timeout must be at least 1s")
	case f.maxRollouts < 0, f.maxRolloutsPerNamespace < 0:
		return errors.New("--max-rollouts and --max-rollouts-per-namespace must not be below 0; 0 is no bound")
	case f.webhookURL == "":
		return nil
	}
	if u, err := url.Parse(f.webhookURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("--webhook-url must be an http or https URL")
	}
	return nil
}

// parse reads the flags that have a syntax of their own.
func (f *reloadFlags) parse(c *controller.Config) (err error) {
	if c.Windows, err = reload.ParseWindows(f.windows); err != nil {
		return fmt.Errorf("--reload-windows: %w", err)
	}
	if c.Strategy, err = strategyOf(f.strategy); err != nil {
		return err
	}
	if c.NamespaceSelector, err = selectorOf("--namespace-selector", f.namespaceSelector); err != nil {
		return err
	}
	c.SourceSelector, err = selectorOf("--resource-label-selector", f.sourceSelector)
	return err
}

func (f *reloadFlags) options(c *controller.Config) error {
	f.keys.Named[reload.ConfigMap], f.keys.Named[reload.Secret] = f.configMapKey, f.secretKey
	f.keys.TypedAuto[reload.ConfigMap], f.keys.TypedAuto[reload.Secret] = f.configMapAutoKey, f.secretAutoKey
	o := reload.Options{
		Keys: f.keys, AutoReloadAll: f.autoReloadAll,
		IgnoredWorkloads: map[reload.WorkloadKind]bool{}, IgnoredSources: map[reload.SourceKind]bool{},
	}
	switch f.autoMode {
	case "when-stale":
	case "always":
		o.ExactAuto = true
	default:
		return fmt.Errorf("--auto-mode must be when-stale or always, not %q", f.autoMode)
	}
	for _, kind := range f.resourcesToIgnore {
		switch strings.ToLower(kind) {
		case "configmaps":
			o.IgnoredSources[reload.ConfigMap] = true
		case "secrets":
			o.IgnoredSources[reload.Secret] = true
		default:
			return fmt.Errorf("--resources-to-ignore takes configmaps or secrets, not %q", kind)
		}
	}
	if len(o.IgnoredSources) > 1 {
		return errors.New("--resources-to-ignore takes configmaps or secrets, not both: nothing would be left to do")
	}
	for _, kind := range f.ignoredWorkloads {
		switch strings.ToLower(kind) {
		case "jobs":
			o.IgnoredWorkloads[reload.Job] = true
		case "cronjobs":
			o.IgnoredWorkloads[reload.CronJob] = true
		default:
			return fmt.Errorf("--ignored-workload-types takes jobs and cronjobs, not %q", kind)
		}
	}
	for name, flag := range map[string]struct {
		text string
		to   *bool
	}{
		"--is-Argo-Rollouts": {f.argoRollouts, &c.Rollouts}, "--reload-on-create": {f.onCreate, &o.OnCreate}, "--reload-on-delete": {f.onDelete, &o.OnDelete},
	} {
		on, err := strconv.ParseBool(flag.text)
		if err != nil {
			return fmt.Errorf("%s must be true or false, not %q", name, flag.text)
		}
		*flag.to = on
	}
	c.Options = o
	return nil
}

func strategyOf(text string) (reload.Strategy, error) {
	switch text {
	case "", "default", string(reload.EnvVars):
		return reload.EnvVars, nil
	case string(reload.Annotations):
		return reload.Annotations, nil
	}
	return "", fmt.Errorf("--reload-strategy must be default, env-vars or annotations, not %q", text)
}

// selectorOf reads a label selector. Reloader's own forms key:value and key:* are taken too. Nil chooses all.
func selectorOf(flag string, parts []string) (labels.Selector, error) {
	parts = slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return strings.TrimSpace(part) == "" })
	if len(parts) == 0 {
		return nil, nil
	}
	for i, part := range parts {
		if key, value, old := strings.Cut(part, ":"); old {
			if parts[i] = key + "=" + value; value == "*" {
				parts[i] = key
			}
		}
	}
	selector, err := labels.Parse(strings.Join(parts, ","))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return selector, nil
}

// alertsOf reads Reloader's environment.
func alertsOf(env environment) (controller.Alerts, error) {
	if env.getenv("ALERT_ON_RELOAD") != "true" {
		return controller.Alerts{}, nil
	}
	a := controller.Alerts{
		Sink: controller.Sink(strings.ToLower(strings.TrimSpace(env.getenv("ALERT_SINK")))), URL: strings.TrimSpace(env.getenv("ALERT_WEBHOOK_URL")),
		Info: strings.TrimSpace(env.getenv("ALERT_ADDITIONAL_INFO")), HTTP: &http.Client{Timeout: 10 * time.Second},
	}
	if a.Sink == "" {
		a.Sink = controller.Raw
	}
	if proxy := strings.TrimSpace(env.getenv("ALERT_WEBHOOK_PROXY")); proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil || u.Host == "" {
			return a, errors.New("ALERT_WEBHOOK_PROXY must be a URL")
		}
		a.HTTP.Transport = &http.Transport{Proxy: http.ProxyURL(u)}
	}
	return a, a.Validate()
}
