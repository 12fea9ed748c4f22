// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func TestExponent(t *testing.T) {
	for name, tc := range map[string]struct {
		values []float64
		want   float64
	}{
		"not at all":    {[]float64{3, 3, 3, 3}, 0},
		"in proportion": {[]float64{5, 10, 20, 40}, 1},
		"as a square":   {[]float64{1, 4, 16, 64}, 2},
		"nothing":       {[]float64{0, 0, 0, 0}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := exponent([]int{100, 200, 400, 800}, tc.values); math.Abs(got-tc.want) > 1e-9 {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	var each []time.Duration
	for i := 100; i > 0; i-- {
		each = append(each, time.Duration(i))
	}
	if quantile(each, 0.5) != 50 || quantile(each, 0.99) != 99 || quantile(each, 1) != 100 || quantile(nil, 0.5) != 0 {
		t.Fatal(quantile(each, 0.5), quantile(each, 0.99), quantile(each, 1))
	}
}

func TestThePlotIsXML(t *testing.T) {
	drawn := drawGrowth([]growth{{Dimension: "a < b", Sizes: []int{1, 2}, Figures: []figures{{Publish: 1}, {Publish: 2}}}})
	for decoder := xml.NewDecoder(strings.NewReader(string(drawn))); ; {
		switch _, err := decoder.Token(); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatal(err)
		}
	}
}

func TestRefusedFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown group":             {"--only=nothing"},
		"unknown format":            {"-o", "xml"},
		"a command without a place": {"--command=driver"},
		"an argument":               {"publish"},
	} {
		t.Run(name, func(t *testing.T) {
			var o options
			if o.parse(args, io.Discard) == nil {
				t.Fatal("no error")
			}
		})
	}
}
