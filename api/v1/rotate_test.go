// SPDX-License-Identifier: Apache-2.0

package v1_test

import (
	"testing"
	"time"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

func TestEachRotateRequestIsLaterThanTheOneBefore(t *testing.T) {
	now := time.Date(2026, 11, 29, 10, 0, 0, 0, time.FixedZone("", 3600))
	for name, tc := range map[string]struct{ last, want string }{
		"the first one":         {"", "2026-11-29T09:00:00Z"},
		"after an earlier one":  {"2026-11-29T08:59:59.5Z", "2026-11-29T09:00:00Z"},
		"at the same moment":    {"2026-11-29T09:00:00Z", "2026-11-29T09:00:00.000000001Z"},
		"by a clock behind":     {"2026-11-29T09:00:05.000000009Z", "2026-11-29T09:00:05.00000001Z"},
		"after somebody's text": {"please", "2026-11-29T09:00:00Z"},
	} {
		got := v1.NextRotateRequest(tc.last, now)
		if got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
		if v1.RotateRequestMet(got, tc.last) {
			t.Errorf("%s: what was followed before meets it", name)
		}
	}
}

func TestRotateRequestMet(t *testing.T) {
	const request = "2026-11-29T09:00:00.25Z"
	for observed, want := range map[string]bool{
		request:                          true,
		"2026-11-29T09:00:00.250000001Z": true,
		"2026-11-29T11:00:00+01:00":      true,
		"2026-11-29T09:00:00.2Z":         false,
		"":                               false,
		"please":                         false,
	} {
		if got := v1.RotateRequestMet(request, observed); got != want {
			t.Errorf("%q: %t", observed, got)
		}
	}
	if !v1.RotateRequestMet("please", "please") || v1.RotateRequestMet("please", request) {
		t.Error("any text will do, and is met by itself alone")
	}
}
