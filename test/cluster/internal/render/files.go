// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"path"

	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
)

// File is a file to write.
type File struct {
	Path    string // as the node sees it
	Content string
}

// Files are the configuration files of the node's programs.
func (n Node) Files() []File {
	return []File{
		{path.Join(n.Config, "kubelet.yaml"), n.kubelet()},
		{path.Join(n.Config, "proxy.yaml"), n.proxy()},
		{path.Join(n.Config, "containerd.toml"), n.containerd()},
		{path.Join(n.Config, "Corefile"), n.corefile()},
		{path.Join(n.Config, "audit-policy.yaml"), auditPolicy},
		{"/etc/cni/net.d/10-cluster.conflist", n.network()},
		{"/etc/hosts", "127.0.0.1 localhost\n" + n.Node.IP() + " " + n.Node.Name + "\n"},
		{"/etc/resolv.conf", "nameserver " + n.Node.IP() + "\nsearch svc." + layout.ClusterDomain + " " + layout.ClusterDomain + "\n"},
		{path.Join(n.Config, "resolv.conf"), "nameserver " + n.Node.IP() + "\n"},
	}
}

// kubelet is a KubeletConfiguration. It reserves and enforces nothing on the
// machine, and evicts only when the disk is nearly full. Who waits in front of a
// local cluster mends what crashed and wants to see it at once, so a container
// that keeps crashing waits 2 s, not 5 minutes.
func (n Node) kubelet() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[1]s/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: %[1]s/kubelet-server-%[2]s.crt
tlsPrivateKeyFile: %[1]s/kubelet-server-%[2]s.key
cgroupDriver: cgroupfs
cgroupRoot: %[3]s
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard:
  memory.available: 50Mi
  nodefs.available: 1%%
  nodefs.inodesFree: 1%%
  imagefs.available: 1%%
  imagefs.inodesFree: 1%%
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
serializeImagePulls: false
crashLoopBackOff: {maxContainerRestartPeriod: 2s}
maxPods: 250
clusterDNS: [%[4]s]
clusterDomain: %[5]s
resolvConf: %[6]s/resolv.conf
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/volume-plugins
healthzBindAddress: 127.0.0.1
enableServer: true
`, n.PKI, n.Node.Name, n.Cgroup, layout.DNSServiceIP, layout.ClusterDomain, n.Config)
}

// proxy is a KubeProxyConfiguration. Its conntrack settings are all "leave it":
// those of the kernel belong to the machine.
func (n Node) proxy() string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: %s
clientConnection: {kubeconfig: %s}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
iptables: {syncPeriod: 30s, minSyncPeriod: 100ms}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s, udpStreamTimeout: 0s}
`, layout.ClusterCIDR, n.Kubeconfig("proxy"))
}

// containerd is its configuration, version 3.
func (n Node) containerd() string {
	return fmt.Sprintf(`version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = %[1]q
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = %[2]q

[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE no process may lower an OOM score.
  restrict_oom_score_adj = true
  device_ownership_from_security_context = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [%[3]q]
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = %[4]q
        SystemdCgroup = false
`, n.Snapshotter, n.PauseImage, path.Join(n.Bin, "cni"), path.Join(n.Bin, "runc", "runc"))
}

// network is the pod network: each pod on a cable of its own to the node, which
// routes. Services then work without the br_netfilter module.
func (n Node) network() string {
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "cluster",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {"type": "host-local", "dataDir": "/run/cni/ipam", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
  ]
}
`, n.Node.PodCIDR())
}

// corefile serves the cluster's names and says at once that no other exists.
func (n Node) corefile() string {
	return fmt.Sprintf(`.:53 {
    bind %s
    errors
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    kubernetes %s in-addr.arpa ip6.arpa {
        kubeconfig %s
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }
    hosts %s {
        ttl 5
        reload 1s
        fallthrough
    }
    template ANY ANY . {
        rcode NXDOMAIN
    }
}
`, n.Node.IP(), layout.ClusterDomain, n.Kubeconfig("dns"), path.Join(layout.NodeState, "hosts"))
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`
