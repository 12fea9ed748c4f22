// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vaultferry/vaultferry/internal/reload"
)

const (
	// tellers is how many pods of a workload are told at once.
	tellers = 16
	// tellTimeout bounds the telling of one pod, and tellingTime that of all pods in one look. Those for whom there is no time are told in the next look.
	tellTimeout = 5 * time.Second
	tellingTime = 20 * time.Second
	// toldFailures is how many failures are told of one by one.
	toldFailures = 3
)

// errNoTime is why a pod is left to the next look.
var errNoTime = errors.New("no time was left")

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
	pods, err := c.podsOf(ctx, w)
	if err != nil {
		return "", 0, err
	}
	var running []*corev1.Pod
	for i := range pods {
		if pod := &pods[i]; pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			running = append(running, pod)
		}
	}
	if err := c.tellPods(ctx, w, running, pace, edit.Annotations[reload.StateAnnotation]); err != nil {
		return "", 0, err
	}
	err = c.patch(ctx, w, edit)
	return "signal", 0, err
}

// podsOf lists the pods of a workload. To the API server no selector means all pods of the namespace, which are others' too.
func (c *Controller) podsOf(ctx context.Context, w *workload) ([]corev1.Pod, error) {
	if w.selector == "" {
		return nil, fmt.Errorf("%s has no selector that tells its pods from others", idOf(w))
	}
	pods, err := c.config.Clients.Kube.CoreV1().Pods(w.Workload.Namespace).List(ctx, metav1.ListOptions{LabelSelector: w.selector})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s: %w", idOf(w), err)
	}
	return pods.Items, nil
}

// triedPods are the pods of a workload that were told of a state, true, or tried in vain, false.
type triedPods struct {
	state string
	pods  map[types.UID]bool
}

// triedFor returns which pods of a workload were tried for a state. Only the look at the workload changes it, and there is one at a time.
func (c *Controller) triedFor(key id, state string) map[types.UID]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried[key].state != state || c.tried[key].pods == nil {
		c.tried[key] = triedPods{state: state, pods: map[types.UID]bool{}}
	}
	return c.tried[key].pods
}

// tellPods tells those pods that were not told of the state yet: first those that have not been tried, so that pods that do not answer keep no others.
func (c *Controller) tellPods(ctx context.Context, w *workload, pods []*corev1.Pod, pace reload.Pace, state string) error {
	tried := c.triedFor(idOf(w), state)
	pods = slices.DeleteFunc(pods, func(pod *corev1.Pod) bool { return tried[pod.UID] })
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int {
		_, vainA := tried[a.UID]
		_, vainB := tried[b.UID]
		switch {
		case vainA == vainB:
			return 0
		case vainA:
			return 1
		}
		return -1
	})
	var failures []error
	for i, err := range c.tellAtOnce(ctx, w, pods, pace) {
		if !errors.Is(err, errNoTime) {
			tried[pods[i].UID] = err == nil
		}
		if err != nil {
			failures = append(failures, err)
		}
	}
	if n := len(failures) - toldFailures; n > 0 {
		failures = append(failures[:toldFailures], fmt.Errorf("and %d more pods", n))
	}
	return errors.Join(failures...)
}

// tellAtOnce tells pods, a few at once, and returns what came of each.
func (c *Controller) tellAtOnce(ctx context.Context, w *workload, pods []*corev1.Pod, pace reload.Pace) []error {
	ctx, cancel := context.WithTimeout(ctx, tellingTime)
	defer cancel()
	results, next := make([]error, len(pods)), make(chan int)
	var telling sync.WaitGroup
	for range min(tellers, len(pods)) {
		telling.Go(func() {
			for i := range next {
				results[i] = c.signalPod(ctx, w, pods[i], pace)
			}
		})
	}
	for i := range pods {
		next <- i
	}
	close(next)
	telling.Wait()
	return results
}

func (c *Controller) signalPod(ctx context.Context, w *workload, pod *corev1.Pod, pace reload.Pace) error {
	if deadline, bounded := ctx.Deadline(); bounded && time.Until(deadline) < tellTimeout {
		return fmt.Errorf("telling pod %s: %w", pod.Name, errNoTime)
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	if pace.SignalName != "" {
		// Process 1 of the first container. Its image needs a command kill.
		err := c.config.Exec(ctx, pod.Namespace, pod.Name, firstContainer(w, pod), "kill", "-s", strings.TrimPrefix(pace.SignalName, "SIG"), "1")
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

// firstContainer is that of the template: pods may have got others in front of it. A Rollout with its template elsewhere has none, "" chooses the pod's own.
func firstContainer(w *workload, pod *corev1.Pod) string {
	switch {
	case len(w.Containers) > 0:
		return w.Containers[0]
	case len(pod.Spec.Containers) > 0:
		return pod.Spec.Containers[0].Name
	}
	return ""
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
