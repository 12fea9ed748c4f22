// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

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
	c := Look(ctx, client)
	add := func(name string, object any) {
		content, err := yaml.Marshal(object)
		if err != nil {
			content = []byte(err.Error())
		}
		files = append(files, File{name, content})
	}
	for i := range c.daemonSets.value {
		withoutEnvironment(&c.daemonSets.value[i].Spec.Template.Spec)
	}
	for i := range c.pods.value {
		withoutEnvironment(&c.pods.value[i].Spec)
	}
	add("csidriver.yaml", c.csiDriver.value)
	add("csinodes.yaml", c.csiNodes.value)
	add("daemonsets.yaml", c.daemonSets.value)
	add("pods.yaml", c.pods.value)
	add("secretproviderclasses.yaml", c.classes.value)
	add("secretproviderclasspodstatuses.yaml", c.statuses.value)
	if events, err := client.Core.CoreV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod,type=Warning"}); err == nil {
		add("events.yaml", slices.DeleteFunc(events.Items, func(e corev1.Event) bool {
			return !strings.HasPrefix(e.Reason, "FailedMount") && !strings.Contains(e.Source.Component, "secrets-store")
		}))
	}
	files = append(files, logs(ctx, client, c.pods.value)...)
	return writeBundle(w, files, at)
}

func withoutEnvironment(spec *corev1.PodSpec) {
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			containers[i].Env, containers[i].EnvFrom = nil, nil
		}
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

// credentials are what tokens, keys and passwords look like in text.
var credentials = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?`), "[token redacted]"},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), "[private key redacted]"},
	{regexp.MustCompile(`(?i)\b(bearer) +[A-Za-z0-9._~+/=-]{8,}`), "$1 [redacted]"},
	{regexp.MustCompile(`(?i)\b((?:client_?secret|password|passwd|pwd|api_?key|access_?key|accountkey|sharedaccesskey|sig|client_assertion)["']?\s*[=:]\s*["']?)[^\s"'&;,]+`), "${1}[redacted]"},
	{regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://[^\s/:@]+:)[^\s/@]+@`), "${1}[redacted]@"},
}

// Redact blots out what looks like a credential.
func Redact(content []byte) []byte {
	for _, c := range credentials {
		content = c.pattern.ReplaceAll(content, []byte(c.instead))
	}
	return content
}
