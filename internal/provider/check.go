// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"strings"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
)

// CheckConfig is what of a provider's configuration decides what a class means.
type CheckConfig struct {
	// Cloud is the cloud of classes that name none. Default AzurePublicCloud.
	Cloud string
	// SeparateFiles and HistoryPlusOne are those of [Config].
	SeparateFiles, HistoryPlusOne bool
}

// Checked is what can be said of a class without asking anybody.
type Checked struct {
	// Problems is everything for which the provider would refuse the class, in the order in which its error tells it. Of very many, the last one
	// says how many more there are; so does that of Ignored.
	Problems []Problem
	// Ignored are names that have no effect: parameters that look like a misspelt one, and all unknown fields of objects.
	Ignored []Problem

	// Vault is keyvaultName, trimmed.
	Vault string
	// Mode is how the class's identity is proved. A service principal's id and secret are the pod's matter (nodePublishSecretRef).
	Mode entra.Mode
	// Tenant is tenantID or tenantId; ClientID is clientID, or userAssignedIdentityID of a managed identity. Both are trimmed.
	Tenant, ClientID string
	// Objects are the entries in which nothing is wrong.
	Objects []CheckedObject

	objects []object
}

// CheckedObject is one entry of a class's objects.
type CheckedObject struct {
	// Index is the entry's number, from 0; Line is the line within objects of what names its file.
	Index, Line int
	// Vault is the entry's vault, or else the class's.
	Vault string
	// Type is [keyvault.TypeSecret], [keyvault.TypeKey] or [keyvault.TypeCertificate].
	Type string
	// Name is the object's name, "" where the entry selects objects by what a listing tells.
	Name string
	// Version is the version that the entry pins, "" for the newest.
	Version string
	// Lists tells that the identity must be allowed to list: the vault for a selection, the object's versions for a history.
	Lists bool
	// Optional tells that a missing object is none of the pod's business.
	Optional bool
	// Files are what the entry mounts.
	Files []CheckedFile
}

// Content is what a file can hold.
type Content uint8

// What files can hold.
const (
	// ContentSecret is a secret's value: anything. That of a certificate's secret has its private key and its certificates.
	ContentSecret Content = iota
	// ContentCertificates is one or more certificates, and no key.
	ContentCertificates
	// ContentPrivateKey is private keys alone.
	ContentPrivateKey
	// ContentPublicKey is one public key.
	ContentPublicKey
)

// CheckedFile is a file, or many whose names only the vault knows.
type CheckedFile struct {
	// Path is the file's path in the volume. For a history it is the directory of the files; for a selection, "{name}" in it stands for an
	// object's name.
	Path string
	// Versions is how many files a history has at most, named 0 and so on, each with Suffix behind; 0 for no history.
	Versions int
	Suffix   string
	// Content is what it can hold.
	Content Content
	// Maybe tells that the file is there only where the vault has what it takes: an optional object, one that is selected, a secret that belongs
	// to a certificate.
	Maybe bool

	selector *selector
}

// Check checks a class's parameters as [Server.Mount] does, without calling anybody and without reading a file: what it accepts can still
// fail at what the pod, the node or Azure know.
func Check(classParameters map[string]string, config CheckConfig) Checked {
	p := parameters(classParameters)
	cloudName := config.Cloud
	if cloudName == "" {
		cloudName = entra.PublicCloud().Name
	}
	var found problems
	c := class{vault: p.get(vaultKey)}
	c.checkVault(p, &found)
	c.identity = parseIdentity(p, &clouds{fallback: cloudName}, &found)
	c.objects = parseObjects(p, &found)
	p.ignore(&found)
	problems, ignored := found.told()
	checked := Checked{
		Problems: problems, Ignored: ignored,
		Vault: c.vault, Mode: c.identity.mode, Tenant: c.identity.tenant, ClientID: c.identity.clientID, objects: c.objects,
	}
	checked.Objects = checked.ObjectsWith(config)
	return checked
}

// ObjectsWith returns Objects as a provider of another configuration has them.
func (c Checked) ObjectsWith(config CheckConfig) []CheckedObject {
	var objects []CheckedObject
	for i := range c.objects {
		objects = append(objects, c.objects[i].checked(c.Vault, config))
	}
	return objects
}

// CheckIdentity returns how a class's identity is proved, and its client id, whatever else there is to say of the class.
func CheckIdentity(classParameters map[string]string) (mode entra.Mode, clientID string) {
	var other problems
	i := parseIdentity(parameters(classParameters), &clouds{fallback: entra.PublicCloud().Name}, &other)
	return i.mode, i.clientID
}

// CheckCredentials returns why a pod whose volume has no nodePublishSecretRef cannot use a class: nothing, unless the class leaves the identity to
// the Secret of that reference.
func CheckCredentials(classParameters map[string]string) []Problem {
	p := parameters(classParameters)
	var other, found problems
	if i := parseIdentity(p, &clouds{fallback: entra.PublicCloud().Name}, &other); i.mode == entra.ServicePrincipal {
		i.takeServicePrincipal(p, nil, &found)
	}
	return found.list
}

func (o object) checked(vault string, config CheckConfig) CheckedObject {
	checked := CheckedObject{
		Index: o.index, Line: o.line, Vault: o.item.Vault, Type: o.item.Type, Name: o.item.Name, Version: o.item.Version,
		Lists: o.selector != nil || o.history > 1, Optional: o.item.Optional,
	}
	if checked.Vault == "" {
		checked.Vault = vault
	}
	add := func(suffix string, content Content) {
		// Whether a secret belongs to a certificate, and so has files with suffixes, is the vault's knowledge.
		file := CheckedFile{Content: content, Maybe: suffix != "" || o.item.Optional || o.selector != nil, selector: o.selector}
		if o.history > 1 {
			file.Path, file.Suffix, file.Versions = o.path, suffix, o.history
			if config.HistoryPlusOne {
				file.Versions++
			}
		} else {
			file.Path = o.path + suffix
		}
		checked.Files = append(checked.Files, file)
	}
	switch o.item.Type {
	case keyvault.TypeCertificate:
		add("", ContentCertificates)
	case keyvault.TypeKey:
		add("", ContentPublicKey)
	default:
		add("", ContentSecret)
		if config.SeparateFiles && o.property == "" {
			add(certificatesSuffix, ContentCertificates)
			add(keySuffix, ContentPrivateKey)
		}
	}
	if o.caPath != "" {
		checked.Files = append(checked.Files, CheckedFile{Path: o.caPath, Content: ContentCertificates, Maybe: o.item.Optional})
	}
	return checked
}

// Matches reports whether the file, or one of those that it stands for, can have the given path.
func (f CheckedFile) Matches(name string) bool {
	switch {
	case f.Versions > 0:
		numbered, ok := strings.CutSuffix(name, f.Suffix)
		return ok && claim{path: f.Path, versions: f.Versions}.holds(numbered)
	case f.selector == nil:
		return name == f.Path
	}
	// The same object's name stands in each place, so the lengths tell how long it is.
	before, _, _ := strings.Cut(f.Path, nameInAlias)
	times := strings.Count(f.Path, nameInAlias)
	size := len(name) - (len(f.Path) - times*len(nameInAlias))
	if size < times || size%times != 0 {
		return false
	}
	object := name[len(before):][:size/times]
	return aliasFor(f.Path, object) == name && keyvault.ValidName(object) && f.selector.admits(object)
}
