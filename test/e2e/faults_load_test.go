// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	steadyPods = 3
	// length is that of a value, for which a torn write would have many places.
	length = 12_000
)

// strained is a scene under load: pods that stay, pods that come and go, and a secret that changes, mounted and mirrored.
type strained struct {
	*scene
	watch *watch
	// newest is the number of the last value that the vault has taken.
	newest *atomic.Int64
	// baseline is what driver and provider had open before the first fault.
	baseline map[string]map[string]float64
}

func newStrained(t *testing.T, w *world) *strained {
	t.Helper()
	f := &strained{scene: newSceneIn(t, w, "faults"), newest: new(atomic.Int64)}
	f.grant()
	f.federate(federation{})
	if err := f.change(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.objects = "array:\n  - |\n    objectName: sync-faults\n    objectAlias: d/value\n    objectType: secret\n"
	f.secretObjects = "- secretName: app-db\n  type: Opaque\n  data:\n  - {objectName: d/value, key: DB_CONNECTION_STRING}"
	f.applyClass()
	f.apply(strings.Replace(deployment("steady", f.podSpec("")), "\nspec:\n", fmt.Sprintf("\nspec:\n  replicas: %d\n", steadyPods), 1))
	f.eventually("the pods that stay", 3*time.Minute, func() (bool, string) {
		d, err := f.kube.AppsV1().Deployments(f.namespace).Get(t.Context(), "steady", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == steadyPods, fmt.Sprint(err)
	})
	f.watch = newWatch(f)
	f.baseline = f.open()

	ctx, stop := context.WithCancel(context.Background()) //nolint:usetesting // the load ends in the cleanup
	var load sync.WaitGroup
	load.Go(func() { f.watch.run(ctx) })
	load.Go(func() { f.changeAllTheTime(ctx) })
	load.Go(func() { f.comeAndGo(ctx) })
	t.Cleanup(func() {
		stop()
		load.Wait()
	})
	return f
}

// in is the same scene, reporting to a subtest.
func (f *strained) in(t *testing.T) *strained {
	scene := *f.scene
	scene.t = t
	return &strained{scene: &scene, watch: f.watch, newest: f.newest, baseline: f.baseline}
}

// value is the one with the given number: whoever reads a part of it, or two, knows.
func value(number int64) string {
	head := fmt.Sprintf("%s%08d-", syncedCanary, number)
	return head + strings.Repeat(string(rune('a'+number%26)), length-len(head))
}

// numberOf is the number of a whole value.
func numberOf(content string) (int64, error) {
	var number int64
	if _, err := fmt.Sscanf(strings.TrimPrefix(content, syncedCanary), "%08d-", &number); err != nil || content != value(number) {
		return 0, fmt.Errorf("%d bytes that are no whole value", len(content))
	}
	return number, nil
}

// change gives the secret its next value.
func (f *strained) change(ctx context.Context) error {
	next := f.newest.Load() + 1
	if _, err := f.az([]byte(value(next)), "keyvault", "secret", "set", "--vault-name", vault, "--name", "sync-faults", "--file", "-"); err != nil {
		return err
	}
	f.newest.Store(next)
	return ctx.Err()
}

func (f *strained) changeAllTheTime(ctx context.Context) {
	for every := time.NewTicker(3 * time.Second); ; {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			// In a fault it may fail: then the value is tried again.
			_ = f.change(ctx)
		}
	}
}

// comeAndGo starts pods and ends the oldest, so that there are always some that start and some that end.
func (f *strained) comeAndGo(ctx context.Context) {
	const kept = 3
	pods := f.kube.CoreV1().Pods(f.namespace)
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("comes-%d", i)
		// An init container without its file fails, and its pod shows that it did.
		manifest := f.pod(name, `initContainers:
  - name: look
    image: `+f.appImage+`
    imagePullPolicy: Never
    command: [/ls, /mnt/secrets-store/d]
    volumeMounts:
    - {name: kv, mountPath: /mnt/secrets-store, readOnly: true}`)
		_ = f.applier.apply(ctx, f.namespace, manifest)
		for started := time.Now(); time.Since(started) < 20*time.Second && ctx.Err() == nil; time.Sleep(300 * time.Millisecond) {
			if pod, err := pods.Get(ctx, name, metav1.GetOptions{}); err == nil && pod.Status.Phase == corev1.PodRunning {
				break
			}
		}
		_ = pods.Delete(ctx, fmt.Sprintf("comes-%d", i-kept), metav1.DeleteOptions{})
	}
}

