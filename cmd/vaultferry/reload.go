// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_driver && !vaultferry_provider && !vaultferry_webhook

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
	_ "time/tzdata" // the image has no time zones of its own, which maintenance windows name

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/vaultferry/vaultferry/internal/reload/controller"
	"github.com/vaultferry/vaultferry/internal/telemetry"
)

const (
	// keySecret holds the key of the hashes that stand on workloads.
	keySecret, keyName = "vaultferry-reload-key", "key" //nolint:gosec // names, and not the key
	keyBytes           = 32
	// metaInfo is the ConfigMap in which Reloader tells what it is.
	metaInfo = "reloader-meta-info"
)

// newReload returns the reload controller.
func newReload(
	ctx context.Context, f *reloadFlags, api *rest.Config, registry prometheus.Registerer, env environment, log *slog.Logger,
) (*controller.Controller, error) {
	config, err := f.config(env)
	if err != nil {
		return nil, err
	}
	config.Log, config.Metrics = log, controller.NewMetrics(registry)
	api = rest.CopyConfig(api)
	api.Wrap(func(next http.RoundTripper) http.RoundTripper { return counted{next, config.Metrics} })
	if config.Clients, err = clientsFor(api); err != nil {
		return nil, err
	}
	config.Namespace = ownNamespace(env)
	if config.Key, err = hashKey(ctx, config, log); err != nil {
		return nil, err
	}
	if f.execSignals {
		config.Exec = execIn(api, config.Clients.Kube)
	}
	tellMetaInfo(ctx, f, config, telemetry.NewBuild(version), env, log)
	return controller.New(config)
}

// ownNamespace is the namespace of this process, "" where it does not run in a pod of a chart.
func ownNamespace(env environment) string {
	return cmp.Or(env.getenv("POD_NAMESPACE"), env.getenv("RELOADER_NAMESPACE"))
}

// clientsFor returns the API clients. The types that Kubernetes has built in come as protobuf, which costs less.
func clientsFor(api *rest.Config) (controller.Clients, error) {
	builtIn := rest.CopyConfig(api)
	builtIn.AcceptContentTypes, builtIn.ContentType = "application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf"
	var clients controller.Clients
	kube, err := kubernetes.NewForConfig(builtIn)
	if err != nil {
		return clients, fmt.Errorf("making the API client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(api)
	if err != nil {
		return clients, fmt.Errorf("making the API client: %w", err)
	}
	meta, err := metadata.NewForConfig(api)
	if err != nil {
		return clients, fmt.Errorf("making the API client: %w", err)
	}
	return controller.Clients{Kube: kube, Dynamic: dyn, Metadata: meta}, nil
}

// counted counts requests to the API server.
type counted struct {
	next    http.RoundTripper
	metrics *controller.Metrics
}

// RoundTrip implements [http.RoundTripper].
func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	response, err := c.next.RoundTrip(r)
	code := "<error>"
	if err == nil {
		code = fmt.Sprint(response.StatusCode)
	}
	c.metrics.Requested(code, r.Method, r.URL.Host, time.Since(began))
	return response, err
}

// hashKey returns the key of the hashes, which it makes at the first start.
func hashKey(ctx context.Context, config controller.Config, log *slog.Logger) ([]byte, error) {
	// Without a Secret of its own, as under Reloader's own rights, hashes are as good as Reloader's: they can be guessed against.
	fallback := []byte("vaultferry")
	if config.Namespace == "" || config.DryRun {
		return fallback, nil
	}
	secrets := config.Clients.Kube.CoreV1().Secrets(config.Namespace)
	secret, err := secrets.Get(ctx, keySecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		key := make([]byte, keyBytes)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("making a key: %w", err)
		}
		secret, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: keySecret, Namespace: config.Namespace}, Data: map[string][]byte{keyName: key},
		}, metav1.CreateOptions{FieldManager: "vaultferry"})
		if apierrors.IsAlreadyExists(err) {
			secret, err = secrets.Get(ctx, keySecret, metav1.GetOptions{})
		}
	}
	switch {
	case apierrors.IsForbidden(err):
		log.WarnContext(ctx, "Hashes on workloads have no key of their own: give the controller's service account the Role of the chart", slog.Any("error", err))
		return fallback, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s/%s: %w", config.Namespace, keySecret, err)
	case len(secret.Data[keyName]) < keyBytes:
		return nil, fmt.Errorf("key %q of Secret %s/%s is too short; delete the Secret, and workloads are seen for the first time again", keyName, config.Namespace, keySecret)
	}
	return secret.Data[keyName], nil
}

// execIn runs commands in pods.
func execIn(api *rest.Config, kube kubernetes.Interface) controller.ExecFunc {
	return func(ctx context.Context, namespace, pod, container string, command ...string) error {
		request := kube.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod).SubResource("exec").
			VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stderr: true}, scheme.ParameterCodec)
		executor, err := remotecommand.NewWebSocketExecutor(api, http.MethodGet, request.URL().String())
		if err != nil {
			return err
		}
		var stderr bytes.Buffer
		if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stderr: &stderr}); err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
		}
		return nil
	}
}

// tellMetaInfo writes the ConfigMap in which Reloader tells what it is. It is told for people; nothing depends on it.
func tellMetaInfo(ctx context.Context, f *reloadFlags, config controller.Config, build telemetry.Build, env environment, log *slog.Logger) {
	if config.Namespace == "" || config.DryRun {
		return
	}
	text := func(value any) string {
		encoded, err := json.Marshal(value)
		if err != nil {
			return ""
		}
		return string(encoded)
	}
	labels := map[string]string{"reloader.stakater.com/meta-info": "reloader"}
	data := map[string]string{
		"buildInfo": text(build),
		"reloaderOptions": text(map[string]any{
			"autoReloadAll": f.autoReloadAll, "reloadStrategy": config.Strategy, "reloadOnCreate": f.onCreate, "reloadOnDelete": f.onDelete, "autoMode": f.autoMode,
			"isArgoRollouts": f.argoRollouts, "enableCSIIntegration": f.classes, "namespacesToIgnore": f.namespacesToIgnore, "resourcesToIgnore": f.resourcesToIgnore,
		}),
		"deploymentInfo": text(map[string]string{"name": env.getenv("RELOADER_DEPLOYMENT_NAME"), "namespace": config.Namespace}),
	}
	maps := config.Clients.Kube.CoreV1().ConfigMaps(config.Namespace)
	wanted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: metaInfo, Namespace: config.Namespace, Labels: labels}, Data: data}
	_, err := maps.Update(ctx, wanted, metav1.UpdateOptions{FieldManager: "vaultferry"})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(ctx, wanted, metav1.CreateOptions{FieldManager: "vaultferry"})
	}
	if err != nil {
		log.WarnContext(ctx, "Writing the ConfigMap "+metaInfo, slog.Any("error", err))
	}
}

// reloadHandler serves Reloader's /metrics and /live. A process that has lost the lease ends, and answers nothing.
func reloadHandler(metrics http.Handler, c *controller.Controller) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", metrics)
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		// Who waits for the lease is ready to take over.
		for kind, why := range c.Unavailable() {
			fmt.Fprintf(w, "not watching %s: %s\n", kind, why)
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}
