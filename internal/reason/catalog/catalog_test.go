// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/reason/catalog"
)

// declared returns the names of all variables of package reason that are a Reason.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	sources, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, source := range sources {
		if !strings.HasSuffix(source.Name(), ".go") || strings.HasSuffix(source.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), "../"+source.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			collect(declaration, names)
		}
	}
	if len(names) < 20 {
		t.Fatalf("found only %d reasons: has their form changed?", len(names))
	}
	return names
}

// collect adds the names of package variables with a value Reason{…}.
func collect(declaration ast.Decl, names map[string]bool) {
	general, ok := declaration.(*ast.GenDecl)
	if !ok || general.Tok != token.VAR {
		return
	}
	for _, spec := range general.Specs {
		variable := spec.(*ast.ValueSpec)
		for i, value := range variable.Values {
			literal, ok := value.(*ast.CompositeLit)
			if !ok {
				continue
			}
			if kind, ok := literal.Type.(*ast.Ident); ok && kind.Name == "Reason" {
				names[variable.Names[i].Name] = true
			}
		}
	}
}

func entries() []catalog.Entry {
	var all []catalog.Entry
	for _, area := range catalog.Areas() {
		all = append(all, area.Entries...)
	}
	return all
}

func TestEveryReasonHasOneEntryAndEveryEntryAReason(t *testing.T) {
	want := declared(t)
	have := map[string]bool{}
	for _, e := range entries() {
		name := e.Reason.Name
		if !want[name] {
			t.Errorf("the entry %s explains no reason of package reason", name)
		}
		if have[name] {
			t.Errorf("%s has two entries", name)
		}
		have[name] = true
	}
	for name := range want {
		if !have[name] {
			t.Errorf("%s has no entry: add one to this package, then run tools/generate.sh", name)
		}
	}
}

func TestEntriesAreComplete(t *testing.T) {
	for _, e := range entries() {
		t.Run(e.Reason.Name, func(t *testing.T) {
			if e.Meaning == "" || len(e.Causes) == 0 || len(e.See) == 0 || len(e.Fix) == 0 || e.Retry.String() == "" {
				t.Error("meaning, causes, a way to see it, a fix and what the retry does: something is missing")
			}
			sentences := append([]string{e.Meaning}, e.Causes...)
			for _, s := range append(e.See, e.Fix...) {
				sentences = append(sentences, s.Text)
			}
			for _, s := range sentences {
				if s == "" || !strings.ContainsAny(s[len(s)-1:], ".:") || strings.Contains(s, "\n") {
					t.Errorf("%q should be one line that ends with a full stop or a colon", s)
				}
			}
		})
	}
}

// A command is something to copy: it has a known beginning, closed quotes, no tabs, and comes with every step that ends in a colon.
func TestCommandsCanBeCopied(t *testing.T) {
	known := regexp.MustCompile(`^(kubectl|az|helm|curl) |^https://|^objects: \||^apiVersion: `)
	for _, e := range entries() {
		for _, s := range append(e.See, e.Fix...) {
			switch {
			case strings.HasSuffix(s.Text, ":") && s.Command == "":
				t.Errorf("%s: %q announces a command and has none", e.Reason.Name, s.Text)
			case s.Command == "":
			case !known.MatchString(s.Command):
				t.Errorf("%s: what kind of command is %q?", e.Reason.Name, s.Command)
			case strings.Count(s.Command, "'")%2 != 0, strings.Count(s.Command, `"`)%2 != 0, strings.Contains(s.Command, "\t"):
				t.Errorf("%s: an open quote or a tab in %q", e.Reason.Name, s.Command)
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, e := range entries() {
		if found, ok := catalog.Find(e.Reason.Name); !ok || found.Reason != e.Reason {
			t.Errorf("Find(%q) = %v %v", e.Reason.Name, found.Reason, ok)
		}
	}
	if e, ok := catalog.Find("NoSuchReason"); ok {
		t.Errorf("found %v", e.Reason)
	}
	if got := (catalog.Entry{Reason: reason.VaultForbidden}).Anchor(); got != "vaultforbidden" {
		t.Errorf("got anchor %q", got)
	}
}
