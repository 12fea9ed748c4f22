// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"sync"
	"testing"
)

// others counts the tests for which the last one waits.
var others sync.WaitGroup //nolint:gochecknoglobals // Go's tests have no other place for it

// count is called before a test is paused, so that all of them are counted before the first goes on.
func count(t *testing.T) {
	t.Helper()
	others.Add(1)
	t.Cleanup(others.Done)
}

// beside runs a test beside others on the shared cluster. It is called before anything else.
func beside(t *testing.T) {
	t.Helper()
	count(t)
	t.Parallel()
	if err := shared.start(); err != nil {
		t.Fatal(err)
	}
}

// alone runs a test that has a cluster for itself, beside the tests of other clusters, and after those of the cluster that stand before it in
// the source. It is called before anything else.
func alone(t *testing.T, w *world) *world {
	t.Helper()
	count(t)
	before, done := w.last, make(chan struct{})
	w.last = done
	t.Cleanup(func() { close(done) })
	t.Parallel()
	if before != nil {
		<-before
	}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	return w
}
