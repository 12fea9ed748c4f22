// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"slices"
	"strings"
)

// A Filter selects counts. Empty fields match everything; texts compare without
// regard to case.
type Filter struct {
	Service, Vault, Operation string
	// Identity is the caller's name or client id.
	Identity string
	Status   int
}

func (f Filter) matches(k Key) bool {
	same := func(want, got string) bool { return want == "" || strings.EqualFold(want, got) }
	return same(f.Service, k.Service) && same(f.Vault, k.Vault) && same(f.Operation, k.Operation) &&
		(same(f.Identity, k.Identity) || same(f.Identity, k.AppID)) && (f.Status == 0 || f.Status == k.Status)
}

// Select returns the counts that a filter matches, in the order of List.
func (c *Counters) Select(f Filter) []Count {
	return slices.DeleteFunc(c.List(), func(one Count) bool { return !f.matches(one.Key) })
}

// A Total adds up the requests of one caller, whatever their status.
type Total struct {
	Service   string `json:"service"`
	Vault     string `json:"vault"`
	Operation string `json:"operation"`
	Identity  string `json:"identity"`
	AppID     string `json:"appId"`
	Requests  int    `json:"requests"`
	// Succeeded had a status below 400, Throttled were answered 429, and Failed
	// are all others, those without an answer too.
	Succeeded int `json:"succeeded"`
	Throttled int `json:"throttled"`
	Failed    int `json:"failed"`
}

// Totals adds up counts by caller, vault and operation.
func Totals(counts []Count) []Total {
	sums := map[Key]*Total{}
	for _, c := range counts {
		key := c.Key
		key.Status = 0
		t := sums[key]
		if t == nil {
			t = &Total{Service: c.Service, Vault: c.Vault, Operation: c.Operation, Identity: c.Identity, AppID: c.AppID}
			sums[key] = t
		}
		t.Requests += c.Count
		switch {
		case c.Status == 429:
			t.Throttled += c.Count
		case c.Status > 0 && c.Status < 400:
			t.Succeeded += c.Count
		default:
			t.Failed += c.Count
		}
	}
	totals := make([]Total, 0, len(sums))
	for _, t := range sums {
		totals = append(totals, *t)
	}
	slices.SortFunc(totals, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Vault, b.Vault), cmp.Compare(a.Operation, b.Operation),
			cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.AppID, b.AppID))
	})
	return totals
}
