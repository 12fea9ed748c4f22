// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"regexp"
	"strings"

	"github.com/vaultferry/vaultferry/internal/lint"
)

// objectsField is where a mistake can hide all others of the entries, and with them those of secretObjects, which name the files.
const objectsField = "spec.parameters.objects"

var index = regexp.MustCompile(`\[\d+\]`)

// place is where a mistake is, whatever the number of its entry: an entry that comes before it moves it.
type place struct{ reason, field string }

func placeOf(f lint.Finding) place {
	return place{f.Reason.Name, index.ReplaceAllString(f.Field, "[]")}
}

// compare splits the findings of an object into those that are new and those that it had before. Of each kind of mistake in each field, as many as
// before are old; and what an old mistake made impossible to see is old, too.
func compare(before, now []lint.Finding) (fresh, known []lint.Finding) {
	had := map[place]int{}
	var hidden []string
	unreadable := false
	for _, f := range before {
		had[placeOf(f)]++
		if f.Severity == lint.Error {
			hidden = append(hidden, placeOf(f).field)
			unreadable = unreadable || strings.HasPrefix(f.Field, objectsField)
		}
	}
	for _, f := range now {
		at := placeOf(f)
		switch {
		case had[at] > 0:
			had[at]--
			known = append(known, f)
		case below(at.field, hidden), unreadable && strings.HasPrefix(f.Field, "spec.secretObjects"):
			known = append(known, f)
		default:
			fresh = append(fresh, f)
		}
	}
	return fresh, known
}

// below reports whether a field lies within one of others.
func below(field string, others []string) bool {
	for _, other := range others {
		if rest, ok := strings.CutPrefix(field, other); ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "[")) {
			return true
		}
	}
	return false
}
