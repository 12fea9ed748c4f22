// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

// exec runs a command in the first container of a pod, as "kubectl exec" does. What polls a pod calls it, so it starts no process of its own:
// a kubectl is a third of a second of CPU.
func (w *world) exec(stdin []byte, namespace, pod string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	request := w.kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: args, Stdin: stdin != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(w.config, "GET", request.URL().String())
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	options := remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr}
	if stdin != nil {
		options.Stdin = bytes.NewReader(stdin)
	}
	if err := executor.StreamWithContext(ctx, options); err != nil {
		return nil, fmt.Errorf("%s/%s: %v: %w\n%s", namespace, pod, args, err, stderr.String())
	}
	return stdout.Bytes(), nil
}

// podOfApp is the name of a running pod of the system's namespace, by its label "app".
func (w *world) podOfApp(app string) (string, error) {
	list, err := w.kube.CoreV1().Pods(system).List(context.Background(), metav1.ListOptions{
		LabelSelector: "app=" + app, FieldSelector: "status.phase=Running",
	})
	if err != nil {
		return "", err
	}
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			return pod.Name, nil
		}
	}
	return "", fmt.Errorf("no pod of %s runs", app)
}
