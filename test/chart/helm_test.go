// SPDX-License-Identifier: Apache-2.0

// Package chart tests charts/vaultferry by rendering it with the Helm versions
// that it supports.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	chartDir = "../../charts/vaultferry"
	toolPath = "../../tools/tool.sh"
)

// helmVersions are the names of the pinned Helm binaries.
func helmVersions() []string { return []string{"helm3", "helm4"} }

// object is one rendered Kubernetes object.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`

	raw []byte
}

// helm runs a pinned Helm and returns what it wrote to stdout. The error holds
// what it wrote to stderr.
func helm(t *testing.T, version string, args ...string) ([]byte, error) {
	t.Helper()
	path, err := exec.CommandContext(t.Context(), toolPath, version).Output()
	if err != nil {
		t.Fatalf("building %s: %v", version, withStderr(err))
	}
	cmd := exec.CommandContext(t.Context(), strings.TrimSpace(string(path)), args...)
	// Settings, plugins and kubeconfig of whoever runs the test stay out of it.
	home := t.TempDir()
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + filepath.Join(home, "none")}
	out, err := cmd.Output()

	return out, withStderr(err)
}

func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}

	return err
}

// render returns the objects of the chart with Helm 4 and the given flags of
// helm template.
func render(t *testing.T, flags ...string) []object {
	t.Helper()

	return renderWith(t, "helm4", flags...)
}

func renderWith(t *testing.T, version string, flags ...string) []object {
	t.Helper()
	args := append([]string{"template", "demo", chartDir, "--namespace", "kube-system"}, flags...)
	out, err := helm(t, version, args...)
	if err != nil {
		t.Fatalf("rendering with %v: %v", flags, err)
	}

	var objects []object
	for doc := range bytes.SplitSeq(out, []byte("\n---\n")) {
		o := object{raw: doc}
		if err := yaml.Unmarshal(doc, &o); err != nil {
			t.Fatalf("parsing what was rendered with %v: %v\n%s", flags, err, doc)
		}
		if o.Kind != "" {
			objects = append(objects, o)
		}
	}

	return objects
}

// names returns kind and name of each object, sorted.
func names(objects []object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.Kind+" "+o.Metadata.Name)
	}
	slices.Sort(out)

	return out
}

// get decodes the object of a kind and name into a typed object. A field that
// the type doesn't have fails the test.
func get[T any](t *testing.T, objects []object, kind, name string) T {
	t.Helper()
	var typed T
	for _, o := range objects {
		if o.Kind != kind || o.Metadata.Name != name {
			continue
		}
		if err := yaml.UnmarshalStrict(o.raw, &typed); err != nil {
			t.Fatalf("decoding %s %s: %v", kind, name, err)
		}

		return typed
	}
	t.Fatalf("no %s %s among %v", kind, name, names(objects))

	return typed
}

// decodeLoosely decodes an object into a type that names only some of its
// fields.
func decodeLoosely[T any](t *testing.T, o object) T {
	t.Helper()
	var typed T
	if err := yaml.Unmarshal(o.raw, &typed); err != nil {
		t.Fatalf("decoding %s %s: %v", o.Kind, o.Metadata.Name, err)
	}

	return typed
}
