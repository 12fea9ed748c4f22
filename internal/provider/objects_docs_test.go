// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The page for users names every field, and its examples are right.
func TestTheObjectsPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/objects.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, field := range fieldNames {
		if !strings.Contains(page, "`"+field+"`") {
			t.Errorf("%s is not described", field)
		}
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(examples) < 7 {
		t.Fatalf("found %d examples", len(examples))
	}
	for _, example := range examples {
		objects := example[1]
		if _, inner, ok := strings.Cut(objects, "objects: |\n"); ok {
			objects = inner
		}
		var found problems
		if got := parseObjects(parameters{objectsKey: objects}, &found); found.err() != nil || len(got) == 0 {
			t.Errorf("%v in\n%s", found.err(), example[1])
		}
	}
}
