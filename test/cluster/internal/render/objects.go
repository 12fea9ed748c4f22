// SPDX-License-Identifier: Apache-2.0

package render

import "github.com/vaultferry/vaultferry/test/cluster/internal/layout"

// Object is an object that every cluster starts with.
type Object struct {
	Path     string // in the API
	Manifest string // YAML
}

// Objects make the cluster's DNS known: CoreDNS runs on the node itself, so its
// Service has no selector and gets its endpoint here.
func Objects(dnsIP string) []Object {
	const (
		rbac    = "/apis/rbac.authorization.k8s.io/v1/"
		service = "/api/v1/namespaces/kube-system/services/kube-dns"
		slice   = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns"
	)
	return []Object{
		{rbac + "clusterroles/system:coredns", dnsRole},
		{rbac + "clusterrolebindings/system:coredns", dnsBinding},
		{service, dnsService},
		{slice, dnsEndpoints + "- addresses: [" + dnsIP + "]\n  conditions: {ready: true}\n"},
	}
}

const (
	dnsRole = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- {apiGroups: [""], resources: [services, namespaces, pods], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
`
	dnsBinding = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:coredns"}]
`
	dnsService = `apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: ` + layout.DNSServiceIP + `
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
`
	dnsEndpoints = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns, endpointslice.kubernetes.io/managed-by: vaultferry-cluster}}
addressType: IPv4
ports:
- {name: dns, port: 53, protocol: UDP}
- {name: dns-tcp, port: 53, protocol: TCP}
endpoints:
`
)
