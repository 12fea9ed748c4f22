// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"path"
	"strings"

	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
)

// Node is what the programs of one node are configured with. Paths are as the
// node sees them.
type Node struct {
	Node        layout.Node
	PKI         string // directory of keys and certificates
	Config      string // directory of rendered files
	Bin         string // directory of the built parts, one directory each
	Issuer      string // ServiceAccount issuer; "" is layout.DefaultIssuer
	AuditLog    bool   // write every API request's metadata to the log directory
	Cgroup      string // cgroup of the node's pods, relative to every hierarchy's root
	Snapshotter string // containerd's: overlayfs or native
	PauseImage  string // name of the locally imported sandbox image
}

func (n Node) pki(name string) string { return path.Join(n.PKI, name) }

// Kubeconfig is where the kubeconfig of one of the node's programs is.
func (n Node) Kubeconfig(program string) string { return path.Join(n.Config, program+".kubeconfig") }

// EtcdFlags are etcd's. Nothing is written through to the disk: a killed etcd
// loses nothing, and nobody needs this data after the machine itself fell over.
func (n Node) EtcdFlags() []string {
	return []string{
		"--name=" + n.Node.Name,
		"--data-dir=" + path.Join(n.Node.InNode(), "etcd"),
		"--unsafe-no-fsync",
		"--listen-client-urls=https://127.0.0.1:2379",
		"--advertise-client-urls=https://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=" + n.Node.Name + "=http://127.0.0.1:2380",
		"--client-cert-auth",
		"--trusted-ca-file=" + n.pki("etcd-ca.crt"),
		"--cert-file=" + n.pki("etcd-server.crt"),
		"--key-file=" + n.pki("etcd-server.key"),
		"--auto-compaction-retention=10m",
		"--log-level=warn",
	}
}

// APIServerFlags are the API server's.
func (n Node) APIServerFlags() []string {
	issuer := n.Issuer
	if issuer == "" {
		issuer = layout.DefaultIssuer
	}
	flags := []string{
		"--advertise-address=" + n.Node.IP(),
		fmt.Sprintf("--secure-port=%d", layout.APIPort),
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--client-ca-file=" + n.pki("ca.crt"),
		"--tls-cert-file=" + n.pki("apiserver.crt"),
		"--tls-private-key-file=" + n.pki("apiserver.key"),
		"--etcd-servers=https://127.0.0.1:2379",
		"--etcd-cafile=" + n.pki("etcd-ca.crt"),
		"--etcd-certfile=" + n.pki("etcd-client.crt"),
		"--etcd-keyfile=" + n.pki("etcd-client.key"),
		"--kubelet-certificate-authority=" + n.pki("ca.crt"),
		"--kubelet-client-certificate=" + n.pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + n.pki("apiserver-kubelet-client.key"),
		// By name would need the machine's DNS to know the nodes.
		"--kubelet-preferred-address-types=InternalIP",
		"--proxy-client-cert-file=" + n.pki("front-proxy-client.crt"),
		"--proxy-client-key-file=" + n.pki("front-proxy-client.key"),
		"--requestheader-client-ca-file=" + n.pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--service-account-issuer=" + issuer,
		// Default: the URL has the node's address, which only the node can use.
		"--service-account-jwks-uri=" + strings.TrimSuffix(issuer, "/") + "/openid/v1/jwks",
		"--service-account-key-file=" + n.pki("sa.pub"),
		"--service-account-signing-key-file=" + n.pki("sa.key"),
		"--service-cluster-ip-range=" + layout.ServiceCIDR,
		"--profiling=false",
	}
	if n.AuditLog {
		flags = append(flags,
			"--audit-policy-file="+path.Join(n.Config, "audit-policy.yaml"),
			"--audit-log-path="+path.Join(n.Node.InNode(), "log", "audit.log"),
		)
	}
	return flags
}

// ControllerManagerFlags are the controller manager's.
func (n Node) ControllerManagerFlags() []string {
	return []string{
		"--kubeconfig=" + n.Kubeconfig("controller-manager"),
		"--authentication-kubeconfig=" + n.Kubeconfig("controller-manager"),
		"--authorization-kubeconfig=" + n.Kubeconfig("controller-manager"),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + n.pki("sa.key"),
		"--root-ca-file=" + n.pki("ca.crt"),
		"--cluster-signing-cert-file=" + n.pki("ca.crt"),
		"--cluster-signing-key-file=" + n.pki("ca.key"),
		"--allocate-node-cidrs=true",
		"--cluster-cidr=" + layout.ClusterCIDR,
		"--service-cluster-ip-range=" + layout.ServiceCIDR,
		"--profiling=false",
	}
}

// SchedulerFlags are the scheduler's.
func (n Node) SchedulerFlags() []string {
	return []string{
		"--kubeconfig=" + n.Kubeconfig("scheduler"),
		"--authentication-kubeconfig=" + n.Kubeconfig("scheduler"),
		"--authorization-kubeconfig=" + n.Kubeconfig("scheduler"),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--profiling=false",
	}
}

// KubeletFlags are kubelet's.
func (n Node) KubeletFlags() []string {
	return []string{
		"--config=" + path.Join(n.Config, "kubelet.yaml"),
		"--kubeconfig=" + n.Kubeconfig("kubelet"),
		"--hostname-override=" + n.Node.Name,
		"--node-ip=" + n.Node.IP(),
	}
}

// ProxyFlags are kube-proxy's.
func (n Node) ProxyFlags() []string {
	return []string{
		"--config=" + path.Join(n.Config, "proxy.yaml"),
		"--hostname-override=" + n.Node.Name,
	}
}
