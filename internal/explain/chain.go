// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/mounts"
	"github.com/vaultferry/vaultferry/internal/reason/catalog"
)

// State is how a link does.
type State string

// The states, from good to bad.
const (
	OK      State = "ok"
	Unknown State = "unknown"
	Warning State = "warning"
	Broken  State = "broken"
)

// LinkKind is what a link is.
type LinkKind string

// The links of a chain, in their order.
const (
	PodLink        LinkKind = "pod"
	VolumeLink     LinkKind = "volume"
	DriverLink     LinkKind = "driver"
	ClassLink      LinkKind = "class"
	AccountLink    LinkKind = "service account"
	IdentityLink   LinkKind = "identity"
	CredentialLink LinkKind = "federated credential"
	RoleLink       LinkKind = "role"
	VaultLink      LinkKind = "vault"
	ObjectLink     LinkKind = "object"
	FileLink       LinkKind = "file"
	SecretLink     LinkKind = "Secret"
	ConsumerLink   LinkKind = "consumer"
	ReloadLink     LinkKind = "reload"
)

// depth is the order in which the node meets the links: where one is broken, those before it hold and those behind it are not known. The vault is
// reached before it looks at roles.
func (k LinkKind) depth() int {
	return slices.Index([]LinkKind{
		PodLink, VolumeLink, ClassLink, DriverLink, AccountLink, IdentityLink, CredentialLink, VaultLink, RoleLink, ObjectLink, FileLink, SecretLink, ConsumerLink,
		ReloadLink,
	}, k)
}

// Link is one link of a chain.
type Link struct {
	Kind  LinkKind `json:"kind"`
	Name  string   `json:"name"`
	State State    `json:"state"`
	// Detail says what was found, on one line.
	Detail string `json:"detail,omitempty"`
	// Reason is the name of a reason in docs/reasons.md where the link is broken or a warning has one.
	Reason string `json:"reason,omitempty"`
	// Message is what happened and what to do about it, in the words of the pod's event.
	Message string `json:"message,omitempty"`
	// Fix is a command, or several lines of them, that mends the link.
	Fix string `json:"fix,omitempty"`
	// Reload is what the reload controller has noted on a workload, for a [ReloadLink].
	Reload *mounts.Reload `json:"reload,omitempty"`
}

// Chain is the way of the secrets of one class to one pod.
type Chain struct {
	Namespace string `json:"namespace"`
	// Pod is empty where no pod mounts the class.
	Pod   string `json:"pod,omitempty"`
	Node  string `json:"node,omitempty"`
	Class string `json:"class"`
	Links []Link `json:"links"`
	// NotProbed says why a probe that was asked for was not made, on one line.
	NotProbed string `json:"notProbed,omitempty"`
	// Refused is the API server's answer where there was no probe because of it.
	Refused error `json:"-"`
}

// State is that of the worst link. What is not known counts as good: it is not known to be bad.
func (c *Chain) State() State {
	worst := OK
	for _, link := range c.Links {
		switch link.State {
		case Broken:
			return Broken
		case Warning:
			worst = Warning
		}
	}
	return worst
}

// Broken returns the first broken link in the order of the chain, nil if none is.
func (c *Chain) Broken() *Link {
	for i := range c.Links {
		if c.Links[i].State == Broken {
			return &c.Links[i]
		}
	}
	return nil
}

func (c *Chain) add(link Link) { c.Links = append(c.Links, link) }

// kindOf says which link a reason breaks.
func kindOf(reasonName string) LinkKind {
	for kind, names := range map[LinkKind]string{
		ClassLink:      "ClassNotFound ClassInvalid ParameterInvalid ObjectsInvalid VaultNameInvalid",
		VolumeLink:     "RequestInvalid MountFailed WriteFailed VolumeFull PathInvalid Unexpected",
		IdentityLink:   "IdentityNotFound TenantNotFound TokenExpired ClientSecretInvalid ClientSecretExpired IdentityNotAssigned IdentityAmbiguous NodeIdentityUnreachable NodeIdentityRejected EntraRejected EntraUnreachable EntraThrottled",
		CredentialLink: "FederatedSubjectMismatch FederatedIssuerMismatch FederatedAudienceMismatch FederatedCredentialMissing IssuerUnreachable TokenProxyUnreachable IdentityBindingMissing IdentityBindingForbidden",
		RoleLink:       "VaultForbidden",
		VaultLink:      "VaultNotFound VaultUnreachable VaultUnauthorized VaultFirewall VaultThrottled VaultAnswerInvalid",
		ObjectLink:     "ObjectNotFound ObjectDisabled ObjectContentInvalid",
		SecretLink:     "SecretObjectInvalid SecretTooLarge SecretNotOurs SecretTypeImmutable SecretConflict SecretForbidden SecretRejected",
		AccountLink:    "ServiceAccountNotFound WorkloadIdentityInvalid",
	} {
		if slices.Contains(strings.Fields(names), reasonName) {
			return kind
		}
	}
	return DriverLink
}

// Anchor is where docs/reasons.md explains the link's reason, "" where it has none.
func (l Link) Anchor() string {
	if entry, ok := catalog.Find(l.Reason); ok {
		return "docs/reasons.md#" + entry.Anchor()
	}
	return ""
}
