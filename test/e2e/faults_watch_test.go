// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// watch looks all the time at what has to hold in every fault.
type watch struct {
	f *strained

	mu sync.Mutex
	// files and mirrored are the numbers of the values last seen: by the UID of the pods that stay, and in the Secret.
	files    map[string]int64
	mirrored int64
	// looks counts how often there was something to look at.
	looks    int
	breaches []string
	// away says that the node has just been rebooted: until a file is back, it may be missing. While it is down, what is seen is from before.
	away map[string]bool
	down bool
}

func newWatch(f *strained) *watch {
	f.t.Helper()
	w := &watch{f: f, files: map[string]int64{}, away: map[string]bool{}}
	pods, err := f.kube.CoreV1().Pods(f.namespace).List(f.t.Context(), metav1.ListOptions{LabelSelector: "app=steady"})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, pod := range pods.Items {
		w.files[string(pod.UID)] = 0
	}
	return w
}

// steady are the UIDs of the pods that stay.
func (w *watch) steady() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var uids []string
	for uid := range w.files {
		uids = append(uids, uid)
	}
	return uids
}

// reboots is called before the node goes down; the returned function, when it is up again.
func (w *watch) reboots() (up func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for uid := range w.files {
		w.away[uid] = true
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.down = false
	}
}

// oldest is the number of the oldest value that is anywhere.
func (w *watch) oldest() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	number := w.mirrored
	for uid, n := range w.files {
		if w.away[uid] {
			return 0
		}
		number = min(number, n)
	}
	return number
}

// report fails a test for what did not hold since the last report, and says what was looked at.
func (w *watch) report(t *testing.T) string {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, breach := range w.breaches {
		t.Error(breach)
	}
	state := fmt.Sprintf("looked %d times: %d breaches", w.looks, len(w.breaches))
	w.looks, w.breaches = 0, nil
	return state
}

func (w *watch) breach(format string, args ...any) {
	w.breaches = append(w.breaches, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (w *watch) run(ctx context.Context) {
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		w.lookAtFiles()
		w.lookAtSecret(ctx)
		w.lookAtStarts(ctx)
	}
}

func (w *watch) lookAtFiles() {
	pid, err := w.f.processOf("kubelet")
	if err != nil || pid == 0 {
		return // it is being killed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid, before := range w.files {
		path := filepath.Join(fmt.Sprintf("/proc/%d/root/var/lib/kubelet/pods", pid), uid, "volumes/kubernetes.io~csi/kv/mount/d/value")
		content, err := os.ReadFile(path)
		if _, gone := os.Stat(fmt.Sprintf("/proc/%d/root/var/lib/kubelet", pid)); err != nil && (gone != nil || w.away[uid]) {
			continue // with the process through which we look, or not back yet
		}
		w.looks++
		number, whole := numberOf(string(content))
		switch {
		case err != nil:
			w.breach("a file is away: %v", err)
		case whole != nil:
			w.breach("a file is not whole: %v", whole)
		case number < before:
			w.breach("a file went back from value %d to %d", before, number)
		default:
			w.files[uid] = number
			if !w.down {
				delete(w.away, uid)
			}
		}
	}
}

func (w *watch) lookAtSecret(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	secret, err := w.f.kube.CoreV1().Secrets(w.f.namespace).Get(ctx, "app-db", metav1.GetOptions{})
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case apierrors.IsNotFound(err):
		w.breach("the Secret is lost")
	case err != nil: // the API server is what is broken
	default:
		number, whole := numberOf(string(secret.Data["DB_CONNECTION_STRING"]))
		w.looks++
		if whole != nil {
			w.breach("the Secret is not whole: %v", whole)
		} else if number < w.mirrored {
			w.breach("the Secret went back from value %d to %d", w.mirrored, number)
		} else {
			w.mirrored = number
		}
	}
}

// lookAtStarts finds pods whose init container saw no file: /ls ends with 1 then, what a kill leaves is another code.
func (w *watch) lookAtStarts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	pods, err := w.f.kube.CoreV1().Pods(w.f.namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pod := range pods.Items {
		if !strings.HasPrefix(pod.Name, "comes-") {
			continue
		}
		for _, status := range pod.Status.InitContainerStatuses {
			w.looks++
			for _, ended := range []int32{exitCode(status.State.Terminated), exitCode(status.LastTerminationState.Terminated)} {
				if ended == 1 {
					w.breach("pod %s started without its files", pod.Name)
				}
			}
		}
	}
}

func exitCode(ended *corev1.ContainerStateTerminated) int32 {
	if ended == nil {
		return 0
	}
	return ended.ExitCode
}
