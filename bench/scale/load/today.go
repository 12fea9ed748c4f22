// SPDX-License-Identifier: Apache-2.0

package load

// What the Secrets Store CSI Driver v1.6.0 and the Azure provider v1.8.2 ask, with workload identity and without Kubernetes Secrets.
const (
	// Each mount makes new clients: OpenID configuration, instance discovery and a token of Entra ID, and a request that the vault refuses to learn whom
	// to ask for one.
	todayDiscovery, todayTokens, todayChallenges = 2, 1, 1
	// The status is created anew, which fails where there is one, and then replaced. It is read from a cache.
	todayFirstWrites, todayWrites = 1, 2
	// Each driver watches pods and statuses of its node, and all classes.
	todayWatches = 3
)

// today is what so many mounts ask, but for the status.
func today(mounts float64, c Cluster) Requests {
	return Requests{Vault: mounts * float64(todayChallenges+c.Objects), Tokens: mounts * todayTokens, Discovery: mounts * todayDiscovery}
}

// TodaySteady is [Steady] of today's system. Kubelet's repeated calls refresh each volume. The interval delays only the first one: it counts from the
// last change of the mount's directory, which a refresh that finds nothing new does not touch.
func TodaySteady(c Cluster) Requests {
	var mounts float64
	if c.Interval > 0 {
		mounts = float64(c.Pods()) * perMinute(republish)
	}
	r := today(mounts, c)
	r.Writes = mounts * todayWrites
	r.Watches = float64(c.Nodes) * todayWatches * perMinute(watchLife)
	return r
}

// TodayStart is [Start] of today's system.
func TodayStart(c Cluster) Requests {
	pods := float64(c.Pods())
	r := today(pods, c)
	// Each watch has a list before it.
	r.Writes, r.Reads, r.Watches = pods*todayFirstWrites, float64(c.Nodes)*todayWatches, float64(c.Nodes)*todayWatches
	return r
}
