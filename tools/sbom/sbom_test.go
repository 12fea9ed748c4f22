// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/xeipuuv/gojsonschema"
)

// validate holds a BOM against the schema of CycloneDX, which comes with the library.
func validate(t *testing.T, bom []byte) *gojsonschema.Result {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	schemas := filepath.Join(strings.TrimSpace(string(out)), "schema")
	read := func(name string) gojsonschema.JSONLoader {
		content, err := os.ReadFile(filepath.Join(schemas, name))
		if err != nil {
			t.Fatal(err)
		}
		return gojsonschema.NewBytesLoader(content)
	}
	loader := gojsonschema.NewSchemaLoader()
	// The others under the addresses that the schema knows them by: nothing is fetched.
	if err := loader.AddSchema("http://cyclonedx.org/schema/spdx.schema.json", read("spdx.schema.json")); err != nil {
		t.Fatal(err)
	}
	if err := loader.AddSchema("http://cyclonedx.org/schema/jsf-0.82.schema.json", read("jsf-0.82.schemax.json")); err != nil {
		t.Fatal(err)
	}
	schema, err := loader.Compile(read("bom-1.6.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := schema.Validate(gojsonschema.NewBytesLoader(bom))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// self is an image of this command.
func self(t *testing.T) Image {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sbom")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return Image{
		Name: "ghcr.io/vaultferry/self", Version: "v1.2.3", Binaries: []string{binary}, Data: []string{binary + "=github.com/CycloneDX/cyclonedx-go"},
	}
}

func encoded(t *testing.T, image Image) []byte {
	t.Helper()
	bom, err := image.BOM()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := encode(bom, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestItIsValidAndTwiceTheSame(t *testing.T) {
	image := self(t)
	first, second := encoded(t, image), encoded(t, image)
	if !bytes.Equal(first, second) {
		t.Error("two files of the same binary differ")
	}
	if result := validate(t, first); !result.Valid() {
		t.Error(result.Errors())
	}
	if validate(t, bytes.Replace(first, []byte(`"type": "library"`), []byte(`"type": "book"`), 1)).Valid() {
		t.Error("the validator takes anything")
	}
}

func TestEveryLinkedModuleIsNamed(t *testing.T) {
	bom, err := self(t).BOM()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := append([]string{"std", "sbom"}, strings.Fields(string(out))...)
	var got []string
	for _, component := range *bom.Components {
		got = append(got, component.Name)
		if component.Type == cdx.ComponentTypeLibrary && component.Version == "" {
			t.Errorf("%s has no version", component.Name)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	slices.Sort(got)
	if !slices.Equal(got, want) || len(want) < 3 {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	valid := self(t)
	for name, tc := range map[string]struct {
		change func(*Image)
		want   string
	}{
		"no name":         {func(i *Image) { i.Name = "" }, "--name"},
		"no binary":       {func(i *Image) { i.Binaries = nil }, "--binary"},
		"no Go binary":    {func(i *Image) { i.Binaries = []string{"sbom_test.go"} }, "build information of sbom_test.go"},
		"data of nothing": {func(i *Image) { i.Data = []string{"x"} }, "BINARY=MODULE"},
		"another module":  {func(i *Image) { i.Data = []string{i.Binaries[0] + "=example.com/none"} }, "not linked from module example.com/none"},
	} {
		t.Run(name, func(t *testing.T) {
			image := valid
			tc.change(&image)
			if _, err := image.BOM(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
