// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/reason/catalog"
)

func TestThePageIsUpToDate(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != markdown(catalog.Areas()) {
		t.Fatal("docs/reasons.md is stale: run tools/generate.sh")
	}
}

// Links to #vaultforbidden and the like are given to people, so every reason keeps a heading of its own that is reached by its anchor.
func TestEveryReasonIsListedAndHasItsAnchor(t *testing.T) {
	page := markdown(catalog.Areas())
	headings := map[string]int{}
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		headings[strings.ReplaceAll(strings.ToLower(match[1]), " ", "-")]++
	}
	for _, area := range catalog.Areas() {
		for _, e := range area.Entries {
			if headings[e.Anchor()] != 1 {
				t.Errorf("#%s leads to %d headings", e.Anchor(), headings[e.Anchor()])
			}
			if !strings.Contains(page, "](#"+e.Anchor()+")") {
				t.Errorf("%s is not in the contents", e.Reason.Name)
			}
		}
	}
}
