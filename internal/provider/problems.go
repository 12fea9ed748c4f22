// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"strings"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// maxProblems bounds how many problems one error tells: an event on a pod holds 1,024 characters.
const maxProblems = 5

// problems collects what is wrong with a class, so that its author learns everything at once.
type problems struct {
	first reason.Reason
	texts []string
}

// add notes a problem. The first one decides the reason.
func (p *problems) add(r reason.Reason, format string, args ...any) {
	if len(p.texts) == 0 {
		p.first = r
	}
	p.texts = append(p.texts, reason.OneLine(fmt.Sprintf(format, args...)))
}

// err returns nil if there is no problem.
func (p *problems) err() error {
	if len(p.texts) == 0 {
		return nil
	}
	told := p.texts
	more := ""
	if len(told) > maxProblems {
		more = fmt.Sprintf("; and %d more", len(told)-maxProblems)
		told = told[:maxProblems]
	}
	return reason.New(p.first, "", "%s", strings.Join(told, "; ")+more)
}

// didYouMean names the candidate that a misspelt word most likely means.
func didYouMean(word string, candidates []string) string {
	if near := reason.Nearest(word, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// quote shows a value of the class's author in a message, bounded.
func quote(value string) string { return fmt.Sprintf("%q", shorten(value)) }

// shorten bounds a value that is shown in a message.
func shorten(value string) string {
	const longest = 80
	if runes := []rune(value); len(runes) > longest {
		value = string(runes[:longest]) + "…"
	}
	return value
}
