// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestDoctor(t *testing.T) {
	installed := []string{"testdata/cluster/healthy.yaml", "testdata/cluster/installed.yaml"}
	_, healthy := startAPIServer(t, installed...)
	noCRDs, half := startAPIServer(t, installed...)
	noCRDs.absent = []string{"secretproviderclasses", "secretproviderclasspodstatuses"}
	_, nothing := startAPIServer(t, "testdata/cluster/healthy.yaml")
	guest, asGuest := startAPIServer(t, installed...)
	guest.forbidden = []string{"list daemonsets", "list clusterrolebindings", "list csinodes", "list leases"}
	for _, c := range []struct {
		name, url string
		terminal  bool
		code      int
		args      []string
	}{
		{"healthy.pipe", healthy, false, exitOK, nil},
		{"healthy.terminal", healthy, true, exitOK, nil},
		{"healthy.json", healthy, false, exitOK, []string{"-o", "json"}},
		{"healthy.wide", healthy, false, exitOK, []string{"-o", "wide"}},
		{"no-crds.pipe", half, false, exitFound, nil},
		{"nothing.pipe", nothing, false, exitFound, nil},
		{"guest.pipe", asGuest, false, exitOK, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, c.url, c.terminal, "doctor/"+c.name, c.code, append([]string{"doctor"}, c.args...)...)
		})
	}
}

// One thing is broken at a time, and the check that is about it fails.
func TestDoctorFindsWhatIsBroken(t *testing.T) {
	for id, broken := range map[string]struct {
		kind, name string
		value      any
		fields     []string
	}{
		"csidriver":        {"CSIDriver", "secrets-store.csi.k8s.io", false, []string{"spec", "podInfoOnMount"}},
		"token-requests":   {"CSIDriver", "secrets-store.csi.k8s.io", []any{}, []string{"spec", "tokenRequests"}},
		"driver-pods":      {"DaemonSet", "vaultferry-driver", int64(1), []string{"status", "numberReady"}},
		"provider-pods":    {"DaemonSet", "vaultferry-provider", int64(0), []string{"status", "numberReady"}},
		"nodes-registered": {"CSINode", "node-2", []any{}, []string{"spec", "drivers"}},
		"nodes-complete":   {"Pod", "vaultferry-provider-2", "node-1", []string{"spec", "nodeName"}},
		"versions":         {"Pod", "vaultferry-driver-2", []any{map[string]any{"name": "driver", "image": "vaultferry:v2"}}, []string{"spec", "containers"}},
		"rbac":             {"ClusterRoleBinding", "secretproviderclasses-rolebinding", []any{}, []string{"subjects"}},
		"sync-rights":      {"ClusterRoleBinding", "secretprovidersyncing-rolebinding", []any{}, []string{"subjects"}},
		"fences":           {"ValidatingAdmissionPolicyBinding", "vaultferry-driver-secrets", "other", []string{"spec", "policyName"}},
		"issuer":           {"Deployment", "azure-emulator", map[string]any{}, []string{"metadata", "labels"}},
	} {
		t.Run(id, func(t *testing.T) {
			s, url := startAPIServer(t, "testdata/cluster/healthy.yaml", "testdata/cluster/installed.yaml")
			for _, o := range s.objects {
				if o.GetKind() == broken.kind && o.GetName() == broken.name {
					if err := unstructured.SetNestedField(o.Object, broken.value, broken.fields...); err != nil {
						t.Fatal(err)
					}
				}
			}
			out, _, _ := runFor(t, url, "doctor", "-o", "json")
			_, after, found := strings.Cut(out, `"id": "`+id+`"`)
			after, _, _ = strings.Cut(after, `"id": "`)
			if !found || !strings.Contains(after, `"hint": `) {
				t.Errorf("the check has not failed: %s", out)
			}
		})
	}
}

// An API server that does not answer, or does not know the user, says nothing of the cluster.
func TestDoctorWithoutAnAPIServer(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized", nil)
	}))
	t.Cleanup(stranger.Close)
	for name, c := range map[string]struct{ url, says string }{
		"gone": {gone.URL, "The API server does not answer"}, "ended login": {stranger.URL, "The API server does not know you"},
	} {
		for _, args := range [][]string{{"doctor"}, {"doctor", "--wait", "1s"}, {"doctor", "--bundle", filepath.Join(t.TempDir(), "support.tar.gz")}} {
			t.Run(name+" "+strings.Join(args[:min(2, len(args))], " "), func(t *testing.T) {
				if out, errs, code := runFor(t, c.url, args...); code != exitError || out != "" || !strings.Contains(errs, c.says) {
					t.Errorf("exit code %d, %s%s", code, out, errs)
				}
			})
		}
	}
}

// Who may not read the version may look at the rest.
func TestDoctorWithoutTheVersion(t *testing.T) {
	s, _ := startAPIServer(t, "testdata/cluster/healthy.yaml", "testdata/cluster/installed.yaml")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			fail(w, http.StatusForbidden, "Forbidden", `forbidden: User "jane" cannot get path "/version"`, nil)
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	if out, errs, code := runFor(t, server.URL, "doctor"); code != exitOK || !strings.Contains(out, "Kubernetes is recent enough [skipped]") {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
}

// note has objects carry a value where kubectl and the API server note how they came about, and pods in the environment of a container for debugging.
func note(t *testing.T, s *apiServer, value string) {
	t.Helper()
	for _, o := range s.objects {
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations["kubectl.kubernetes.io/last-applied-configuration"] = `{"spec":{"containers":[{"env":[{"name":"LOG","value":"` + value + `"}]}]}}`
		o.SetAnnotations(annotations)
		managers := []any{map[string]any{"manager": value, "operation": "Update"}}
		err := unstructured.SetNestedField(o.Object, managers, "metadata", "managedFields")
		if err == nil && o.GetKind() == "Pod" {
			container := map[string]any{"name": "debug", "image": "debug", "env": []any{map[string]any{"name": "LOG", "value": value}}}
			err = unstructured.SetNestedField(o.Object, []any{container}, "spec", "ephemeralContainers")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A bundle holds what a supporter needs and nothing that must not leave.
func TestSupportBundle(t *testing.T) {
	s, url := startAPIServer(t, "testdata/cluster/healthy.yaml", "testdata/cluster/installed.yaml")
	note(t, s, "canary-value")
	name := filepath.Join(t.TempDir(), "support.tar.gz")
	if _, errs, code := runFor(t, url, "doctor", "--bundle", name); code != exitOK {
		t.Fatal(errs)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(zipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		file, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(file, []byte("canary-value")) || bytes.Contains(file, []byte("Y2FuYXJ5")) {
			t.Errorf("%s holds a secret", header.Name)
		}
		names = append(names, strings.TrimPrefix(header.Name, "vaultferry-support/"))
	}
	for _, want := range []string{"doctor.json", "status.json", "csidriver.yaml", "secretproviderclasses.yaml", "logs/vaultferry-driver-1/driver.log"} {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+want+" ") {
			t.Errorf("the bundle lacks %s; it has %v", want, names)
		}
	}
	if _, errs, code := runFor(t, url, "doctor", "--bundle", name); code != exitError || !strings.Contains(errs, "file exists") {
		t.Errorf("a file that is there was not left alone: %d %s", code, errs)
	}
}
