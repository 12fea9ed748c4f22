// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Settings are what the cluster says about what pods get.
type Settings struct {
	// Audience of the service account token, usually [DefaultAudience].
	Audience string
	// TenantID is for ServiceAccounts that name none.
	TenantID string
	// AuthorityHost is the address of Entra ID; see [AuthorityHost].
	AuthorityHost string
	// ProxyImage and ProxyInitImage are the images of the proxy sidecar. Without them a pod that asks for the sidecar is denied.
	ProxyImage, ProxyInitImage string
	// ProxyLogLevel is passed to the proxy.
	ProxyLogLevel string
	// NativeSidecar makes the proxy an init container that is restarted always. All kubelets of the cluster must know them, which is certain
	// from an API server of 1.32 on.
	NativeSidecar bool
	// LegacyTokenPath puts the token where it was before version 1.6 of the Azure webhook.
	LegacyTokenPath bool
	// Endpoint is for pods that ask for it; nil where the cluster has none.
	Endpoint *TokenEndpoint
}

// TokenEndpoint is the cluster's own endpoint for tokens of Entra ID: identity bindings of AKS, where a proxy in the cluster exchanges tokens.
type TokenEndpoint struct {
	// Annotation on a pod, with the value "true", asks for the endpoint.
	Annotation string
	// Audience replaces that of [Settings].
	Audience string
	// URL and SNIName are where the endpoint answers.
	URL, SNIName string
	// At most one of the following says whom the pod trusts: the PEM certificates themselves, a ConfigMap in the pod's namespace with the
	// key ca.crt, or a signer's ClusterTrustBundles.
	CAData, CAConfigMap, CASigner string
	// CASelector selects among the signer's ClusterTrustBundles.
	CASelector *metav1.LabelSelector
}

// hasCAFile tells whether the volume holds the CA.
func (e *TokenEndpoint) hasCAFile() bool { return e.CAConfigMap != "" || e.CASigner != "" }

// layout says where the token is.
type layout struct {
	volumePrefix, mountPath, tokenFile string
	// hashed volume names end with a hash of the pod's name.
	hashed bool
}

func (s *Settings) layout() layout {
	if s.LegacyTokenPath {
		return layout{volumePrefix: "azure-identity-token", mountPath: "/var/run/secrets/azure/tokens", tokenFile: "azure-identity-token"}
	}
	return layout{
		volumePrefix: "azure-workload-identity-reserved-", mountPath: "/var/run/secrets/azure/wi", tokenFile: "token/azure-identity-token", hashed: true,
	}
}

// volumeName is the name of the volume in a pod that has none yet.
func (l layout) volumeName(p *pod) string {
	if !l.hashed {
		return l.volumePrefix
	}
	const longest = 63 // of a volume's name: a DNS label
	hash := sha256.Sum256([]byte(p.displayName()))
	return l.volumePrefix + hex.EncodeToString(hash[:])[:longest-len(l.volumePrefix)]
}

// reserved tells whether a volume of that name is the webhook's. The end of the name does not matter: it is of the pod's name at another time.
func (l layout) reserved(volume string) bool {
	if l.hashed {
		return strings.HasPrefix(volume, l.volumePrefix)
	}
	return volume == l.volumePrefix
}

// holds tells whether something mounted at dir is in the webhook's directory.
func (l layout) holds(dir string) bool {
	dir = path.Clean(dir)
	return dir == l.mountPath || strings.HasPrefix(dir, l.mountPath+"/")
}
