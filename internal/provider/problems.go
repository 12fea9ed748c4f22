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

// nearest returns the candidate that a misspelt word most likely means, "" if none is near.
func nearest(word string, candidates []string) string {
	best, distance := "", 3
	for _, candidate := range candidates {
		if strings.EqualFold(word, candidate) {
			return candidate
		}
		if d := edits(strings.ToLower(word), strings.ToLower(candidate)); d < distance && d < len(candidate)/2 {
			best, distance = candidate, d
		}
	}
	return best
}

// didYouMean renders what nearest found.
func didYouMean(word string, candidates []string) string {
	if near := nearest(word, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// edits is the Levenshtein distance, or 99 for words too long to be a slip.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// quote shows a value of the class's author in a message, bounded.
func quote(value string) string {
	const longest = 80
	if runes := []rune(value); len(runes) > longest {
		value = string(runes[:longest]) + "…"
	}
	return fmt.Sprintf("%q", value)
}
