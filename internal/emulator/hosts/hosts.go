// SPDX-License-Identifier: Apache-2.0

// Package hosts decides by a host name alone which service it stands for: the
// public names of each Azure cloud, and the emulator's own names.
package hosts

import (
	"net"
	"strings"
)

// A Kind is what a host name stands for.
type Kind int

// The kinds of host names.
const (
	// Unknown is any name that the emulator does not stand for.
	Unknown Kind = iota
	// Login is Entra ID.
	Login
	// Vault is one key vault's data plane.
	Vault
	// Management is Azure Resource Manager.
	Management
	// EventGrid is one Event Grid namespace's data plane.
	EventGrid
)

// Names are the names that the emulator answers to.
type Names struct {
	// Login is an own name for Entra ID, e.g. "login.azure.test". Optional.
	Login string
	// VaultSuffix is an own parent domain of vaults, e.g. "vault.azure.test".
	// Optional.
	VaultSuffix string
	// Impersonate also answers to the public names of the Azure clouds.
	Impersonate bool
}

// A Match tells what a host name stands for.
type Match struct {
	Kind Kind
	// Vault is the vault's name, lower case, when Kind is Vault.
	Vault string
	// Suffix is the parent domain of vaults that goes with the name.
	Suffix string
	// Login is the Entra name that goes with the name.
	Login string
	// Namespace is the Event Grid namespace's name and Location its region,
	// lower case, when Kind is EventGrid.
	Namespace, Location string
}

type cloud struct {
	suffix string
	// logins holds the cloud's Entra names, the preferred one first.
	logins []string
	// management is Azure Resource Manager's name; an own cloud has none.
	management string
	// eventGrid is the parent domain of Event Grid namespaces; the public cloud
	// alone has one here.
	eventGrid string
}

func publicClouds() []cloud {
	return []cloud{
		{"vault.azure.net", []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"}, "management.azure.com", EventGridDomain},
		{"vault.usgovcloudapi.net", []string{"login.microsoftonline.us", "login.usgovcloudapi.net"}, "management.usgovcloudapi.net", ""},
		{"vault.azure.cn", []string{"login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}, "management.chinacloudapi.cn", ""},
	}
}

// EventGridDomain is the domain of Event Grid namespaces, and the resource that
// access tokens for them are for.
const EventGridDomain = "eventgrid.azure.net"

// EventGridHost is the name of a namespace's data plane.
func EventGridHost(namespace, location string) string {
	return strings.ToLower(namespace + "." + location + "-1." + EventGridDomain)
}

// eventGridName splits what EventGridHost puts together.
func (c cloud) eventGridName(name string) (namespace, location string, ok bool) {
	prefix, found := strings.CutSuffix(name, "."+c.eventGrid)
	if c.eventGrid == "" || !found {
		return "", "", false
	}
	namespace, region, _ := strings.Cut(prefix, ".")
	location, ok = strings.CutSuffix(region, "-1")
	return namespace, location, ok && namespace != "" && location != "" && !strings.Contains(location, ".")
}

func (n Names) clouds() []cloud {
	var all []cloud
	if n.Login != "" && n.VaultSuffix != "" {
		all = append(all, cloud{suffix: n.VaultSuffix, logins: []string{n.Login}})
	}
	if n.Impersonate {
		all = append(all, publicClouds()...)
	}
	return all
}

// Match looks up a host name, with or without a port.
func (n Names) Match(host string) Match {
	name, _ := Split(host)
	for _, c := range n.clouds() {
		for _, login := range c.logins {
			if strings.EqualFold(name, login) {
				return Match{Kind: Login, Suffix: c.suffix, Login: strings.ToLower(name)}
			}
		}
		if c.management != "" && name == c.management {
			return Match{Kind: Management, Suffix: c.suffix, Login: c.logins[0]}
		}
		vault, isVault := strings.CutSuffix(name, "."+strings.ToLower(c.suffix))
		if isVault && vault != "" && !strings.Contains(vault, ".") {
			return Match{Kind: Vault, Vault: vault, Suffix: strings.ToLower(c.suffix), Login: strings.ToLower(c.logins[0])}
		}
		if namespace, location, ok := c.eventGridName(name); ok {
			return Match{Kind: EventGrid, Namespace: namespace, Location: location, Suffix: c.suffix, Login: c.logins[0]}
		}
	}
	return Match{}
}

// Aliases are the Entra names that name the same cloud as login, preferred one
// first; nil for a name that the emulator does not stand for.
func (n Names) Aliases(login string) []string {
	for _, c := range n.clouds() {
		for _, l := range c.logins {
			if strings.EqualFold(l, login) {
				return c.logins
			}
		}
	}
	return nil
}

// VaultSuffixes lists the parent domains of vaults.
func (n Names) VaultSuffixes() []string {
	var all []string
	for _, c := range n.clouds() {
		all = append(all, c.suffix)
	}
	return all
}

// PreferredSuffix is the parent domain under which vault URLs are shown: the
// public one when it is impersonated, else the own one.
func (n Names) PreferredSuffix() string {
	if n.Impersonate || n.VaultSuffix == "" {
		return publicClouds()[0].suffix
	}
	return n.VaultSuffix
}

// PreferredLogin is the Entra name that goes with PreferredSuffix.
func (n Names) PreferredLogin() string {
	if n.Impersonate || n.Login == "" {
		return publicClouds()[0].logins[0]
	}
	return n.Login
}

// Split separates a host from its port. The name comes back in lower case and
// without a trailing dot, the port as ":8443" or "".
func Split(host string) (name, port string) {
	name = host
	if h, p, err := net.SplitHostPort(host); err == nil {
		name, port = h, ":"+p
	}
	return strings.ToLower(strings.TrimSuffix(name, ".")), port
}
