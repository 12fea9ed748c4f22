// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// The time can be over between two answers, which is nobody's wrong answer. It happens on a busy machine only, so the trip is made by hand.
func TestAnExchangeThatEndsBetweenTwoAnswers(t *testing.T) {
	tokens, err := New(Config{Transport: http.DefaultTransport})
	if err != nil {
		t.Fatal(err)
	}
	c := newCredential(Identity{Cloud: PublicCloud()}, tokens)
	answered := &trip{status: http.StatusOK}
	for left, want := range map[time.Duration]reason.Reason{-time.Second: reason.EntraUnreachable, time.Hour: reason.EntraRejected} {
		ctx, cancel := context.WithTimeout(t.Context(), left)
		defer cancel()
		if err := c.explain(ctx, Assertion{}, answered); reason.Of(err) != want.Name {
			t.Errorf("with %s left: %v", left, err)
		}
	}
}
