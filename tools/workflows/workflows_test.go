// SPDX-License-Identifier: Apache-2.0

// Package workflows holds the workflows of the public CI, which nothing here can run, against their schema and against the repository.
package workflows

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
)

const root = "../.."

func workflows(t *testing.T) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	if err != nil || len(paths) < 2 {
		t.Fatalf("found %v (%v)", paths, err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func lint(t *testing.T, path string, content []byte) []*actionlint.Error {
	t.Helper()
	var out bytes.Buffer
	linter, err := actionlint.NewLinter(&out, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := linter.Lint(path, content, nil)
	if err != nil {
		t.Fatal(err)
	}
	return problems
}

func TestWorkflowsAreValid(t *testing.T) {
	for path, content := range workflows(t) {
		for _, problem := range lint(t, path, content) {
			t.Error(problem)
		}
		if len(lint(t, path, bytes.Replace(content, []byte("runs-on:"), []byte("runs-of:"), 1))) == 0 {
			t.Errorf("%s: the linter takes anything", path)
		}
	}
}

// Every action is pinned by its commit with the version beside it, or by a tag that the file's head names as still to be pinned.
func TestActionsArePinned(t *testing.T) {
	uses := regexp.MustCompile(`uses: ([\w./-]+)@(\S+)(.*)`)
	byCommit := regexp.MustCompile(`^[0-9a-f]{40}$`)
	for path, content := range workflows(t) {
		head, _, _ := strings.Cut(string(content), "\nname:")
		found := uses.FindAllStringSubmatch(string(content), -1)
		if len(found) == 0 {
			t.Errorf("%s: no action found", path)
		}
		for _, use := range found {
			switch pinned := byCommit.MatchString(use[2]); {
			case pinned && !regexp.MustCompile(`# v\d+\.\d+\.\d+$`).MatchString(use[3]):
				t.Errorf("%s: %s lacks its version as a comment", path, use[0])
			case !pinned && !strings.Contains(head, use[1]):
				t.Errorf("%s: %s is not pinned by a commit", path, use[0])
			}
		}
	}
}

// No workflow may write by default, and none runs with the rights of a pull request's target.
func TestWorkflowsBeginWithoutRights(t *testing.T) {
	for path, content := range workflows(t) {
		text := string(content)
		if !strings.Contains(text, "\npermissions:\n  contents: read\n") {
			t.Errorf("%s: no permissions at its top", path)
		}
		if strings.Contains(text, "pull_request_target") || strings.Contains(text, "write-all") {
			t.Errorf("%s: asks for more than it needs", path)
		}
	}
}

// The targets of make that a workflow names exist.
func TestTargetsExist(t *testing.T) {
	for path, content := range workflows(t) {
		for _, call := range regexp.MustCompile(`\bmake (?:-s )?([a-z][a-z-]*)`).FindAllStringSubmatch(string(content), -1) {
			command := exec.CommandContext(t.Context(), "make", "-n", "--no-print-directory", "-C", root, call[1], "IMAGE=vaultferry", "REGISTRY=example.com")
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("%s: make %s: %s", path, call[1], out)
			}
		}
	}
}
