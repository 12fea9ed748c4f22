// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// The informer's own store has a list earlier than the index does.
func TestAKindIsKnownWhenTheIndexHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Controller{log: slog.New(slog.DiscardHandler), metrics: NewMetrics(prometheus.NewRegistry())}
		slow := make(chan struct{})
		l := listing{
			kind: "Secret", object: &corev1.Secret{},
			transform: func(object any) (any, error) { return object, nil },
			handle:    func(any, bool) { <-slow },
			list: func(context.Context, string, metav1.ListOptions) (runtime.Object, error) {
				return &corev1.SecretList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.Secret{{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "payments"}}}}, nil
			},
			watch: func(_ context.Context, _ string, o metav1.ListOptions) (watch.Interface, error) {
				if o.SendInitialEvents != nil {
					return nil, apierrors.NewBadRequest("lists are not streamed here")
				}
				return watch.NewFake(), nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		c.start(ctx, &running, l)
		time.Sleep(time.Minute)
		synctest.Wait()
		if w := c.watches[0]; !w.informer.HasSynced() || w.settled() || c.sees("Secret", "payments") {
			t.Errorf("the store has it: %v; settled: %v; seen: %v", w.informer.HasSynced(), w.settled(), c.sees("Secret", "payments"))
		}
		close(slow)
		synctest.Wait()
		if !c.watches[0].settled() || !c.sees("Secret", "payments") {
			t.Error("it is not known")
		}
		cancel()
		running.Wait()
	})
}
