// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"flag"
	"testing"
)

var (
	// atOnce is not Go's -parallel: a test that waits for another would hold a place there, and could wait for one that has none.
	atOnce = flag.Int("at-once", 4, "how many scenarios run at once on the shared cluster")
	// turns holds a token for each scenario that runs.
	turns chan struct{} //nolint:gochecknoglobals // Go's tests have no other place for it
)

// prepareTurns is called before the tests, with the flags parsed.
func prepareTurns() error {
	turns = make(chan struct{}, *atOnce)
	return flag.Set("test.parallel", "1000")
}

// takeTurn waits until fewer scenarios than allowed run. The turn ends with the test.
func takeTurn(t *testing.T) {
	t.Helper()
	turns <- struct{}{}
	t.Cleanup(func() { <-turns })
}

// count is called before a test is paused, so that all of them are counted before the first goes on.
func (w *world) count(t *testing.T) {
	t.Helper()
	w.others.Add(1)
	t.Cleanup(w.others.Done)
}

// beside runs a test beside others on the shared cluster. It is called before anything else.
func beside(t *testing.T) {
	t.Helper()
	together(t)
	takeTurn(t)
}

// together is beside for a test whose scenarios are its subtests: each of them begins with scenario.
func together(t *testing.T) {
	t.Helper()
	shared.count(t)
	t.Parallel()
	if err := shared.start(); err != nil {
		t.Fatal(err)
	}
}

// scenario runs a subtest beside all others.
func scenario(t *testing.T) {
	t.Helper()
	t.Parallel()
	takeTurn(t)
}

// alone runs a test that has a cluster for itself, beside the tests of other clusters, and after those of the cluster that stand before it in
// the source. It takes no turn: one after the other, these tests take the longest, and mostly wait. It is called before anything else.
func alone(t *testing.T, w *world) *world {
	t.Helper()
	w.count(t)
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
