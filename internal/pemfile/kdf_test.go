// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"errors"
	"testing"
)

func TestTheWorkOfAFileAddsUp(t *testing.T) {
	sha1, _ := digestOf(oidSHA1)
	work := rounds(maxRounds)
	// Two blocks of 20 bytes: twice the digests.
	if err := work.spend(maxRounds/4, 24, sha1); err != nil {
		t.Fatal(err)
	}
	if err := work.spend(maxRounds/2, 20, sha1); err != nil {
		t.Fatal(err)
	}
	if err := work.spend(1, 1, sha1); !errors.Is(err, ErrTooMuchWork) {
		t.Fatalf("got %v after all work was spent", err)
	}
}
