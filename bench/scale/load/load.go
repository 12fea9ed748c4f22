// SPDX-License-Identifier: Apache-2.0

// Package load is the arithmetic of what a cluster asks of Key Vault, Entra ID and the API server: pure functions of its size, for Vaultferry and for the
// Secrets Store CSI Driver v1.6.0 with the Azure provider v1.8.2. bench/scale measures the former; its tests compare the two.
package load

import (
	"math"
	"time"
)

// Limits of one vault in one region ("Azure Key Vault service limits": transactions of secrets, 4,000 in 10 seconds).
const (
	VaultTransactions = 4000
	VaultWindow       = 10 * time.Second
	// VaultPerMinute is the same for a minute.
	VaultPerMinute = VaultTransactions * int(time.Minute/VaultWindow)
)

const (
	// jitter is the part of the interval by which a refresh comes earlier at most (internal/driver, before).
	jitter = 0.1
	// tokenLife is how long Entra ID's tokens last at the least: it takes 60 to 90 minutes. They are renewed renewBefore their end.
	tokenLife, renewBefore = time.Hour, 5 * time.Minute
	// discoveryLife is how long a node keeps the tenant's OpenID configuration, which precedes an exchange.
	discoveryLife = time.Hour
	// watchLife is the mean length of a watch: client-go takes one of 5 to 10 minutes.
	watchLife = 7*time.Minute + 30*time.Second
	// republish is the mean time between kubelet's calls for a volume where the CSIDriver has requiresRepublish: 60 s and up to half of it.
	republish = 75 * time.Second
)

// Cluster is one where volumes, identities and objects are spread evenly: each identity has one class, that of Objects objects of its own in one vault.
type Cluster struct {
	Nodes int
	// Volumes is how many each node has, of as many pods.
	Volumes int
	// Identities is how many the cluster has.
	Identities int
	// Objects is how many each volume holds.
	Objects int
	// Namespaces is over how many the identities are spread, each with its class and pods; 0 is one.
	Namespaces int
	// Interval is --rotation-poll-interval, 0 for no rotation; Freshness, --object-freshness.
	Interval, Freshness time.Duration
}

// Requests are numbers of requests: in a minute, or in all.
type Requests struct {
	Vault float64 `json:"vault"`
	// Tokens are exchanges with Entra ID, Discovery what is asked of it besides.
	Tokens    float64 `json:"tokens"`
	Discovery float64 `json:"discovery"`
	// Reads and Writes are of the API server, the watches that begin (or begin again) apart.
	Reads   float64 `json:"reads"`
	Writes  float64 `json:"writes"`
	Watches float64 `json:"watches"`
}

// Entra is all that is asked of Entra ID.
func (r Requests) Entra() float64 { return r.Tokens + r.Discovery }

// API is all that is asked of the API server.
func (r Requests) API() float64 { return r.Reads + r.Writes + r.Watches }

// Times is so many times as many.
func (r Requests) Times(n float64) Requests {
	return Requests{
		Vault: r.Vault * n, Tokens: r.Tokens * n, Discovery: r.Discovery * n, Reads: r.Reads * n, Writes: r.Writes * n, Watches: r.Watches * n,
	}
}

// Plus adds others.
func (r Requests) Plus(o Requests) Requests {
	return Requests{
		Vault: r.Vault + o.Vault, Tokens: r.Tokens + o.Tokens, Discovery: r.Discovery + o.Discovery,
		Reads: r.Reads + o.Reads, Writes: r.Writes + o.Writes, Watches: r.Watches + o.Watches,
	}
}

// Pods is how many pods there are, with a volume each.
func (c Cluster) Pods() int { return c.Nodes * c.Volumes }

// Groups is how many classes a node's volumes use. Volumes of one class are refreshed together, and read once.
func (c Cluster) Groups() int { return min(c.Volumes, c.Identities) }

// Watched is in how many namespaces a node's volumes use classes. Each has a watch.
func (c Cluster) Watched() int { return min(c.Groups(), max(c.Namespaces, 1)) }

// Readers is how many volumes hold a certain object.
func (c Cluster) Readers() float64 { return float64(c.Pods()) / float64(max(c.Identities, 1)) }

// Round is the mean time between two refreshes of a group: it begins with the first of its volumes, each of which is up to a tenth of the interval early.
func (c Cluster) Round() time.Duration {
	each := float64(c.Volumes) / float64(max(c.Groups(), 1))
	return time.Duration(float64(c.Interval) * (1 - jitter*each/(each+1)))
}

// ReadEvery is the mean time between two reads of an object by one node, 0 for never: what was read within the freshness serves further refreshes.
func (c Cluster) ReadEvery() time.Duration {
	round := c.Round()
	if round <= 0 {
		return 0
	}
	rounds := math.Ceil(float64(c.Freshness) / float64(round))
	return time.Duration(max(rounds, 1) * float64(round))
}

// perMinute is how often something happens in a minute that happens once in d.
func perMinute(d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(time.Minute) / float64(d)
}

// Steady is what the cluster asks in a minute while nothing changes.
func Steady(c Cluster) Requests {
	groups := float64(c.Nodes * c.Groups())
	r := Requests{Vault: groups * float64(c.Objects) * perMinute(c.ReadEvery()), Watches: float64(c.Nodes*c.Watched()) * perMinute(watchLife)}
	if c.Interval > 0 {
		r.Tokens = groups * perMinute(tokenLife-renewBefore)
		r.Discovery = min(r.Tokens, float64(c.Nodes)*perMinute(discoveryLife))
	}
	return r
}

// Start is what the cluster asks in all when every node starts at once. A class is read once for the volumes that use it, if they come one after
// another: those that come before its namespace's watch shows it may read it again. Likewise, identities whose first exchanges come at once each ask for the OpenID
// configuration.
func Start(c Cluster) Requests {
	groups, pods := float64(c.Nodes*c.Groups()), float64(c.Pods())
	return Requests{
		Vault: groups * float64(c.Objects), Tokens: groups, Discovery: float64(c.Nodes),
		// The class; each pod, and its ServiceAccount for all pods of a node that look at it within a minute, for what does not go together.
		Reads: 2*groups + pods, Writes: pods, Watches: float64(c.Nodes * c.Watched()),
	}
}

// MostClassReads is how many reads more than Start says there may be.
func MostClassReads(c Cluster) float64 { return float64(c.Pods() - c.Nodes*c.Groups()) }

// Rotation is what the cluster asks in all beyond Steady when one object changes: status and event of each volume that holds it, within an interval.
func Rotation(c Cluster) Requests {
	return Requests{Reads: c.Readers(), Writes: 2 * c.Readers()}
}

// Asked is what the cluster asks in all, within seconds, when somebody asks for the rotation of one class (kubectl vaultferry rotate): every node that uses
// it reads its objects, and the status of each volume takes note of the request.
func Asked(c Cluster) Requests {
	nodes := min(float64(c.Nodes), c.Readers())
	return Requests{Vault: nodes * float64(c.Objects), Reads: c.Readers(), Writes: c.Readers()}
}

// VaultSeconds is how long one vault takes to answer so many requests, at its limit.
func VaultSeconds(requests float64) float64 {
	return requests / VaultTransactions * VaultWindow.Seconds()
}

// IntervalFor is the shortest interval, in whole seconds, with which Steady takes no more than a part of one vault's limit.
func IntervalFor(c Cluster, part float64) time.Duration {
	c.Interval, c.Freshness = time.Minute, 0
	return (time.Duration(float64(time.Minute)*Steady(c).Vault/(part*float64(VaultPerMinute))) + time.Second - 1).Truncate(time.Second)
}
