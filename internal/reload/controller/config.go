// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"log/slog"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// Config is what an installation decides. Log, Clients and Key are needed; everything else has a default.
type Config struct {
	Clients Clients
	Log     *slog.Logger
	Metrics *Metrics
	// Key is that of the hashes. See [reload.Hasher].
	Key []byte

	Options  reload.Options
	Strategy reload.Strategy
	// Namespaces are those that are watched; none means all. IgnoredNamespaces are left alone.
	Namespaces        []string
	IgnoredNamespaces []string
	// NamespaceSelector chooses namespaces, SourceSelector ConfigMaps and Secrets, by their labels. Nil chooses all.
	NamespaceSelector, SourceSelector labels.Selector
	// Rollouts watches Argo Rollouts, as soon as there are any. Classes watches the mounts of classes.
	Rollouts, Classes bool

	// Delay is how long further changes are gathered before a restart, MinInterval the shortest time between two of a workload.
	Delay, MinInterval time.Duration
	Windows            reload.Windows
	// MaxRollouts and MaxRolloutsPerNamespace bound the rollouts under way that this controller began; 0 is no bound.
	MaxRollouts, MaxRolloutsPerNamespace int
	// RolloutTimeout is when a rollout that makes no end counts as failed. Deployments have a deadline of their own.
	RolloutTimeout time.Duration

	// DryRun tells what would be restarted and writes nothing but events.
	DryRun bool
	// WebhookURL is posted to instead of restarting.
	WebhookURL string
	// Alerts are told of every reload.
	Alerts Alerts
	// SignalDelay is how long a mounted Secret or ConfigMap may take to reach a pod's files; mode signal waits for it.
	SignalDelay time.Duration
	// Exec runs a command in a container of a pod, for signals; nil where that is not allowed.
	Exec ExecFunc
	// HTTP is used for everything but the API server.
	HTTP *http.Client
	// Namespace is the controller's own, where it keeps the Jobs that it is about to make again; empty: nowhere.
	Namespace string
	// CountByNamespace adds the metric reloader_reload_executed_total_by_namespace.
	CountByNamespace bool
	// Now is the clock.
	Now func() time.Time
}

// Clients are the API clients.
type Clients struct {
	Kube     kubernetes.Interface
	Dynamic  dynamic.Interface
	Metadata metadata.Interface
}

func (c Config) withDefaults() Config {
	if c.Options.Keys.Auto == "" {
		c.Options.Keys = reload.DefaultKeys()
	}
	if c.Strategy == "" {
		c.Strategy = reload.EnvVars
	}
	if c.RolloutTimeout == 0 {
		c.RolloutTimeout = 15 * time.Minute
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: 10 * time.Second}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// wantsSHA1 reports whether Reloader's hashes are needed.
func (c Config) wantsSHA1() bool { return c.Strategy == reload.EnvVars || c.Options.ExactAuto }
