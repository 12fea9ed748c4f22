// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/kube"
)

// pollInterval is how often a rotation looks at the pod statuses besides what its watch tells: a watch may end at any time.
const pollInterval = 2 * time.Second

// Progress is how far a rotation is.
type Progress struct {
	// Mounts is how many volumes show the class, Done how many have fetched their objects since the request.
	Mounts int `json:"mounts"`
	Done   int `json:"done"`
	// Changed is how many of the done have another content than before.
	Changed int `json:"changed"`
	// Waiting are the mounts that are not done, those that failed with their reason.
	Waiting []Mount `json:"waiting,omitempty"`
}

// Rotation is a request to fetch the objects of a class again.
type Rotation struct {
	client          *kube.Client
	namespace, name string
	// Request is the value of the annotation.
	Request string
	// before is when each mount's content had changed before the request.
	before map[string]*metav1.Time
}

// rotateAttempts is how often a request is made anew because the class changed meanwhile, as its status does all the time.
const rotateAttempts = 10

// Rotate asks the drivers to fetch the objects of a class again.
func Rotate(ctx context.Context, client *kube.Client, namespace, name string) (*Rotation, error) {
	for attempt := 1; ; attempt++ {
		r, err := rotate(ctx, client, namespace, name)
		if !apierrors.IsConflict(err) || attempt == rotateAttempts {
			return r, err
		}
	}
}

func rotate(ctx context.Context, client *kube.Client, namespace, name string) (*Rotation, error) {
	class, err := client.Class(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	r := &Rotation{client: client, namespace: namespace, name: name, before: map[string]*metav1.Time{}}
	statuses, err := r.statuses(ctx)
	if err != nil {
		return nil, err
	}
	last := class.Annotations[v1.RotateAnnotation]
	for i := range statuses {
		r.before[statuses[i].Name] = statuses[i].Status.LastChangeTime
		// The class may have been made anew, and know nothing of what its mounts have followed.
		if followed := statuses[i].Status.ObservedRotateRequest; last == "" || v1.RotateRequestMet(last, followed) {
			last = followed
		}
	}
	r.Request = v1.NextRotateRequest(last, time.Now())
	return r, client.AnnotateClass(ctx, class, v1.RotateAnnotation, r.Request)
}

func (r *Rotation) statuses(ctx context.Context) ([]v1.SecretProviderClassPodStatus, error) {
	all, err := r.client.Statuses(ctx, r.namespace)
	if err != nil {
		return nil, err
	}
	var ours []v1.SecretProviderClassPodStatus
	for i := range all {
		if all[i].Status.SecretProviderClassName == r.name {
			ours = append(ours, all[i])
		}
	}
	return ours, nil
}

// Wait calls tell with every progress until all mounts are done or ctx ends, and returns the last one.
func (r *Rotation) Wait(ctx context.Context, tell func(Progress)) (Progress, error) {
	last := Progress{Mounts: -1}
	for {
		changes, stop := r.watch(ctx)
		now, err := r.look(ctx)
		if err != nil {
			stop()
			return last, err
		}
		if now.Mounts != last.Mounts || now.Done != last.Done || len(now.Waiting) != len(last.Waiting) {
			tell(now)
		}
		if last = now; now.Done == now.Mounts {
			stop()
			return now, nil
		}
		select {
		case <-ctx.Done():
			stop()
			return now, ctx.Err()
		case <-changes:
		case <-time.After(pollInterval):
		}
		stop()
	}
}

// watch returns a channel that gets something when a pod status changes. Without the right to watch, the poll alone has to do.
func (r *Rotation) watch(ctx context.Context) (<-chan struct{}, func()) {
	changes := make(chan struct{}, 1)
	w, err := r.client.WatchStatuses(ctx, r.namespace)
	if err != nil {
		return changes, func() {}
	}
	go func() {
		for range w.ResultChan() {
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	}()
	return changes, w.Stop
}

func (r *Rotation) look(ctx context.Context) (Progress, error) {
	statuses, err := r.statuses(ctx)
	if err != nil {
		return Progress{}, err
	}
	p := Progress{Mounts: len(statuses)}
	for i := range statuses {
		s := &statuses[i]
		ready := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionReady)
		if !v1.RotateRequestMet(r.Request, s.Status.ObservedRotateRequest) || ready != nil && ready.Status == metav1.ConditionFalse {
			p.Waiting = append(p.Waiting, mountOf(s))
			continue
		}
		p.Done++
		if before, known := r.before[s.Name]; known && !before.Equal(s.Status.LastChangeTime) {
			p.Changed++
		}
	}
	return p, nil
}
