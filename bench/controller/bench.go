// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/vaultferry/vaultferry/internal/reload"
)

const (
	// ownLabel is on every namespace that is made here.
	ownLabel = "vaultferry-bench"
	// writers is how many requests prepare the cluster at a time.
	writers       = 32
	patient       = 5 * time.Minute
	mostConsumers = 100
	// quiet is how long the controller must write nothing to count as done: it sums up left out events once a minute.
	quiet = 70 * time.Second
)

// consumers are how many Deployments read the Secrets that are changed, one Secret in each of the first namespaces.
func consumers() []int { return []int{1, 10, mostConsumers} }

type bench struct {
	options
	kube kubernetes.Interface
	log  io.Writer
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

func (b *bench) measure(ctx context.Context) (r result, err error) {
	r.Workloads, r.Secrets = b.workloads, b.workloads+len(consumers())
	b.say("creating %d Deployments and %d Secrets in %d namespaces", r.Workloads, r.Secrets, b.namespaces)
	if err := b.fill(ctx); err != nil {
		return r, err
	}
	b.say("starting the controller")
	first, err := b.startController(ctx)
	if err != nil {
		return r, err
	}
	r.First, err = b.started(ctx, first)
	if err := errors.Join(err, first.stop()); err != nil {
		return r, err
	}
	b.say("starting it anew")
	again, err := b.startController(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, again.stop()) }()
	if r.Again, err = b.started(ctx, again); err != nil {
		return r, err
	}
	for namespace, n := range consumers() {
		b.say("changing a Secret that %d Deployments read", n)
		rotated, err := b.rotate(ctx, again, namespace, n)
		if err != nil {
			return r, err
		}
		r.Rotations = append(r.Rotations, rotated)
	}
	if r.Peak, err = again.memory("VmHWM"); err != nil {
		return r, err
	}
	r.Settled, err = again.memory("VmRSS")
	return r, err
}

// started waits until the controller has noted on every workload what it reads.
func (b *bench) started(ctx context.Context, p *process) (s started, err error) {
	if err := b.eventually(ctx, "every workload to be noted", func(ctx context.Context) (bool, error) {
		return b.all(ctx, func(d *appsv1.Deployment) bool { return d.Annotations[reload.StateAnnotation] != "" })
	}); err != nil {
		return s, p.withLog(err)
	}
	if s.Requests, err = b.settled(ctx, p); err != nil {
		return s, err
	}
	s.Peak, err = p.memory("VmHWM")
	return s, err
}

// rotate changes the shared Secret of a namespace and waits until its n consumers are restarted and the controller has nothing more to do.
func (b *bench) rotate(ctx context.Context, p *process, namespace, n int) (r rotation, err error) {
	before, err := p.requests(ctx)
	if err != nil {
		return r, err
	}
	secrets := b.kube.CoreV1().Secrets(namespaceName(namespace))
	secret, err := secrets.Get(ctx, sharedSecret, metav1.GetOptions{})
	if err != nil {
		return r, err
	}
	secret.Data["password"] = []byte("rotated")
	if _, err := secrets.Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
		return r, err
	}
	if err := b.eventually(ctx, fmt.Sprintf("%d workloads to be restarted", n), func(ctx context.Context) (bool, error) {
		list, err := b.kube.AppsV1().Deployments(namespaceName(namespace)).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		restarted := 0
		for i := range list.Items {
			if list.Items[i].Annotations[reload.LastAnnotation] != "" {
				restarted++
			}
		}
		return restarted == n, nil
	}); err != nil {
		return r, p.withLog(err)
	}
	after, err := b.settled(ctx, p)
	if err != nil {
		return r, err
	}
	r.Consumers, r.Requests = n, map[string]float64{}
	for method, count := range after {
		if count > before[method] {
			r.Requests[method] = count - before[method]
		}
	}
	r.Total = total(r.Requests)
	return r, nil
}

