// SPDX-License-Identifier: Apache-2.0

package driver

import "strings"

// near reports whether a was probably meant to be b: equal but for case, or at most two single-letter mistakes apart in a name
// long enough for that to mean something.
func near(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	const mistakes = 2
	return min(len(a), len(b)) > mistakes && distance(strings.ToLower(a), strings.ToLower(b)) <= mistakes
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
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
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
