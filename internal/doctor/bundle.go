// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/kube"
)

// logLines is how much of each log goes into a bundle.
const logLines = 1000

// File is a file of a support bundle.
type File struct {
	Name    string
	Content []byte
}

// Bundle writes a support bundle to w: a gzipped tar of the given files, the objects of the installation, and the logs of its pods. It holds no Secret
// and no environment variable, and what looks like a credential is blotted out. What could not be read is named in a file.
func Bundle(ctx context.Context, w io.Writer, client *kube.Client, files []File, at time.Time) error {
	c, err := Look(ctx, client)
	if err != nil {
		return err
	}
	c.trim()
	add := func(name string, object any) {
		content, err := yaml.Marshal(object)
		if err != nil {
			content = []byte(err.Error())
		}
		files = append(files, File{name, content})
	}
	add("csidriver.yaml", c.csiDriver.value)
	add("csinodes.yaml", c.csiNodes.value)
	add("daemonsets.yaml", c.daemonSets.value)
	add("pods.yaml", c.pods.value)
	add("secretproviderclasses.yaml", c.classes.value)
	add("secretproviderclasspodstatuses.yaml", c.statuses.value)
	if events, err := client.Core.CoreV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod,type=Warning"}); err == nil {
		list := slices.DeleteFunc(events.Items, func(e corev1.Event) bool {
			return !strings.HasPrefix(e.Reason, "FailedMount") && !strings.Contains(e.Source.Component, "secrets-store")
		})
		trimAll(list, func(e *corev1.Event) metav1.Object { return e })
		add("events.yaml", list)
	}
	files = append(files, logs(ctx, client, c.pods.value)...)
	return writeBundle(w, files, at)
}

// trim takes from the objects what must not leave.
func (c *Cluster) trim() {
	if c.csiDriver.value != nil {
		withoutHistory(c.csiDriver.value)
	}
	trimAll(c.csiNodes.value, func(o *storagev1.CSINode) metav1.Object { return o })
	trimAll(c.classes.value, func(o *v1.SecretProviderClass) metav1.Object { return o })
	trimAll(c.statuses.value, func(o *v1.SecretProviderClassPodStatus) metav1.Object { return o })
	trimAll(c.daemonSets.value, func(o *appsv1.DaemonSet) metav1.Object {
		withoutHistory(&o.Spec.Template)
		withoutEnvironment(&o.Spec.Template.Spec)
		return o
	})
	trimAll(c.pods.value, func(o *corev1.Pod) metav1.Object {
		withoutEnvironment(&o.Spec)
		return o
	})
}

func trimAll[T any](objects []T, metadata func(*T) metav1.Object) {
	for i := range objects {
		withoutHistory(metadata(&objects[i]))
	}
}

// withoutHistory takes from an object what kubectl and the API server note of how it came about: kubectl notes all of it again, with its environment.
func withoutHistory(object metav1.Object) {
	object.SetManagedFields(nil)
	annotations := maps.Clone(object.GetAnnotations())
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	object.SetAnnotations(annotations)
}

func withoutEnvironment(spec *corev1.PodSpec) {
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			containers[i].Env, containers[i].EnvFrom = nil, nil
		}
	}
	for i := range spec.EphemeralContainers {
		spec.EphemeralContainers[i].Env, spec.EphemeralContainers[i].EnvFrom = nil, nil
	}
}

func logs(ctx context.Context, client *kube.Client, pods []corev1.Pod) []File {
	var files []File
	for i := range pods {
		pod := &pods[i]
		for _, container := range pod.Spec.Containers {
			lines := int64(logLines)
			content, err := client.Core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container.Name, TailLines: &lines}).DoRaw(ctx)
			if err != nil {
				content = []byte("not read: " + err.Error() + "\n")
			}
			files = append(files, File{fmt.Sprintf("logs/%s/%s.log", pod.Name, container.Name), content})
		}
	}
	return files
}

func writeBundle(w io.Writer, files []File, at time.Time) error {
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	for _, file := range files {
		content := Redact(file.Content)
		header := &tar.Header{Name: "vaultferry-support/" + file.Name, Mode: 0o644, Size: int64(len(content)), ModTime: at, Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zipped.Close()
}