// settled waits until the controller writes no more, and returns how many requests it has sent, by method. Watches that end after their time, and begin
// again, go on for ever.
func (b *bench) settled(ctx context.Context, p *process) (map[string]float64, error) {
	last, since := map[string]float64{}, time.Now()
	err := b.eventually(ctx, "the controller to be done", func(ctx context.Context) (bool, error) {
		now, err := p.requests(ctx)
		if err != nil {
			return false, err
		}
		if total(now)-now[http.MethodGet] != total(last)-last[http.MethodGet] {
			since = time.Now()
		}
		last = now
		return time.Since(since) > quiet, nil
	})
	return last, err
}

func (b *bench) eventually(ctx context.Context, what string, condition wait.ConditionWithContextFunc) error {
	if err := wait.PollUntilContextTimeout(ctx, time.Second/2, patient, true, condition); err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

// all reports whether all Deployments are as wanted.
func (b *bench) all(ctx context.Context, wanted func(*appsv1.Deployment) bool) (bool, error) {
	for i := range b.namespaces {
		list, err := b.kube.AppsV1().Deployments(namespaceName(i)).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for j := range list.Items {
			if !wanted(&list.Items[j]) {
				return false, nil
			}
		}
	}
	return true, nil
}

const (
	sharedSecret = "shared"
	// controllerNamespace has what the controller itself keeps.
	controllerNamespace = "vaultferry-bench-controller"
)

func namespaceName(i int) string { return fmt.Sprintf("vaultferry-bench-%d", i) }
func workloadName(i int) string  { return fmt.Sprintf("app-%d", i) }

// fill makes the namespaces, the Secrets and the Deployments.
func (b *bench) fill(ctx context.Context) error {
	names := []string{controllerNamespace}
	for i := range b.namespaces {
		names = append(names, namespaceName(i))
	}
	for _, name := range names {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{ownLabel: "true"}}}
		if _, err := b.kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	for i := range consumers() {
		if _, err := b.kube.CoreV1().Secrets(namespaceName(i)).Create(ctx, secret(sharedSecret), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range b.workloads {
		group.Go(func() error {
			namespace, nth := i%b.namespaces, i/b.namespaces
			if _, err := b.kube.CoreV1().Secrets(namespaceName(namespace)).Create(ctx, secret(workloadName(i)), metav1.CreateOptions{}); err != nil {
				return err
			}
			reads := []string{workloadName(i)}
			if shared := consumers(); namespace < len(shared) && nth < shared[namespace] {
				reads = append(reads, sharedSecret)
			}
			_, err := b.kube.AppsV1().Deployments(namespaceName(namespace)).Create(ctx, deployment(workloadName(i), reads), metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}

// secret has about as much in it as one with a certificate.
func secret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{
		"username": []byte(name), "password": []byte("first"), "tls.crt": []byte(strings.Repeat("c", 3<<10)), "tls.key": []byte(strings.Repeat("k", 1<<10)),
	}}
}

// deployment has no pods, and as much in it as those of real clusters.
func deployment(name string, secrets []string) *appsv1.Deployment {
	labels := map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "shop"}
	var env []corev1.EnvVar
	for i, secret := range secrets {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("PASSWORD_%d", i), ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: "password"},
		}})
	}
	for i := range 10 {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", i), Value: strings.Repeat("v", 40)})
	}
	container := func(name string) corev1.Container {
		return corev1.Container{Name: name, Image: "registry.example/team/" + name + ":1.0.0", Env: env}
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: map[string]string{"reloader.stakater.com/auto": "true"}},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{container("app"), container("sidecar")}},
			},
		},
	}
}

// clean deletes what was made, and waits until it is gone.
func (b *bench) clean(ctx context.Context) error {
	namespaces, mine := b.kube.CoreV1().Namespaces(), metav1.ListOptions{LabelSelector: ownLabel + "=true"}
	list, err := namespaces.List(ctx, mine)
	if err != nil || len(list.Items) == 0 {
		return err
	}
	b.say("deleting them")
	for i := range list.Items {
		if err := namespaces.Delete(ctx, list.Items[i].Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return b.eventually(ctx, "the namespaces to go", func(ctx context.Context) (bool, error) {
		list, err := namespaces.List(ctx, mine)
		return err == nil && len(list.Items) == 0, err
	})
}
