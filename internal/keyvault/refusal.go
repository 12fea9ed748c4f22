// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// target is the vault of a request, as seen by an identity.
type target struct {
	vault    string
	identity entra.Identity
}

func (t target) host() string  { return t.vault + "." + t.identity.Cloud.VaultSuffix }
func (t target) scope() string { return t.identity.Cloud.Scope() }

// describe begins every sentence about one object.
func (t target) describe(item Item) string {
	if item.Version == "" {
		return fmt.Sprintf("%s %q in %s", item.Type, item.Name, t.vault)
	}
	return fmt.Sprintf("%s %q version %s in %s", item.Type, item.Name, item.Version, t.vault)
}

// refusal is the body of a vault's error answer, with what of it may be shown.
type refusal struct {
	status  int
	header  http.Header
	code    string
	inner   string
	message string
}

var (
	word          = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
	version       = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}$`)
	authCode      = regexp.MustCompile(`\bAKV[0-9]{4,6}\b`)
	clientAddress = regexp.MustCompile(`Client address: *([0-9a-fA-F.:]+)`)
)

func validVersion(v string) bool { return version.MatchString(v) }

// readRefusal reads an error answer.
func readRefusal(failed *azcore.ResponseError) refusal {
	r := refusal{status: failed.StatusCode, header: http.Header{}}
	if failed.RawResponse == nil {
		return r
	}
	r.header = failed.RawResponse.Header
	content, err := runtime.Payload(failed.RawResponse)
	if err != nil {
		return r
	}
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Inner   struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	if json.Unmarshal(content, &body) != nil {
		return r
	}
	if word.MatchString(body.Error.Code) {
		r.code = body.Error.Code
	}
	if word.MatchString(body.Error.Inner.Code) {
		r.inner = body.Error.Inner.Code
	}
	r.message = body.Error.Message
	return r
}

// explain turns the library's error into one line in the user's words. The library's own text is never used: it is a dump of
// many lines.
func (r *Reader) explain(ctx context.Context, err error, at target, item Item) error {
	if told, ok := errors.AsType[*reason.Error](err); ok {
		return told
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		// Either the caller gave up, or another object's error already says it for the whole vault.
		return cause
	}
	if failed, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return r.refused(readRefusal(failed), at, item)
	}
	if isAnswerFault(err) {
		return reason.New(reason.VaultAnswerInvalid, "see what answers under that name, a proxy perhaps",
			"%s: the vault's answer could not be understood", at.describe(item))
	}
	return at.unanswered(entra.Explain(err))
}

// isAnswerFault reports whether an answer came but was broken.
func isAnswerFault(err error) bool {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	return syntax || kind || errors.Is(err, entra.ErrAnswerTooLarge) ||
		strings.HasPrefix(err.Error(), "unmarshalling type ")
}

// unanswered says that the vault could not be reached.
func (t target) unanswered(f entra.Failure) *reason.Error {
	if f.NoSuchHost {
		return reason.New(reason.VaultNotFound,
			"correct spec.parameters.keyvaultName or cloudName, or create the vault; "+
				"a vault with a private endpoint needs its private DNS zone linked to the cluster's network",
			"vault %s does not exist: %s %s", t.vault, t.host(), f.Text)
	}
	return reason.New(reason.VaultUnreachable, f.Next, "vault %s (%s) %s", t.vault, t.host(), f.Text)
}

// refused says what an error answer means for the class's author.
func (r *Reader) refused(answer refusal, at target, item Item) *reason.Error {
	switch {
	case answer.status == http.StatusUnauthorized:
		return at.unauthorized(answer)
	case answer.status == http.StatusForbidden:
		return at.forbidden(answer, item)
	case answer.status == http.StatusNotFound && strings.HasSuffix(answer.code, "NotFound"):
		return at.notFound(item)
	case answer.status == http.StatusTooManyRequests:
		wait := r.throttle.note(at.host(), retryAfter(answer.header))
		return at.throttled(wait, "HTTP status 429")
	case answer.status == http.StatusBadRequest && answer.code != "":
		return reason.New(reason.ObjectsInvalid, "correct objectName or objectVersion in spec.parameters.objects",
			"%s: the vault does not accept the name or version (%s)", at.describe(item), answer.code)
	case answer.status >= http.StatusInternalServerError:
		return reason.New(reason.VaultUnreachable, "kubelet tries again by itself",
			"vault %s (%s) answered with HTTP status %d", at.vault, at.host(), answer.status)
	}
	return reason.New(reason.VaultAnswerInvalid, "see what answers under that name, a proxy perhaps",
		"%s: the vault answered with HTTP status %d", at.describe(item), answer.status)
}

func (t target) unauthorized(answer refusal) *reason.Error {
	detail := authCode.FindString(answer.message)
	if detail == "" {
		detail = "HTTP status 401"
	}
	if tenant := demandedTenant(answer.header); tenant != "" && !strings.EqualFold(tenant, t.identity.Tenant) {
		return reason.New(reason.VaultUnauthorized, "set spec.parameters.tenantID to "+tenant,
			"vault %s belongs to tenant %s but tenantID is %s (%s)", t.vault, tenant, t.identity.Tenant, detail)
	}
	return reason.New(reason.VaultUnauthorized,
		"check that tenantID is the tenant of the vault: az keyvault show --name "+t.vault+" --query properties.tenantId",
		"vault %s does not accept the token of identity %s (%s)", t.vault, t.identity.ClientID, detail)
}

func (t target) forbidden(answer refusal, item Item) *reason.Error {
	id := t.identity.ClientID
	switch answer.inner {
	case "SecretDisabled", "KeyDisabled", "CertificateDisabled":
		return reason.New(reason.ObjectDisabled,
			fmt.Sprintf("enable it: az keyvault %s set-attributes --vault-name %s --name %s --enabled true%s",
				item.Type, t.vault, item.Name, optionalVersion(item)),
			"%s is disabled", t.describe(item))
	case "ForbiddenByFirewall":
		address := "<address>"
		if match := clientAddress.FindStringSubmatch(answer.message); match != nil {
			if parsed, err := netip.ParseAddr(match[1]); err == nil {
				address = parsed.String()
			}
		}
		return reason.New(reason.VaultFirewall,
			fmt.Sprintf("allow it: az keyvault network-rule add --name %s --ip-address %s; or use a private endpoint",
				t.vault, address),
			"the firewall of vault %s refuses the address %s (ForbiddenByFirewall)", t.vault, address)
	case "ForbiddenByConnection":
		return reason.New(reason.VaultFirewall,
			"give the cluster's network a private endpoint of the vault and link its private DNS zone",
			"vault %s refuses public networks (ForbiddenByConnection)", t.vault)
	case "AccessDenied", "ForbiddenByPolicy":
		return reason.New(reason.VaultForbidden,
			fmt.Sprintf("allow it: az keyvault set-policy --name %s --spn %s --%s-permissions get", t.vault, id, item.Type),
			"%s: the vault's access policies do not let identity %s read %ss (%s)",
			t.describe(item), id, item.Type, answer.inner)
	}
	return reason.New(reason.VaultForbidden,
		fmt.Sprintf(`grant it "Key Vault Secrets User": az role assignment create --role "Key Vault Secrets User" `+
			`--assignee %s --scope $(az keyvault show --name %s --query id -o tsv); a new assignment takes some minutes to work`,
			id, t.vault),
		"%s: identity %s may not read secrets (%s)", t.describe(item), id, orForbidden(answer))
}

func orForbidden(answer refusal) string {
	for _, name := range []string{answer.inner, answer.code} {
		if name != "" {
			return name
		}
	}
	return "HTTP status 403"
}

func optionalVersion(item Item) string {
	if item.Version == "" {
		return ""
	}
	return " --version " + item.Version
}

func (t target) notFound(item Item) *reason.Error {
	if item.Version != "" {
		return reason.New(reason.ObjectNotFound,
			fmt.Sprintf(`correct objectVersion, or leave it empty for the latest; see them: `+
				`az keyvault %s list-versions --vault-name %s --name %s`, item.Type, t.vault, item.Name),
			"%s does not exist (SecretNotFound)", t.describe(item))
	}
	return reason.New(reason.ObjectNotFound,
		fmt.Sprintf("correct objectName or create it: az keyvault %[1]s set --vault-name %[2]s --name %[3]s --file <file>; "+
			"if it was deleted: az keyvault %[1]s recover --vault-name %[2]s --name %[3]s", item.Type, t.vault, item.Name),
		"%s does not exist (SecretNotFound)", t.describe(item))
}

func (t target) throttled(wait time.Duration, why string) *reason.Error {
	seconds := int((wait + time.Second - 1) / time.Second)
	return reason.New(reason.VaultThrottled,
		"kubelet tries again by itself; if it persists, spread the objects over more vaults or poll less often",
		"vault %s receives too many requests (%s); it is left alone for %d s", t.vault, why, seconds)
}

// retryAfter reads how long an answer asks to wait (RFC 9110 §10.2.3, and Azure's finer variants).
func retryAfter(header http.Header) time.Duration {
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if n, err := strconv.Atoi(header.Get(name)); err == nil && n > 0 {
			return time.Duration(min(n, 1<<30)) * time.Millisecond
		}
	}
	value := header.Get("Retry-After")
	if n, err := strconv.Atoi(value); err == nil && n > 0 {
		return time.Duration(min(n, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// ofWholeVault reports whether err would repeat for every object of the vault.
func ofWholeVault(err error) bool {
	told, ok := errors.AsType[*reason.Error](err)
	if !ok {
		return false
	}
	switch told.Reason {
	case reason.VaultNotFound, reason.VaultUnreachable, reason.VaultUnauthorized, reason.VaultFirewall,
		reason.VaultThrottled, reason.EntraUnreachable:
		return true
	}
	return false
}

// summary makes one error of the objects' errors.
func summary(ctx context.Context, items []Item, failures []error) error {
	if cause := context.Cause(ctx); cause != nil && ofWholeVault(cause) {
		return cause
	}
	var first error
	var others []string
	for i, err := range failures {
		switch {
		case err == nil:
		case first == nil:
			first = err
		default:
			others = append(others, strconv.Quote(items[i].Name))
		}
	}
	told, ok := errors.AsType[*reason.Error](first)
	if !ok || len(others) == 0 {
		return first
	}
	const named = 3
	more := strings.Join(others[:min(named, len(others))], ", ")
	if len(others) > named {
		more += ", …"
	}
	return reason.New(told.Reason, told.Next, "%s (and %d more failed: %s)", told.Message, len(others), more)
}
