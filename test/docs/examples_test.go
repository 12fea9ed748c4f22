// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	k8syaml "sigs.k8s.io/yaml"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/provider"
)

func values(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "charts/vaultferry/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// Every YAML block is a manifest, or a fragment that is known to belong into one, or values of the chart. The end-to-end tests apply the
// manifests; the values are rendered here.
func TestExamples(t *testing.T) {
	chartKeys := slices.Collect(maps.Keys(values(t)))
	found := 0
	for _, page := range pages(t) {
		examples, err := page.Examples(chartKeys)
		if err != nil {
			t.Error(err)
		}
		for _, example := range examples {
			found++
			if example.Values == "" {
				continue
			}
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(example.Values), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := helm(t, "template", "vaultferry", "charts/vaultferry", "--values", file); err != nil {
				t.Errorf("%s: %v\n%s", example.Where(), err, out)
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d examples", found)
	}
}

// Every class of the pages is one that the Azure provider takes, without a misspelt parameter or field, and its secretObjects name files
// of its own.
func TestClassesOfTheExamples(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		examples, _ := page.Examples(nil)
		for _, example := range examples {
			for _, manifest := range example.Manifests {
				var class v1.SecretProviderClass
				if err := k8syaml.Unmarshal([]byte(manifest), &class); err != nil {
					t.Fatalf("%s: %v", example.Where(), err)
				}
				if class.Kind != "SecretProviderClass" || class.Spec.Provider != "azure" || class.Spec.Parameters["objects"] == "" {
					continue
				}
				found++
				checkClass(t, example.Where()+" "+class.Name, class)
			}
		}
	}
	if found < 15 {
		t.Errorf("found only %d classes", found)
	}
}

func checkClass(t *testing.T, where string, class v1.SecretProviderClass) {
	t.Helper()
	checked := provider.Check(class.Spec.Parameters, provider.CheckConfig{})
	for _, problem := range slices.Concat(checked.Problems, checked.Ignored) {
		t.Errorf("%s: %+v", where, problem)
	}
	var files []provider.CheckedFile
	for _, object := range checked.Objects {
		files = append(files, object.Files...)
	}
	for _, secret := range class.Spec.SecretObjects {
		for _, data := range secret.Data {
			if !slices.ContainsFunc(files, func(f provider.CheckedFile) bool { return f.Matches(data.ObjectName) }) {
				t.Errorf("%s: Secret %s: the class has no file %s", where, secret.SecretName, data.ObjectName)
			}
		}
	}
}

func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	tool := exec.CommandContext(t.Context(), "tools/tool.sh", "helm4")
	tool.Dir = root
	path, err := tool.Output()
	if err != nil {
		t.Fatalf("building Helm: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), strings.TrimSpace(string(path)), args...)
	cmd.Dir, cmd.Env = root, []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestFragmentsBecomeManifests(t *testing.T) {
	page := Page{Path: "x.md", Text: "# x\n\n```yaml\n    objects: |\n      - objectName: a\n        objectType: secret\n```\n" +
		"```yaml\ncsi:\n  driver: d\n```\n```yaml\nsyncSecret:\n  enabled: true\n```\n```yaml\nunheard: of\n```\n```\nnot: yaml\n```\n"}
	examples, err := page.Examples([]string{"syncSecret"})
	if err == nil || !strings.Contains(err.Error(), `x.md:17: begins with "unheard"`) {
		t.Errorf("an unknown fragment: %v", err)
	}
	if len(examples) != 3 || examples[2].Values == "" {
		t.Fatalf("%+v", examples)
	}
	var class struct {
		Spec struct{ Parameters map[string]string }
	}
	if err := yaml.Unmarshal([]byte(examples[0].Manifests[0]), &class); err != nil {
		t.Fatal(err)
	}
	if got, want := class.Spec.Parameters["objects"], "- objectName: a\n  objectType: secret\n"; strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("objects: %q, want %q", got, want)
	}
	var pod struct {
		Spec struct {
			Volumes []struct{ CSI struct{ Driver string } }
		}
	}
	if err := yaml.Unmarshal([]byte(examples[1].Manifests[0]), &pod); err != nil {
		t.Fatal(err)
	}
	if len(pod.Spec.Volumes) != 1 || pod.Spec.Volumes[0].CSI.Driver != "d" {
		t.Errorf("volumes: %+v", pod.Spec.Volumes)
	}
}
