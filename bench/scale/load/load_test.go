// SPDX-License-Identifier: Apache-2.0

package load

import (
	"math"
	"testing"
	"time"
)

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-6*math.Max(1, math.Abs(want)) }

// small is the cluster that each case changes one thing of.
func small() Cluster {
	return Cluster{Nodes: 5, Volumes: 10, Identities: 2, Objects: 3, Interval: 2 * time.Minute, Freshness: 4 * time.Second}
}

func TestSteady(t *testing.T) {
	// Five volumes of a group: the first is due 5/6 of a tenth early on average, so that a round is 110 s.
	const rounds = 60.0 / 110
	for name, tc := range map[string]struct {
		change func(*Cluster)
		vault  float64
	}{
		"as it is":                             {func(*Cluster) {}, 5 * 2 * 3 * rounds},
		"more pods of the same identities":     {func(c *Cluster) { c.Volumes = 30 }, 5 * 2 * 3 * 60 / (120 * (1 - 0.1*15/16))},
		"an identity for each volume":          {func(c *Cluster) { c.Identities = 500 }, 5 * 10 * 3 * 60 / 114.0},
		"no rotation":                          {func(c *Cluster) { c.Interval = 0 }, 0},
		"twice the nodes":                      {func(c *Cluster) { c.Nodes = 10 }, 10 * 2 * 3 * rounds},
		"twice the interval":                   {func(c *Cluster) { c.Interval = 4 * time.Minute }, 5 * 2 * 3 * rounds / 2},
		"a freshness of less than a round":     {func(c *Cluster) { c.Freshness = 109 * time.Second }, 5 * 2 * 3 * rounds},
		"a freshness that serves three":        {func(c *Cluster) { c.Freshness = 5 * time.Minute }, 5 * 2 * 3 * rounds / 3},
		"an interval of less than the default": {func(c *Cluster) { c.Interval = 2 * time.Second }, 5 * 2 * 3 * 60 / (3 * 2 * 11 / 12.0)},
	} {
		t.Run(name, func(t *testing.T) {
			c := small()
			tc.change(&c)
			if got := Steady(c).Vault; !near(got, tc.vault) {
				t.Fatalf("got %v, want %v", got, tc.vault)
			}
		})
	}
}

// The watches are those of the namespaces on each node, whatever the classes and the pods; without rotation nobody renews a token.
func TestSteadyBesideTheVault(t *testing.T) {
	c := small()
	if r := Steady(c); !near(r.Watches, 5/7.5) || !near(r.Tokens, 10/55.0) || !near(r.Discovery, 5/60.0) || r.Reads+r.Writes != 0 {
		t.Fatalf("%+v", r)
	}
	c.Interval = 0
	if r := Steady(c); r.Entra() != 0 || !near(r.API(), 5/7.5) {
		t.Fatalf("%+v", r)
	}
	for namespaces, watches := range map[int]int{0: 5, 1: 5, 2: 10, 20: 10} {
		if c.Namespaces = namespaces; !near(Steady(c).Watches, float64(watches)/7.5) || Start(c).Watches != float64(watches) {
			t.Fatalf("%d namespaces: %+v", namespaces, Start(c))
		}
	}
}

func TestEvents(t *testing.T) {
	c := small()
	for name, tc := range map[string]struct{ got, want Requests }{
		"start":       {Start(c), Requests{Vault: 30, Tokens: 10, Discovery: 5, Reads: 70, Writes: 50, Watches: 5}},
		"rotation":    {Rotation(c), Requests{Reads: 25, Writes: 50}},
		"asked":       {Asked(c), Requests{Vault: 15, Reads: 25, Writes: 25}},
		"today start": {TodayStart(c), Requests{Vault: 200, Tokens: 50, Discovery: 100, Reads: 15, Writes: 50, Watches: 15}},
		"today": {
			TodaySteady(c), Requests{Vault: 40 * 4, Tokens: 40, Discovery: 80, Writes: 80, Watches: 2},
		},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, tc.got, tc.want)
		}
	}
}

func TestOneVaultsLimit(t *testing.T) {
	if VaultPerMinute != 24000 || VaultSeconds(400) != 1 {
		t.Fatal(VaultPerMinute, VaultSeconds(400))
	}
	c := Cluster{Nodes: 5000, Volumes: 30, Identities: 10, Objects: 5, Freshness: 4 * time.Second}
	c.Interval = IntervalFor(c, 0.5)
	if part := Steady(c).Vault / float64(VaultPerMinute); part > 0.5 || part < 0.499 {
		t.Fatalf("with an interval of %s, %v of the limit", c.Interval, part)
	}
}
