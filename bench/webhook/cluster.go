// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	// ownLabel is on every namespace that is made here.
	ownLabel = "vaultferry-bench"
	// writers is how many requests prepare the cluster at a time.
	writers = 32
	patient = 5 * time.Minute
)

type bench struct {
	options
	// labels are those of the namespaces.
	labels map[string]string
	// clients have a connection each.
	clients []kubernetes.Interface
	log     io.Writer
}

func (b *bench) core() corev1client.CoreV1Interface { return b.clients[0].CoreV1() }

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

func (b *bench) measure(ctx context.Context) (r result, err error) {
	r.Accounts, r.Pods = b.accounts, b.pods
	if err := b.restart(ctx); err != nil {
		return r, err
	}
	idle, err := b.sample(ctx)
	if err != nil {
		return r, err
	}
	r.Idle, r.Replicas = idle.memory, idle.replicas
	b.say("creating %d ServiceAccounts in %d namespaces", b.accounts, b.namespaces)
	if err := b.fill(ctx); err != nil {
		return r, err
	}
	b.say("starting the webhook anew")
	if err := b.restart(ctx); err != nil {
		return r, err
	}
	before, err := b.sample(ctx)
	if err != nil {
		return r, err
	}
	r.Synced, r.Peak = before.memory, before.memory
	b.say("creating %d pods", b.pods)
	watching, stop := context.WithCancel(ctx)
	peak := make(chan int64, 1)
	go func() { peak <- b.peak(watching) }()
	began := time.Now()
	r.Retries, err = b.burst(ctx)
	r.Created = time.Since(began).Seconds()
	stop()
	r.Peak = max(r.Peak, <-peak)
	if err != nil {
		return r, err
	}
	after, err := b.sample(ctx)
	if err != nil {
		return r, err
	}
	r.Peak = max(r.Peak, after.memory)
	r.P50, r.P99 = before.percentile(after, 0.5), before.percentile(after, 0.99)
	r.Mutated, err = b.mutated(ctx)
	return r, err
}

// restart replaces all pods of the webhook at once, and waits until the new ones are ready.
func (b *bench) restart(ctx context.Context) error {
	pods := b.core().Pods(b.namespace)
	old, err := pods.List(ctx, metav1.ListOptions{LabelSelector: b.selector})
	if err != nil {
		return err
	}
	if len(old.Items) == 0 {
		return fmt.Errorf("no pod in namespace %s has the labels %s: install the chart with webhook.enabled=true", b.namespace, b.selector)
	}
	gone := map[string]bool{}
	for i := range old.Items {
		gone[old.Items[i].Name] = true
		if err := pods.Delete(ctx, old.Items[i].Name, metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	return eventually(ctx, "the webhook's new pods to be ready", func(ctx context.Context) (bool, error) {
		list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: b.selector})
		if err != nil {
			return false, err
		}
		ready := 0
		for i := range list.Items {
			if gone[list.Items[i].Name] {
				return false, nil
			}
			for _, condition := range list.Items[i].Status.Conditions {
				if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		return ready == len(old.Items), nil
	})
}

func eventually(ctx context.Context, what string, condition wait.ConditionWithContextFunc) error {
	if err := wait.PollUntilContextTimeout(ctx, time.Second/5, patient, true, condition); err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

func namespaceName(i int) string { return fmt.Sprintf("vaultferry-bench-%d", i) }
func accountName(i int) string   { return fmt.Sprintf("app-%d", i) }

// fill makes the namespaces and the ServiceAccounts, each with an identity.
func (b *bench) fill(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range b.namespaces {
		group.Go(func() error {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceName(i), Labels: b.labels}}
			_, err := b.core().Namespaces().Create(groupCtx, namespace, metav1.CreateOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	group, groupCtx = errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range b.accounts {
		group.Go(func() error {
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: accountName(i), Annotations: map[string]string{
				"azure.workload.identity/client-id": fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1),
				// What makes ServiceAccounts in real clusters leaves more in their metadata than the identity.
				"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": namespaceName(i % b.namespaces),
			}, Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "shop", "helm.sh/chart": "shop-1.0.0"}}}
			_, err := b.core().ServiceAccounts(namespaceName(i%b.namespaces)).Create(groupCtx, account, metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}

// pod is one that is never scheduled.
func (b *bench) pod(i int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", i), Labels: map[string]string{"azure.workload.identity/use": "true"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: accountName(i % b.accounts), SchedulingGates: []corev1.PodSchedulingGate{{Name: "vaultferry.io/bench"}},
			InitContainers: []corev1.Container{{Name: "migrate", Image: "example"}},
			Containers:     []corev1.Container{{Name: "app", Image: "example"}, {Name: "sidecar", Image: "example"}},
		},
	}
}

// burst creates all pods at once. The API server bounds by itself how many it admits at a time and tells the others to come again.
func (b *bench) burst(ctx context.Context) (retries int64, err error) {
	var again atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	errs := make([]error, b.pods)
	for i := range b.pods {
		all.Go(func() {
			<-start
			pod := b.pod(i)
			namespace := namespaceName((i % b.accounts) % b.namespaces)
			errs[i] = eventually(ctx, "pod "+pod.Name, func(ctx context.Context) (bool, error) {
				_, err := b.clients[i%len(b.clients)].CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
				// An internal error is that the webhook did not answer in time.
				if apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsInternalError(err) {
					again.Add(1)
					return false, nil
				}
				return err == nil, err
			})
		})
	}
	close(start)
	all.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) > 0 {
		return again.Load(), fmt.Errorf("%d pods could not be created, the first: %w", len(errs), errs[0])
	}
	return again.Load(), nil
}

// mutated counts the pods whose containers all have the token.
func (b *bench) mutated(ctx context.Context) (count int, err error) {
	for i := range b.namespaces {
		pods, err := b.core().Pods(namespaceName(i)).List(ctx, metav1.ListOptions{})
		if err != nil {
			return 0, err
		}
		for j := range pods.Items {
			if hasToken(&pods.Items[j].Spec) {
				count++
			}
		}
	}
	return count, nil
}

func hasToken(spec *corev1.PodSpec) bool {
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			found := false
			for _, e := range list[i].Env {
				found = found || e.Name == "AZURE_FEDERATED_TOKEN_FILE" && e.Value != ""
			}
			if !found {
				return false
			}
		}
	}
	return true
}

// clean deletes what was made, and waits until it is gone.
func (b *bench) clean(ctx context.Context) error {
	namespaces := b.core().Namespaces()
	mine := metav1.ListOptions{LabelSelector: ownLabel + "=true"}
	list, err := namespaces.List(ctx, mine)
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		return nil
	}
	b.say("deleting them")
	for i := range list.Items {
		if err := namespaces.Delete(ctx, list.Items[i].Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return eventually(ctx, "the namespaces to go", func(ctx context.Context) (bool, error) {
		list, err := namespaces.List(ctx, mine)
		return err == nil && len(list.Items) == 0, err
	})
}