// root is the node's file system.
func (f *strained) root() string {
	f.t.Helper()
	return fmt.Sprintf("/proc/%d/root", f.awaitProcess("kubelet"))
}

// steadyVolumes are the mounts of the pods that stay.
func (f *strained) steadyVolumes() []string {
	f.t.Helper()
	var volumes []string
	for _, uid := range f.watch.steady() {
		volumes = append(volumes, filepath.Join(f.root(), "var/lib/kubelet/pods", uid, "volumes/kubernetes.io~csi/kv/mount"))
	}
	return volumes
}

func (f *strained) awaitProcess(program string) (pid int) {
	f.t.Helper()
	f.eventually("a process of "+program, time.Minute, func() (bool, string) {
		var err error
		pid, err = f.processOf(program)
		return err == nil && pid != 0, fmt.Sprint(err)
	})
	return pid
}

// converges waits until the newest value is in every file and in the Secret, and a new pod starts with it.
func (f *strained) converges() {
	f.t.Helper()
	want := f.newest.Load()
	f.eventually(fmt.Sprintf("every file and the Secret to have value %d or a later one", want), 4*time.Minute, func() (bool, string) {
		saw := f.watch.oldest()
		return saw >= want, fmt.Sprint(saw)
	})
	name := fmt.Sprintf("after-%d", time.Now().UnixNano())
	f.eventually("a new pod to be taken", time.Minute, func() (bool, string) {
		err := f.applier.apply(f.t.Context(), f.namespace, f.pod(name, ""))
		return err == nil, fmt.Sprint(err)
	})
	f.awaitRunning(name)
	content := f.inPod(name, "cat", "/mnt/secrets-store/d/value")
	if number, err := numberOf(content); err != nil || number < want {
		f.t.Errorf("a new pod has value %d, not %d: %v", number, want, err)
	}
	if err := f.kube.CoreV1().Pods(f.namespace).Delete(f.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		f.t.Error(err)
	}
}

// slack is what a process may hold more than before the first fault, for what is just under way.
func slack() map[string]float64 {
	return map[string]float64{"go_goroutines": 25, "process_open_fds": 25, "process_resident_memory_bytes": 16 << 20}
}

// open is how much driver and provider hold, by metric and process.
func (f *strained) open() map[string]map[string]float64 {
	f.t.Helper()
	held := map[string]map[string]float64{}
	for name := range slack() {
		held[name] = map[string]float64{}
		for app, port := range map[string]string{"secrets-store-csi-driver": "8095", "secrets-store-provider-azure": "8898"} {
			held[name][app] = f.metric(app, port, name)
		}
	}
	return held
}

// nothingLeft waits until driver and provider hold no more than before the first fault, or hardly more, and the node has no
// mount of a pod that is gone.
func (f *strained) nothingLeft() {
	f.t.Helper()
	f.eventually("driver and provider to let go of what they held", 2*time.Minute, func() (bool, string) {
		for name, processes := range f.open() {
			for app, held := range processes {
				if before := f.baseline[name][app]; held > before+slack()[name] {
					return false, fmt.Sprintf("%s of %s is %v, was %v", name, app, held, before)
				}
			}
		}
		return true, ""
	})
	f.eventually("mounts of pods that are gone to go", 2*time.Minute, func() (bool, string) {
		pods, err := f.kube.CoreV1().Pods(f.namespace).List(f.t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		known := map[string]bool{}
		for _, pod := range pods.Items {
			known[string(pod.UID)] = true
		}
		mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", f.awaitProcess("kubelet")))
		if err != nil {
			return false, err.Error()
		}
		for line := range strings.Lines(string(mounts)) {
			uid, ok := podOfMount(line)
			if ok && !known[uid] {
				return false, line
			}
		}
		return true, ""
	})
}

// podOfMount is the UID of the pod whose class is mounted, from a line of /proc/mounts.
func podOfMount(line string) (uid string, ok bool) {
	_, rest, ok := strings.Cut(line, "/kubelet/pods/")
	uid, rest, _ = strings.Cut(rest, "/")
	return uid, ok && strings.HasPrefix(rest, "volumes/kubernetes.io~csi/kv/mount ")
}
