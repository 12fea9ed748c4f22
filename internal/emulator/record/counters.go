// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// A Key says what is counted together.
type Key struct {
	// Service is one of package fault's, e.g. "entra" or "vault".
	Service string `json:"service"`
	// Vault is the vault's name, empty for Entra ID.
	Vault string `json:"vault"`
	// Operation is an operationName of the audit log such as SecretGet.
	Operation string `json:"operation"`
	// Identity is the caller's name and AppID its client id; both are empty
	// for a caller that is not known.
	Identity string `json:"identity"`
	AppID    string `json:"appId"`
	// Status is the HTTP status; 0 for a connection cut or left unanswered.
	Status int `json:"status"`
}

// A Count is a key with its number of requests.
type Count struct {
	Key
	Count int `json:"count"`
}

// Counters count requests. They are safe for concurrent use and also a
// prometheus.Collector, there without the identities.
type Counters struct {
	mu     sync.Mutex
	counts map[Key]int
	desc   *prometheus.Desc
}

// NewCounters returns counters at zero.
func NewCounters() *Counters {
	return &Counters{counts: map[Key]int{}, desc: prometheus.NewDesc(
		"azure_emulator_requests", "Requests answered since the start or the last reset, by service, operation and HTTP status.",
		[]string{"service", "operation", "code"}, nil)}
}

// Add counts one request.
func (c *Counters) Add(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[k]++
}

// List returns all counts in a stable order.
func (c *Counters) List() []Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Count, 0, len(c.counts))
	for k, n := range c.counts {
		list = append(list, Count{k, n})
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Vault, b.Vault), cmp.Compare(a.Operation, b.Operation),
			cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.AppID, b.AppID), cmp.Compare(a.Status, b.Status))
	})
	return list
}

// Reset sets all counts to zero.
func (c *Counters) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.counts)
}

// Describe implements prometheus.Collector.
func (c *Counters) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *Counters) Collect(ch chan<- prometheus.Metric) {
	type label struct {
		service, operation string
		status             int
	}
	sums := map[label]int{}
	for _, n := range c.List() {
		sums[label{n.Service, n.Operation, n.Status}] += n.Count
	}
	for l, n := range sums {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), l.service, l.operation, strconv.Itoa(l.status))
	}
}
