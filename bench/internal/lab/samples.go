// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"strconv"
	"strings"
)

// Sample is one line of the Prometheus text format.
type Sample struct {
	labels string
	Value  float64
}

// Label returns a label's value. None of those that are asked for holds an escaped character.
func (s Sample) Label(name string) string {
	for rest := s.labels; ; {
		at := strings.Index(rest, name+`="`)
		if at < 0 {
			return ""
		}
		value := rest[at+len(name)+2:]
		if at == 0 || rest[at-1] == ',' {
			value, _, _ = strings.Cut(value, `"`)
			return value
		}
		rest = value
	}
}

// Samples returns the samples of one metric.
func Samples(text []byte, metric string) []Sample {
	var found []Sample
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, metric)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		rest = strings.TrimRight(rest, " \n")
		at := strings.LastIndexByte(rest, ' ') // one stands behind the labels, or behind the name
		if at < 0 {
			continue
		}
		value, err := strconv.ParseFloat(rest[at+1:], 64)
		if err != nil {
			continue
		}
		found = append(found, Sample{labels: strings.Trim(strings.TrimSpace(rest[:at]), "{}"), Value: value})
	}
	return found
}

// Sum adds all up.
func Sum(all []Sample) float64 {
	var total float64
	for _, s := range all {
		total += s.Value
	}
	return total
}
