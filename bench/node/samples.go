// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"
	"strings"
)

// sample is one line of the Prometheus text format.
type sample struct {
	labels string
	value  float64
}

// label returns a label's value. None of those that are asked for holds an escaped character.
func (s sample) label(name string) string {
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

// samples returns the samples of one metric.
func samples(text []byte, metric string) []sample {
	var found []sample
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
		found = append(found, sample{labels: strings.Trim(strings.TrimSpace(rest[:at]), "{}"), value: value})
	}
	return found
}

func sum(all []sample) float64 {
	var total float64
	for _, s := range all {
		total += s.value
	}
	return total
}
