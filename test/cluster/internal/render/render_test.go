// SPDX-License-Identifier: Apache-2.0

package render

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
)

func node() Node {
	places := layout.New("demo")
	return Node{
		Node: places.Node(0), PKI: "/p", Config: "/c", Bin: "/b", Cgroup: places.NodeCgroup(0), Snapshotter: "overlayfs", PauseImage: "pause:local",
	}
}

// Every file is what its program can read, and holds what was settled on.
func TestFiles(t *testing.T) {
	files := map[string]string{}
	for _, file := range node().Files() {
		files[file.Path] = file.Content
	}
	for path, want := range map[string]map[string]any{
		"/c/kubelet.yaml": {"cgroupRoot": "/vaultferry-demo/node-0", "failCgroupV1": false, "failSwapOn": false, "cgroupDriver": "cgroupfs"},
		"/c/proxy.yaml":   {"mode": "iptables", "clusterCIDR": layout.ClusterCIDR}, "/c/audit-policy.yaml": {"kind": "Policy"},
		"/etc/cni/net.d/10-cluster.conflist": {"name": "cluster"},
	} {
		var got map[string]any
		if err := yaml.Unmarshal([]byte(files[path]), &got); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for field, value := range want {
			if got[field] != value {
				t.Errorf("%s: %s is %v, want %v", path, field, got[field], value)
			}
		}
	}
	if !json.Valid([]byte(files["/etc/cni/net.d/10-cluster.conflist"])) {
		t.Error("the pod network is no JSON")
	}
	for path, want := range map[string]string{
		"/c/containerd.toml": "snapshotter = \"overlayfs\"", "/c/Corefile": "bind 10.123.0.2", "/etc/hosts": "10.123.0.2 demo-node-0",
		"/etc/resolv.conf": "nameserver 10.123.0.2",
	} {
		if !strings.Contains(files[path], want) {
			t.Errorf("%s lacks %q:\n%s", path, want, files[path])
		}
	}
}

func TestAPIServerFlags(t *testing.T) {
	n := node()
	plain := n.APIServerFlags()
	n.Issuer, n.AuditLog = "https://oidc.example.com/", true
	own := n.APIServerFlags()
	for name, tc := range map[string]struct {
		flags []string
		want  string
		has   bool
	}{
		"issuer":        {plain, "--service-account-issuer=" + layout.DefaultIssuer, true},
		"no audit log":  {plain, "--audit-log-path=" + layout.NodeState + "/node-0/log/audit.log", false},
		"own issuer":    {own, "--service-account-issuer=https://oidc.example.com/", true},
		"its keys":      {own, "--service-account-jwks-uri=https://oidc.example.com/openid/v1/jwks", true},
		"with audit":    {own, "--audit-log-path=" + layout.NodeState + "/node-0/log/audit.log", true},
		"nodes by IP":   {plain, "--kubelet-preferred-address-types=InternalIP", true},
		"etcd with TLS": {plain, "--etcd-servers=https://127.0.0.1:2379", true},
	} {
		if slices.Contains(tc.flags, tc.want) != tc.has {
			t.Errorf("%s: %q is %v in %q", name, tc.want, !tc.has, tc.flags)
		}
	}
}

func TestKubeconfig(t *testing.T) {
	content, err := Kubeconfig{Name: "demo", Server: "https://127.0.0.1:1", CA: []byte("ca"), Cert: []byte("cert"), Key: []byte("key")}.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Current  string `json:"current-context"`
		Clusters []struct {
			Cluster map[string]string
		}
		Users []struct {
			User map[string]string
		}
	}
	if err := yaml.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	if got.Current != "demo" || got.Clusters[0].Cluster["server"] != "https://127.0.0.1:1" ||
		got.Users[0].User["client-key-data"] != base64.StdEncoding.EncodeToString([]byte("key")) {
		t.Errorf("got %+v", got)
	}
}

func TestObjectsAreManifestsOfTheirPaths(t *testing.T) {
	for _, object := range Objects("10.123.0.2") {
		var got struct {
			Kind      string
			Metadata  struct{ Name, Namespace string }
			Endpoints []struct{ Addresses []string }
		}
		if err := yaml.Unmarshal([]byte(object.Manifest), &got); err != nil {
			t.Fatalf("%s: %v", object.Path, err)
		}
		if !strings.HasSuffix(object.Path, "/"+got.Metadata.Name) || !strings.Contains(object.Path, got.Metadata.Namespace) {
			t.Errorf("%s is at %s", got.Metadata.Name, object.Path)
		}
		if got.Kind == "EndpointSlice" && got.Endpoints[0].Addresses[0] != "10.123.0.2" {
			t.Errorf("DNS is at %v", got.Endpoints)
		}
	}
}

func TestImagesGoToTheSnapshotterThatKubeletUses(t *testing.T) {
	for snapshotter, want := range map[string]string{
		"overlayfs": "--namespace k8s.io images import x.tar", "native": "--namespace k8s.io images import --local --snapshotter native x.tar",
	} {
		if got := strings.Join(ImportArgs(snapshotter, "x.tar"), " "); got != want {
			t.Errorf("%s: %s", snapshotter, got)
		}
	}
}
