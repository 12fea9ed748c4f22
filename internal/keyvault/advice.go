// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// unanswered says that the vault could not be reached.
func (c call) unanswered(err error) *reason.Error {
	f := entra.Explain(err)
	if f.NoSuchHost {
		return reason.New(reason.VaultNotFound,
			"correct spec.parameters.keyvaultName or cloudName, or create the vault; "+
				"a vault with a private endpoint needs its private DNS zone linked to the cluster's network",
			"vault %s does not exist: %s %s", c.item.Vault, c.host(), f.Text)
	}
	return reason.New(reason.VaultUnreachable, f.Next, "vault %s (%s) %s", c.item.Vault, c.host(), f.Text)
}

// unfinished says that the time was over before a listing was, which is nobody's network.
func (c call) unfinished(entries int64) *reason.Error {
	next := "kubelet tries again by itself; if it persists, name the objects with objectName in place of selecting them, or hold fewer in one vault"
	if c.op == opVersions {
		next = "kubelet tries again by itself; if it persists, leave objectVersionHistory out, or begin a new object"
	}
	return reason.New(reason.VaultUnreachable, next, "%s: the listing is long: %d were read when the time was over", c.describe(), entries)
}

// refused says what an error answer means for the class's author.
func (c call) refused(answer refusal) *reason.Error {
	switch {
	case answer.status == http.StatusUnauthorized:
		return c.unauthorized(answer)
	case answer.status == http.StatusForbidden && answer.code != "":
		return c.forbidden(answer)
	case answer.status == http.StatusNotFound && answer.code == c.kind.absent:
		return c.notFound()
	case answer.status == http.StatusBadRequest && strings.Contains(answer.message, "is not recognized"):
		return c.outdated(answer)
	case answer.status == http.StatusBadRequest && answer.code != "":
		return reason.New(reason.ObjectsInvalid, "correct objectName or objectVersion in spec.parameters.objects",
			"%s: the vault does not accept the name or version (%s)", c.describe(), answer.code)
	case answer.status >= http.StatusInternalServerError:
		return reason.New(reason.VaultUnreachable, "kubelet tries again by itself",
			"vault %s (%s) answered with HTTP status %d", c.item.Vault, c.host(), answer.status)
	}
	return c.invalid(fmt.Sprintf("the vault answered with HTTP status %d", answer.status))
}

var latestVersion = regexp.MustCompile(`latest supported version \(([0-9A-Za-z.-]+)\)`)

// outdated says that the vault's service does not know the version of its API that it was asked in.
func (c call) outdated(answer refusal) *reason.Error {
	latest := ""
	if match := latestVersion.FindStringSubmatch(answer.message); match != nil && len(match[1]) <= 32 {
		latest = ", its latest is " + match[1]
	}
	return reason.New(reason.VaultAnswerInvalid,
		"correct spec.parameters.cloudName or update the cloud's Key Vault: it is asked in version "+apiVersion+", and in "+apiVersionOfFile+
			" where a file describes the cloud",
		"%s: the vault does not know version %s of Key Vault's API%s (%s)", c.describe(), c.apiVersion(), latest, cmp.Or(answer.code, "HTTP status 400"))
}

func (c call) unauthorized(answer refusal) *reason.Error {
	vault, detail := c.item.Vault, authCode.FindString(answer.message)
	if detail == "" {
		detail = "HTTP status 401"
	}
	if tenant := c.otherTenant(answer.header); tenant != "" {
		return reason.New(reason.VaultUnauthorized, "set spec.parameters.tenantID to "+tenant,
			"vault %s belongs to tenant %s but tenantID is %s (%s)", vault, tenant, c.identity.Tenant, detail)
	}
	return reason.New(reason.VaultUnauthorized,
		"check that tenantID is the tenant of the vault: az keyvault show --name "+vault+" --query properties.tenantId",
		"vault %s does not accept the token of %s (%s)", vault, c.caller(), detail)
}

