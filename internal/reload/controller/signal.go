// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// ExecFunc runs a command in a container of a pod. Its error says what the command wrote.
type ExecFunc func(ctx context.Context, namespace, pod, container string, command ...string) error

// signalDelay is how long the files of the pods may take to follow. Kubelet brings changes of Secrets and ConfigMaps when it next syncs a
// pod; the files of a class have changed by the time the pod status says so.
func (c *Controller) signalDelay(w *workload, plan reload.Plan) time.Duration {
	for _, change := range plan.Changes {
		for _, r := range w.References {
			if r.Source == change.Source && r.Way == reload.Volume && r.Source.Kind != reload.Class {
				return c.config.SignalDelay
			}
		}
	}
	return 0
}

// holdSignal waits until every pod has the new files.
func (c *Controller) holdSignal(w *workload, plan reload.Plan) *hold {
	for _, change := range plan.Changes {
		if change.Source.Kind == reload.Class && !c.index.settled(w.Workload.Namespace, change.Source) {
			return &hold{why: "not every pod has the new files", after: pollInterval}
		}
	}
	return nil
}

// performSignal tells every running pod of the workload, then records that. A controller that is killed between the two tells the pods again: a
// signal means "read again", so that twice is as good as once.
func (c *Controller) performSignal(ctx context.Context, w *workload, pace reload.Pace, edit reload.Edit) (string, time.Duration, error) {
	if pace.SignalName == "" && pace.Endpoint == nil {
		return "", 0, fmt.Errorf("%s is signal, and neither %s nor %s says how; set one of them", reload.ModeAnnotation, reload.SignalAnnotation, reload.EndpointAnnotation)
	}
	if pace.SignalName != "" && c.config.Exec == nil {
		return "", 0, fmt.Errorf("%s needs the right to run commands in pods; install the chart with reload.execSignals=true, or set %s",
			reload.SignalAnnotation, reload.EndpointAnnotation)
	}
	pods, err := c.config.Clients.Kube.CoreV1().Pods(w.Workload.Namespace).List(ctx, metav1.ListOptions{LabelSelector: w.selector})
	if err != nil {
		return "", 0, fmt.Errorf("listing the pods of %s: %w", idOf(w), err)
	}
	var failures []error
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			failures = append(failures, c.signalPod(ctx, w, pod, pace))
		}
	}
	if err := errors.Join(failures...); err != nil {
		return "", 0, err
	}
	err = c.patch(ctx, w, edit)
	return "signal", 0, err
}

func (c *Controller) signalPod(ctx context.Context, w *workload, pod *corev1.Pod, pace reload.Pace) error {
	if pace.SignalName != "" {
		// Process 1 of the first container. Its image needs a command kill.
		err := c.config.Exec(ctx, pod.Namespace, pod.Name, w.Containers[0], "kill", "-s", strings.TrimPrefix(pace.SignalName, "SIG"), "1")
		if err != nil {
			return fmt.Errorf("sending %s to pod %s: %w", pace.SignalName, pod.Name, err)
		}
	}
	if pace.Endpoint == nil {
		return nil
	}
	if pod.Status.PodIP == "" {
		return fmt.Errorf("pod %s has no address yet", pod.Name)
	}
	u := *pace.Endpoint
	u.Host = net.JoinHostPort(pod.Status.PodIP, u.Port())
	if err := c.post(ctx, u.String(), "application/json", "{}"); err != nil {
		return fmt.Errorf("telling pod %s: %w", pod.Name, err)
	}
	return nil
}

// post sends a body and takes any status below 300 for success.
func (c *Controller) post(ctx context.Context, url, contentType, body string) error {
	return post(ctx, c.config.HTTP, url, contentType, body)
}

func post(ctx context.Context, client *http.Client, url, contentType, body string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return errors.New("the URL is not one") // it may hold a token
	}
	request.Header.Set("Content-Type", contentType)
	response, err := client.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}
