// SPDX-License-Identifier: Apache-2.0

// Package parts builds the programs of a cluster from Go modules and keeps the
// results, so that each is built once for each version of its sources.
package parts

// Part is one nested module and how it is built.
type Part struct {
	Name    string
	Title   string   // for progress lines, with the version
	Target  string   // what to build: "tool" is every tool of the module
	Tags    string   // build tags
	LDFlags string   // besides -s -w
	CGO     bool     // needs a C compiler
	Outputs []string // files that a finished build has
	Cold    string   // about how long the first build takes on 2 cores
}

// KubernetesVersion is that of k8s.io/kubernetes in parts/kubernetes/go.mod.
const KubernetesVersion = "v1.36.3"

// All lists the parts in the order in which they are built: the longest first,
// so that the others find many packages built.
func All() []Part {
	return []Part{
		{
			Name: "kubernetes", Title: "kubernetes " + KubernetesVersion, Target: ".", Cold: "about 5 minutes",
			// Clients parse the version; a program built from a module has none.
			LDFlags: "-X k8s.io/component-base/version.gitVersion=" + KubernetesVersion +
				" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36" +
				" -X k8s.io/client-go/pkg/version.gitVersion=" + KubernetesVersion,
			Outputs: []string{"kubernetes"},
		},
		{
			Name: "containerd", Title: "containerd v2.4.2", Target: "tool", Cold: "about 1 minute",
			Tags:    "no_btrfs,no_devmapper,no_zfs",
			LDFlags: "-X github.com/containerd/containerd/v2/version.Version=v2.4.2",
			Outputs: []string{"containerd", "containerd-shim-runc-v2", "ctr"},
		},
		{
			Name: "runc", Title: "runc v1.5.2", Target: "tool", Tags: "seccomp", CGO: true, Cold: "20 seconds",
			LDFlags: "-X main.version=1.5.2",
			Outputs: []string{"runc"},
		},
		{
			Name: "cni", Title: "CNI plugins v1.9.1", Target: "tool", Cold: "10 seconds",
			Outputs: []string{"host-local", "loopback", "portmap", "ptp"},
		},
		{
			Name: "coredns", Title: "coredns v1.15.0", Target: ".", Cold: "about 1 minute",
			Outputs: []string{"coredns"},
		},
		{
			Name: "pause", Title: "pause", Target: ".", Cold: "1 second",
			Outputs: []string{"pause", "pause.tar"},
		},
	}
}
