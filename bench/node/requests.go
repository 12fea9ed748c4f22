// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// counts are the requests that the API server answered since its start.
type counts struct{ Reads, Writes float64 }

func (c counts) since(before counts) counts {
	return counts{c.Reads - before.Reads, c.Writes - before.Writes}
}

// requestsOf reads the API server's own counters for the resources that a driver has to do with. A watch counts when it ends.
func requestsOf(ctx context.Context, a *lab.APIServer) (counts, error) {
	text, err := a.REST.Get().AbsPath("/metrics").Do(ctx).Raw()
	if err != nil {
		return counts{}, err
	}
	var c counts
	for _, s := range lab.Samples(text, "apiserver_request_total") {
		switch s.Label("resource") {
		case "secretproviderclasses", "secretproviderclasspodstatuses", "events", "pods", "serviceaccounts", "secrets":
		default:
			continue
		}
		if s.Label("subresource") != "" {
			continue
		}
		switch s.Label("verb") {
		case "GET", "LIST", "WATCH":
			c.Reads += s.Value
		default:
			c.Writes += s.Value
		}
	}
	return c, nil
}
