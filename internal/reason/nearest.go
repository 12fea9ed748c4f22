// SPDX-License-Identifier: Apache-2.0

package reason

import "strings"

const (
	// tooFar is the least number of mistakes that no slip has.
	tooFar = 3
	// longest is the length from which on a word is no slip of another, in bytes.
	longest = 64
)

// Nearest returns the candidate that a misspelt word most likely means, "" if none is near: equal but for case, or at most two single-letter
// mistakes apart, in a name long enough for that to mean something.
func Nearest(word string, candidates []string) string {
	best, distance := "", tooFar
	lower := strings.ToLower(word)
	for _, candidate := range candidates {
		if strings.EqualFold(word, candidate) {
			return candidate
		}
		if d := edits(lower, strings.ToLower(candidate), distance); d < distance && 2*d < len(candidate) {
			best, distance = candidate, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes, or limit where it is not below limit and for words too long to be a slip.
func edits(a, b string, limit int) int {
	// Each byte that one has more than the other is a mistake: the lengths alone settle most cases.
	if len(a) > longest || len(b) > longest || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var row [longest + 1]int
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal, least := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
			least = min(least, row[j+1])
		}
		if least >= limit {
			// No later row has less than the least of this one.
			return limit
		}
	}
	return min(row[len(b)], limit)
}
