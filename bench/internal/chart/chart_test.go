// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestDrawIsXML(t *testing.T) {
	for name, panels := range map[string][]Panel{
		"nothing":     {},
		"no curve":    {{Title: "a < b"}},
		"one point":   {{Curves: []Curve{{Name: "&", X: []float64{1}, Y: []float64{1}}}}},
		"logarithmic": {{LogX: true, LogY: true, Curves: []Curve{{Name: "a", X: []float64{0, 1, 10}, Y: []float64{1, 0, 10}, Dashed: true}}}},
		"linear":      {{Curves: []Curve{{Name: "a", X: []float64{0, 1, 10}, Y: []float64{1, 0, 10}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			drawn := string(Draw(panels))
			if strings.Contains(drawn, "NaN") || strings.Contains(drawn, "Inf") {
				t.Error(drawn)
			}
			for decoder := xml.NewDecoder(strings.NewReader(drawn)); ; {
				switch _, err := decoder.Token(); {
				case errors.Is(err, io.EOF):
					return
				case err != nil:
					t.Fatal(err)
				}
			}
		})
	}
}

func TestTicks(t *testing.T) {
	if got := ticks(0, 3, true); !slices.Equal(got, []float64{1, 10, 100, 1000}) {
		t.Error(got)
	}
	if got := ticks(0, 30, false); !slices.Equal(got, []float64{0, 10, 20, 30}) && len(got) > 9 {
		t.Error(got)
	}
}
