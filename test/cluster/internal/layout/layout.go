// SPDX-License-Identifier: Apache-2.0

// Package layout says where a local cluster keeps its files and which
// addresses and names it uses. It touches nothing.
package layout

import (
	"fmt"
	"path/filepath"
	"regexp"
)

// Default roots. Both are short: the path of a unix socket may have only 107
// bytes.
const (
	DefaultStateRoot = "/var/lib/vaultferry-cluster"
	DefaultRunRoot   = "/run/vaultferry-cluster"
)

var namePattern = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$`)

// CheckName refuses a cluster name that cannot be a part of a host name, a
// cgroup and a file name alike.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("--name %q: use up to 30 lower-case letters, digits and '-', starting with a letter and not ending with '-'", name)
	}
	return nil
}

// Layout is the places of one cluster as the machine sees them.
type Layout struct {
	StateRoot string // directory of every cluster's state
	RunRoot   string // directory of every cluster's locks
	Name      string // the cluster's name
}

// New is the layout of the named cluster at the default roots.
func New(name string) Layout {
	return Layout{StateRoot: DefaultStateRoot, RunRoot: DefaultRunRoot, Name: name}
}

// State is the directory that holds everything the cluster keeps.
func (l Layout) State() string { return filepath.Join(l.StateRoot, l.Name) }

// Record is the file with the cluster's settings, see record.Record.
func (l Layout) Record() string { return filepath.Join(l.State(), "cluster.json") }

// Kubeconfig is the administrator's kubeconfig for use on the machine.
func (l Layout) Kubeconfig() string { return filepath.Join(l.State(), "kubeconfig") }

// Supervisor is the file with the supervisor's process id.
func (l Layout) Supervisor() string { return filepath.Join(l.State(), "supervisor.json") }

// SupervisorLog is what the supervisor says.
func (l Layout) SupervisorLog() string { return filepath.Join(l.State(), "supervisor.log") }

// CommandLock is held by a command that changes the cluster.
func (l Layout) CommandLock() string { return filepath.Join(l.RunRoot, l.Name+".lock") }

// AliveLock is held by the supervisor for as long as it lives.
func (l Layout) AliveLock() string { return filepath.Join(l.RunRoot, l.Name+".alive") }

// Cgroup is the cluster's cgroup, relative to the root of every hierarchy.
func (l Layout) Cgroup() string { return "/vaultferry-" + l.Name }

// Node is the places and names of one node.
func (l Layout) Node(index int) Node {
	return Node{
		Name:  fmt.Sprintf("%s-node-%d", l.Name, index),
		Index: index,
		Dir:   filepath.Join(l.State(), fmt.Sprintf("node-%d", index)),
	}
}

// Node is one node of a cluster.
type Node struct {
	Name  string // name of the Node object and host name
	Index int    // 0 is the control plane
	Dir   string // the node's directory, as the machine sees it
}

// Status is the file in which the node says how its programs do.
func (n Node) Status() string { return filepath.Join(n.Dir, "status.json") }

// Process is the file with the process id of the node's first process.
func (n Node) Process() string { return filepath.Join(n.Dir, "process.json") }

// Logs is the directory of the node programs' logs.
func (n Node) Logs() string { return filepath.Join(n.Dir, "log") }

// IP is the node's address on the cluster's own network.
func (n Node) IP() string { return fmt.Sprintf("10.123.0.%d", n.Index+2) }

// Link is the name of the node's cable end at the hub.
func (n Node) Link() string { return fmt.Sprintf("node%d", n.Index) }

// PodCIDR is the range of the addresses of the node's pods.
func (n Node) PodCIDR() string { return fmt.Sprintf("10.244.%d.0/24", n.Index) }

// Cgroup is the node's cgroup below the cluster's, relative to the root of
// every hierarchy. Its pods live there.
func (l Layout) NodeCgroup(index int) string { return fmt.Sprintf("%s/node-%d", l.Cgroup(), index) }

// SystemCgroup is the cgroup of the supervisor and of the nodes' programs.
func (l Layout) SystemCgroup() string { return l.Cgroup() + "/system" }

// Addresses and names that are the same in every cluster. Clusters don't see
// each other: each has networks of its own.
const (
	HubIP         = "10.123.0.1"
	NetworkBits   = 24
	ClusterCIDR   = "10.244.0.0/16"
	ServiceCIDR   = "10.96.0.0/16"
	APIServiceIP  = "10.96.0.1"
	DNSServiceIP  = "10.96.0.10"
	ClusterDomain = "cluster.local"
	APIPort       = 6443
	DefaultIssuer = "https://kubernetes.default.svc." + ClusterDomain
)

// Places inside a node, where the machine's own /run is hidden.
const (
	NodeBase  = "/run/cluster"
	NodeState = NodeBase + "/state"
	NodeBin   = NodeBase + "/bin"
)

// InNode is the node's own directory as the node sees it.
func (n Node) InNode() string { return filepath.Join(NodeState, filepath.Base(n.Dir)) }
