// SPDX-License-Identifier: Apache-2.0

package v1

import "time"

// NextRotateRequest returns a value for [RotateAnnotation] of a class whose value is last: the time now, or the least later than last where that
// is not behind now, as when clocks differ. Each request is then later than the one before it.
func NextRotateRequest(last string, now time.Time) string {
	if before, err := time.Parse(time.RFC3339Nano, last); err == nil && !now.After(before) {
		now = before.Add(time.Nanosecond)
	}
	return now.UTC().Format(time.RFC3339Nano)
}

// RotateRequestMet reports whether a driver that has followed the request observed has done what request asks for: it is the same, or a later one that
// overtook it.
func RotateRequestMet(request, observed string) bool {
	if observed == request {
		return true
	}
	asked, err := time.Parse(time.RFC3339Nano, request)
	if err != nil {
		return false
	}
	followed, err := time.Parse(time.RFC3339Nano, observed)
	return err == nil && followed.After(asked)
}
