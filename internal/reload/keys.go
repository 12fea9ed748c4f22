// SPDX-License-Identifier: Apache-2.0

package reload

// Annotations of Vaultferry's own. All stand on a workload's metadata; the first six may stand on its pod template instead.
const (
	// ModeAnnotation says what a change does to the workload: when-stale, always, never or signal.
	ModeAnnotation = "vaultferry.io/reload"
	// DelayAnnotation is how long to gather further changes before a restart, a duration.
	DelayAnnotation = "vaultferry.io/reload-delay"
	// MinIntervalAnnotation is the shortest time between two restarts, a duration.
	MinIntervalAnnotation = "vaultferry.io/reload-min-interval"
	// WindowsAnnotation lists the times at which restarts may begin: "0 2 * * 6 3h; CRON_TZ=Europe/Berlin 0 4 * * * 30m".
	WindowsAnnotation = "vaultferry.io/reload-windows"
	// DryRunAnnotation, "true", tells what would be restarted, and why, and restarts nothing.
	DryRunAnnotation = "vaultferry.io/reload-dry-run"
	// MethodAnnotation says how pods are replaced: patch (of the pod template) or evict (pod by pod, within disruption budgets).
	MethodAnnotation = "vaultferry.io/reload-method"
	// SignalAnnotation names the signal for mode signal, such as SIGHUP.
	SignalAnnotation = "vaultferry.io/reload-signal"
	// EndpointAnnotation is what mode signal sends an HTTP POST to, at each pod: ":8080/-/reload".
	EndpointAnnotation = "vaultferry.io/reload-endpoint"

	// StateAnnotation is what the workload's pods were last restarted for, or were first seen with, in hashes. See [State].
	StateAnnotation = "vaultferry.io/reload-state"
	// LastAnnotation tells the last reload. See [LastReload].
	LastAnnotation = "vaultferry.io/last-reload"
	// PendingAnnotation tells a reload that waits. See [Pending].
	PendingAnnotation = "vaultferry.io/pending-reload"
	// EvictBeforeAnnotation is set while pods older than its time are being evicted.
	EvictBeforeAnnotation = "vaultferry.io/reload-evict-before"
)

// Fixed keys of Reloader's contract.
const (
	// LastReloadedFromAnnotation is put on the pod template by the annotations strategy.
	LastReloadedFromAnnotation = "reloader.stakater.com/last-reloaded-from"
	// RolloutStrategyAnnotation is rollout or restart.
	RolloutStrategyAnnotation = "reloader.stakater.com/rollout-strategy"
	// RestartedAtAnnotation is what kubectl rollout restart puts on the pod template.
	RestartedAtAnnotation = "kubectl.kubernetes.io/restartedAt"
)

// Keys are the annotations of Reloader's contract, of which some can be renamed.
type Keys struct {
	// Auto reloads for every kind of source that the pod template refers to.
	Auto string
	// TypedAuto does so for one kind; Named lists names of one kind; Exclude leaves names of one kind out.
	TypedAuto, Named, Exclude map[SourceKind]string
	// Search, "true", reloads for sources that carry Match, "true".
	Search, Match string
	// Ignore, "true", stands on a source that nobody is restarted for.
	Ignore string
	// PausePeriod pauses a Deployment for a while after its pod template changed; PausedAt is when that began.
	PausePeriod, PausedAt string
}

// DefaultKeys returns Reloader's own.
func DefaultKeys() Keys {
	const domain = "reloader.stakater.com/"
	return Keys{
		Auto: domain + "auto",
		TypedAuto: map[SourceKind]string{
			ConfigMap: "configmap." + domain + "auto", Secret: "secret." + domain + "auto", Class: "secretproviderclass." + domain + "auto",
		},
		Named: map[SourceKind]string{
			ConfigMap: "configmap." + domain + "reload", Secret: "secret." + domain + "reload", Class: "secretproviderclass." + domain + "reload",
		},
		Exclude: map[SourceKind]string{
			ConfigMap: "configmaps.exclude." + domain + "reload", Secret: "secrets.exclude." + domain + "reload",
			Class: "secretproviderclasses.exclude." + domain + "reload",
		},
		Search: domain + "search", Match: domain + "match", Ignore: domain + "ignore",
		PausePeriod: "deployment." + domain + "pause-period", PausedAt: "deployment." + domain + "paused-at",
	}
}
