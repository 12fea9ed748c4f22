// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// operation is what is done with a vault.
type operation int

const (
	opGet operation = iota
	opList
	opVersions
)

// String implements [fmt.Stringer] with the name of the operation's span.
func (o operation) String() string {
	switch o {
	case opList:
		return "list objects"
	case opVersions:
		return "list versions"
	case opGet:
	}
	return "read object"
}

// kind is what differs between the types of objects, in the words of Azure.
type kind struct {
	noun string
	// group is the command group of az keyvault.
	group string
	// role is the built-in role that may read and list (Microsoft Learn, "Azure RBAC for Key Vault"), for keys the one that AKS documents for
	// a SecretProviderClass.
	role string
	// listing is the data action of the role that lists.
	listing string
	// absent is the error code of an object that is not there.
	absent string
	// create is the az command that makes an object, and its arguments.
	create, arguments string
}

// Role returns the built-in role that lets an identity read objects of a type, "" for what is no type.
func Role(objectType string) string {
	k, _ := kindOf(objectType)
	return k.role
}

func kindOf(objectType string) (kind, bool) {
	switch objectType {
	case TypeSecret:
		return kind{"secret", "secret", "Key Vault Secrets User", "secrets/readMetadata", "SecretNotFound", "set", "--file <file>"}, true
	case TypeKey:
		return kind{"key", "key", "Key Vault Certificate User", "keys/read", "KeyNotFound", "create", "--kty RSA"}, true
	case TypeCertificate:
		return kind{
			"certificate", "certificate", "Key Vault Certificate User", "certificates/read", "CertificateNotFound", "import", "--file <file>",
		}, true
	}
	return kind{}, false
}

// call is one request to a vault, as its errors tell of it.
type call struct {
	identity entra.Identity
	op       operation
	kind     kind
	item     Item
	// progress counts the entries that a listing has so far, nil for an object.
	progress *atomic.Int64
}

// Lengths are compared, here and elsewhere, rather than counted in an expression: a compiled {1,127} is 127 copies of what it repeats, which
// stay in memory.
var nameChars = regexp.MustCompile(`^[0-9A-Za-z-]+$`)

// ValidName reports whether Key Vault accepts name as the name of an object: 1 to 127 letters, digits and hyphens (Microsoft Learn,
// "Azure Key Vault keys, secrets and certificates overview"). A version is held to the same and not to its 32 hexadecimal digits, because
// nothing depends on that.
func ValidName(name string) bool { return len(name) <= 127 && nameChars.MatchString(name) }

// newCall checks what the vault would refuse anyway.
func newCall(identity entra.Identity, op operation, item Item) (call, error) {
	k, ok := kindOf(item.Type)
	c := call{identity: identity, op: op, kind: k, item: item}
	switch {
	case !ok:
		return c, reason.New(reason.ObjectsInvalid, "set objectType to secret, key or cert", "objectType %q of %q does not exist", item.Type, item.Name)
	case op != opList && !ValidName(item.Name):
		return c, reason.New(reason.ObjectsInvalid, "correct objectName in spec.parameters.objects",
			"%s name %q is not possible: a name has 1 to 127 letters, digits and dashes", k.noun, item.Name)
	case item.Version != "" && !ValidName(item.Version):
		return c, reason.New(reason.ObjectsInvalid, "correct objectVersion in spec.parameters.objects, or leave it empty for the latest",
			"version %q of %s %q is not possible", item.Version, k.noun, item.Name)
	}
	return c, nil
}

func (c call) host() string { return c.item.Vault + "." + c.identity.Cloud.VaultSuffix }

// hostKey is the host in the one form under which things are kept: a vault's name may be written in either case.
func (c call) hostKey() string { return strings.ToLower(c.host()) }

func (c call) scope() string { return c.identity.Cloud.Scope() }

// describe begins every sentence about the call's object.
func (c call) describe() string {
	if c.op == opList {
		return fmt.Sprintf("%ss of %s", c.kind.noun, c.item.Vault)
	}
	text := fmt.Sprintf("%s %q", c.kind.noun, c.item.Name)
	switch {
	case c.op == opVersions:
		text = "versions of " + text
	case c.item.Version != "":
		text += " version " + c.item.Version
	}
	return text + " in " + c.item.Vault
}

// caller is the identity in running text, and assignee as an argument of az.
func (c call) caller() string {
	if c.identity.ClientID == "" {
		return c.identity.Mode.String()
	}
	return "identity " + c.identity.ClientID
}

func (c call) assignee() string { return cmp.Or(c.identity.ClientID, "<its principal id>") }

// invalid says that the vault's answer cannot be relied on.
func (c call) invalid(what string) *reason.Error {
	return reason.New(reason.VaultAnswerInvalid, "see what answers under that name, a proxy perhaps", "%s: %s", c.describe(), what)
}
