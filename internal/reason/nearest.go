// SPDX-License-Identifier: Apache-2.0

package reason

import "strings"

// Nearest returns the candidate that a misspelt word most likely means, "" if none is near: equal but for case, or at most two single-letter
// mistakes apart, in a name long enough for that to mean something.
func Nearest(word string, candidates []string) string {
	best, distance := "", 3
	for _, candidate := range candidates {
		if strings.EqualFold(word, candidate) {
			return candidate
		}
		if d := edits(strings.ToLower(word), strings.ToLower(candidate)); d < distance && 2*d < len(candidate) {
			best, distance = candidate, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes, or 99 for words too long to be a slip.
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
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
