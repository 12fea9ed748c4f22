// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/lint"
	"github.com/vaultferry/vaultferry/internal/reason/catalog"
)

func TestTheRulesOfTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	table := "| finding | severity | of | what it says |\n|---|---|---|---|\n"
	for _, rule := range lint.Rules() {
		entry, ok := catalog.Find(rule.Reason.Name)
		if !ok {
			t.Fatalf("the catalogue does not explain %s", rule.Reason.Name)
		}
		table += fmt.Sprintf("| [%s](reasons.md#%s) | %s | %s | %s |\n", rule.Reason.Name, entry.Anchor(), rule.Severity, rule.Object, rule.Text)
	}
	if !strings.Contains(string(page), table) {
		t.Fatalf("docs/lint.md should have this table:\n%s", table)
	}
}

// hasRule fails for a finding that no rule announces.
func hasRule(t *testing.T, f lint.Finding) {
	t.Helper()
	for _, rule := range lint.Rules() {
		if rule.Reason == f.Reason && rule.Severity == f.Severity {
			return
		}
	}
	t.Errorf("no rule announces %s %s", f.Severity, f.Reason.Name)
}
