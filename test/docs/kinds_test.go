// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// The page of each kind describes every field, and shows the columns that kubectl shows.
func TestKinds(t *testing.T) {
	for kind, object := range map[string]any{
		"SecretProviderClass": v1.SecretProviderClass{}, "SecretProviderClassPodStatus": v1.SecretProviderClassPodStatus{},
	} {
		t.Run(kind, func(t *testing.T) {
			page := pages(t)["docs/kinds/"+kind+".md"]
			described := map[string]bool{}
			for _, line := range page.Prose() {
				for _, match := range inCode.FindAllStringSubmatch(line.Text, -1) {
					for part := range strings.SplitSeq(match[1], ".") {
						described[strings.TrimSuffix(part, "[]")] = true
					}
				}
			}
			fields := fieldsOf(reflect.TypeOf(object))
			if len(fields) < 7 {
				t.Fatalf("found only the fields %v", fields)
			}
			for _, field := range fields {
				if !described[field] {
					t.Errorf("%s does not describe %s", page.Path, field)
				}
			}
			if header := strings.Join(columns(t, kind), " +"); !regexp.MustCompile(header).MatchString(page.Text) {
				t.Errorf("%s shows no table with the header %s", page.Path, header)
			}
		})
	}
}

// fieldsOf returns the JSON names of all fields below spec and status that are of the API's own types.
func fieldsOf(t reflect.Type) []string {
	var names []string
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || !strings.HasSuffix(t.PkgPath(), "vaultferry/api/v1") {
		return nil
	}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		// These are the page's headings.
		if name != "" && name != "metadata" && name != "spec" && name != "status" {
			names = append(names, name)
		}
		names = append(names, fieldsOf(field.Type)...)
	}
	return names
}

// columns are the headings of kubectl get for a kind, as its markers say.
func columns(t *testing.T, kind string) []string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(root, "api/v1", strings.ToLower(kind)+".go"))
	if err != nil {
		t.Fatal(err)
	}
	headings := []string{"NAME"}
	for _, match := range regexp.MustCompile(`printcolumn:name="([^"]+)",(.*)`).FindAllStringSubmatch(string(source), -1) {
		if !strings.Contains(match[2], "priority=1") {
			headings = append(headings, strings.ToUpper(match[1]))
		}
	}
	if len(headings) < 3 {
		t.Fatalf("found only the columns %v", headings)
	}
	return headings
}