var tenantID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// otherTenant returns the tenant that a challenge names where it is certain not to be the identity's, which may also be given by one of
// its domain names.
func (c call) otherTenant(header http.Header) string {
	demanded := demandedTenant(header)
	if !tenantID.MatchString(demanded) || !tenantID.MatchString(c.identity.Tenant) || strings.EqualFold(demanded, c.identity.Tenant) {
		return ""
	}
	return demanded
}

func (c call) forbidden(answer refusal) *reason.Error {
	vault := c.item.Vault
	switch answer.inner {
	case "SecretDisabled", "KeyDisabled", "CertificateDisabled":
		return c.disabled()
	case "ForbiddenByFirewall":
		address := "<address>"
		if match := clientAddress.FindStringSubmatch(answer.message); match != nil {
			if parsed, err := netip.ParseAddr(match[1]); err == nil {
				address = parsed.String()
			}
		}
		return reason.New(reason.VaultFirewall,
			fmt.Sprintf("allow it: az keyvault network-rule add --name %s --ip-address %s; or use a private endpoint", vault, address),
			"the firewall of vault %s refuses the address %s (ForbiddenByFirewall)", vault, address)
	case "ForbiddenByConnection":
		return reason.New(reason.VaultFirewall,
			"give the cluster's network a private endpoint of the vault and link its private DNS zone",
			"vault %s refuses public networks (ForbiddenByConnection)", vault)
	}
	return c.notAllowed(answer)
}

// notAllowed says which right is missing.
func (c call) notAllowed(answer refusal) *reason.Error {
	vault, verb, permission := c.item.Vault, "read", "get"
	if c.op != opGet {
		verb, permission = "list", "list"
	}
	if answer.inner == "AccessDenied" || answer.inner == "ForbiddenByPolicy" {
		return reason.New(reason.VaultForbidden,
			fmt.Sprintf("allow it: az keyvault set-policy --name %s --spn %s --%s-permissions %s", vault, c.assignee(), c.kind.group, permission),
			"%s: the vault's access policies do not let %s %s %ss (%s)", c.describe(), c.caller(), verb, c.kind.noun, answer.inner)
	}
	includes := ""
	if c.op != opGet {
		includes = " (it includes " + c.kind.listing + ")"
	}
	return reason.New(reason.VaultForbidden,
		Grant(c.kind.role, includes, c.assignee(), vault),
		"%s: %s may not %s %ss (%s)", c.describe(), c.caller(), verb, c.kind.noun, cmp.Or(answer.inner, answer.code))
}

// Grant is the step that gives an identity a role for a vault; includes is what to say of the role, "" for nothing.
func Grant(role, includes, assignee, vault string) string {
	return fmt.Sprintf(`grant it "%[1]s"%[2]s: az role assignment create --role "%[1]s" --assignee %[3]s `+
		`--scope $(az keyvault show --name %[4]s --query id -o tsv); a new assignment takes some minutes to work`, role, includes, assignee, vault)
}

func (c call) notFound() *reason.Error {
	command := "az keyvault " + c.kind.group
	where := "--vault-name " + c.item.Vault + " --name " + c.item.Name
	if c.item.Version != "" {
		return reason.New(reason.ObjectNotFound,
			fmt.Sprintf("correct objectVersion, or leave it empty for the latest; see them: %s list-versions %s", command, where),
			"%s does not exist (%s)", c.describe(), c.kind.absent)
	}
	return reason.New(reason.ObjectNotFound,
		fmt.Sprintf("correct objectName or create it: %[1]s %[3]s %[2]s %[4]s; if it was deleted: %[1]s recover %[2]s",
			command, where, c.kind.create, c.kind.arguments),
		"%s does not exist (%s)", c.describe(), c.kind.absent)
}

func (c call) throttled(wait time.Duration, why string) *reason.Error {
	seconds := int((wait + time.Second - 1) / time.Second)
	return reason.New(reason.VaultThrottled,
		"kubelet tries again by itself; if it persists, spread the objects over more vaults or poll less often",
		"vault %s receives too many requests (%s); it is left alone for %d s", c.item.Vault, why, seconds)
}
