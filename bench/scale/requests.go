// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// requests are by verb and resource, such as "PUT secretproviderclasspodstatuses"; those that the API server refused, with the code of its answer too, such as
// "PUT secretproviderclasspodstatuses 429".
type requests map[string]float64

func (r requests) since(before requests) requests {
	difference := requests{}
	for name, n := range r {
		if n -= before[name]; n != 0 {
			difference[name] = n
		}
	}
	return difference
}

// apiRequests reads the API server's own counters for the resources that a driver has to do with. A watch counts when it begins.
func apiRequests(ctx context.Context, a *lab.APIServer) (requests, error) {
	text, err := a.REST.Get().AbsPath("/metrics").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	return countRequests(text), nil
}

func countRequests(text []byte) requests {
	counted := requests{}
	// The first counts a watch when it ends; the second is how many there are now.
	for _, metric := range []string{"apiserver_request_total", "apiserver_longrunning_requests"} {
		for _, s := range lab.Samples(text, metric) {
			resource, verb := s.Label("resource"), s.Label("verb")
			switch resource {
			case "secretproviderclasses", "secretproviderclasspodstatuses", "events", "pods", "serviceaccounts":
			default:
				continue
			}
			if s.Label("subresource") == "" {
				counted[verb+" "+resource+refusal(s.Label("code"))] += s.Value
			}
		}
	}
	return counted
}

// refusal is how the name of a refused request ends; "" is for one that was served.
func refusal(code string) string {
	if strings.HasPrefix(code, "4") || strings.HasPrefix(code, "5") {
		return " " + code
	}
	return ""
}

// refused are those that the API server answered with an error: 429 where it has more to do than it can, 504 where it took too long.
func (r requests) refused() float64 {
	var sum float64
	for name, n := range r {
		if strings.Count(name, " ") > 1 {
			sum += n
		}
	}
	return sum
}

// reads, writes and watches are what a driver makes of each, and was served.
func (r requests) reads() float64 {
	return r["GET secretproviderclasses"] + r["LIST secretproviderclasses"] + r["GET pods"] + r["GET serviceaccounts"] + r["GET secretproviderclasspodstatuses"]
}

func (r requests) writes() float64 {
	var sum float64
	for _, verb := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		sum += r[verb+" secretproviderclasspodstatuses"] + r[verb+" events"]
	}
	return sum
}

func (r requests) watches() float64 { return r["WATCH secretproviderclasses"] }

// settled waits until the nodes ask the API server for nothing more. Watches that begin again say nothing: they do so all the time.
func (s *simulation) settled(ctx context.Context) error {
	const quiet, most = 2 * time.Second, 3 * time.Minute
	began := time.Now()
	var last requests
	for {
		now, err := apiRequests(ctx, s.server)
		if err != nil {
			return err
		}
		maps.DeleteFunc(now, func(name string, _ float64) bool { return strings.HasPrefix(name, "WATCH ") })
		if last != nil && len(now.since(last)) == 0 || time.Since(began) > most {
			return nil
		}
		last = now
		if err := sleep(ctx, quiet); err != nil {
			return err
		}
	}
}
