// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
	"github.com/vaultferry/vaultferry/bench/scale/load"
)

// phase is a part of the run with all that was asked in it.
type phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Asked   asked   `json:"azure"`
	// MostInWindow is the most that the vault was asked in ten seconds.
	MostInWindow int64    `json:"vaultMostIn10s"`
	API          requests `json:"api"`
	// Failed are calls of the provider that failed.
	Failed int64 `json:"failed"`
	// ServerCPU is the processor time that the API server took, in seconds; the others are resident sets at the end, in bytes.
	ServerCPU    float64 `json:"apiServerCPUSeconds"`
	ServerMemory int64   `json:"apiServerRSSBytes"`
	EtcdMemory   int64   `json:"etcdRSSBytes"`
	OurMemory    int64   `json:"simulationRSSBytes"`

	// Arithmetic is what package load says; Steady, what it says of a minute in which nothing changes, which goes on meanwhile.
	Arithmetic load.Requests `json:"arithmetic"`
	Steady     load.Requests `json:"-"`
	// lead is how long it takes until that goes on.
	lead time.Duration
	// MoreReads is by how many reads of the API server more than the arithmetic says there may be.
	MoreReads float64 `json:"moreReads"`
}

// phase does the work and keeps all that was asked during it.
func (s *simulation) phase(ctx context.Context, p phase, work func(context.Context) error) error {
	api, err := apiRequests(ctx, s.server)
	if err != nil {
		return err
	}
	cpu, err := s.server.Server.CPU()
	if err != nil {
		return err
	}
	azure, failed, began := s.azure.asked(), s.failures(), time.Now()
	if err := work(ctx); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	took := time.Since(began)
	p.Asked, p.Failed, p.Seconds = s.azure.asked().since(azure), s.failures()-failed, took.Seconds()
	p.MostInWindow = s.seconds.most(began, load.VaultWindow)
	p.Arithmetic = p.Arithmetic.Plus(p.Steady.Times(max(0, (took - p.lead).Minutes())))
	after, err := apiRequests(ctx, s.server)
	if err != nil {
		return err
	}
	p.API = after.since(api)
	cpuAfter, err := s.server.Server.CPU()
	if err != nil {
		return err
	}
	p.ServerCPU = (cpuAfter - cpu).Seconds()
	if err := s.memory(&p); err != nil {
		return err
	}
	s.phases = append(s.phases, p)
	s.say("%s: %s of Key Vault, %s of Entra ID, %s reads and %s writes of the API server", p.Name,
		figure(float64(p.Asked.Vault)), figure(float64(p.Asked.Tokens+p.Asked.Discovery)), figure(p.API.reads()), figure(p.API.writes()))
	return nil
}

func (s *simulation) memory(p *phase) (err error) {
	if p.ServerMemory, err = s.server.Server.Memory("VmRSS"); err != nil {
		return err
	}
	if p.EtcdMemory, err = s.server.Etcd.Memory("VmRSS"); err != nil {
		return err
	}
	p.OurMemory, err = lab.MemoryOf("self", "VmRSS")
	return err
}

func (s *simulation) failures() int64 {
	var sum int64
	for _, h := range s.nodes {
		sum += h.source.failed.Load()
	}
	return sum
}

// seconds are what the vault was asked in each second of the run.
type seconds struct {
	mu    sync.Mutex
	began time.Time
	each  []int64
}

// record counts until ctx ends.
func (s *seconds) record(ctx context.Context, a *azure) {
	s.mu.Lock()
	s.began = time.Now()
	s.mu.Unlock()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for last := a.asked().Vault; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := a.asked().Vault
		s.mu.Lock()
		s.each = append(s.each, now-last)
		s.mu.Unlock()
		last = now
	}
}

// most is the most that was asked within a window since a time.
func (s *seconds) most(since time.Time, window time.Duration) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := max(0, int(since.Sub(s.began)/time.Second))
	var sum, most int64
	for i := from; i < len(s.each); i++ {
		sum += s.each[i]
		if before := i - int(window/time.Second); before >= from {
			sum -= s.each[before]
		}
		most = max(most, sum)
	}
	return most
}
