// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/arm"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/kube"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// azureFacts are what Azure Resource Manager told.
type azureFacts struct {
	issuer        string
	identity      *arm.Identity
	identityError error
	vault         *arm.Vault
	vaultError    error
	grants        []arm.Grant
	grantsError   error
}

func askAzure(ctx context.Context, azure Azure, checked provider.Checked, issuer string) *azureFacts {
	if checked.Mode != entra.WorkloadIdentity || checked.ClientID == "" {
		return nil
	}
	f := &azureFacts{issuer: issuer}
	f.identity, f.identityError = azure.Identity(ctx, checked.ClientID)
	if checked.Vault != "" {
		f.vault, f.vaultError = azure.Vault(ctx, checked.Vault)
	}
	if f.identity != nil && f.vault != nil {
		f.grants, f.grantsError = azure.Grants(ctx, f.identity.PrincipalID, f.vault.ID)
	}
	return f
}

// issuerOf returns the cluster's OIDC issuer, "" where the API server does not tell.
func issuerOf(ctx context.Context, client *kube.Client) string {
	answer, err := client.Core.Discovery().RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(ctx)
	if err != nil {
		return ""
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if json.Unmarshal(answer, &document) != nil {
		return ""
	}
	return document.Issuer
}

// azureLinks are identity, federated credential, role and vault.
func (b *builder) azureLinks(c *Chain) {
	name := b.checked.ClientID
	if name == "" {
		name = b.checked.Mode.String()
	}
	c.add(b.identityLink(Link{Kind: IdentityLink, Name: name, State: Unknown, Detail: b.checked.Mode.String() + ", tenant " + b.checked.Tenant}))
	if b.checked.Mode == entra.WorkloadIdentity {
		c.add(b.credentialLink(Link{Kind: CredentialLink, Name: b.subject(), State: Unknown}))
	}
	for _, vault := range b.vaults() {
		for _, role := range b.roles(vault) {
			c.add(role)
		}
		link := Link{Kind: VaultLink, Name: vault, State: Unknown}
		if b.azure != nil && vault == b.checked.Vault {
			switch {
			case b.azure.vault != nil:
				link.Detail = "role-based access"
				if !b.azure.vault.RBAC {
					link.Detail = "access policies"
				}
			case errors.Is(b.azure.vaultError, arm.ErrNotFound):
				link.Detail = b.azure.vaultError.Error()
			case b.azure.vaultError != nil:
				link.Detail = "not looked up: " + b.azure.vaultError.Error()
			}
		}
		c.add(link)
	}
}

// vaults are those of the class's objects, that of the class first.
func (b *builder) vaults() []string {
	var all []string
	if b.checked.Vault != "" {
		all = append(all, b.checked.Vault)
	}
	for _, object := range b.checked.Objects {
		if !slices.Contains(all, object.Vault) {
			all = append(all, object.Vault)
		}
	}
	return all
}

func (b *builder) identityLink(link Link) Link {
	if b.azure == nil {
		return link
	}
	switch {
	case b.azure.identity != nil:
		link.Detail = "managed identity " + b.azure.identity.Name + " in resource group " + b.azure.identity.ResourceGroup
		link.State = OK
	case errors.Is(b.azure.identityError, arm.ErrNotFound):
		link.Detail += "; no managed identity has this client id in the subscriptions that your Azure credentials see"
	case b.azure.identityError != nil:
		link.Detail += "; not looked up: " + b.azure.identityError.Error()
	}
	return link
}

// credentialLink compares the identity's federated credentials with the pod's token.
func (b *builder) credentialLink(link Link) Link {
	if b.azure == nil || b.azure.identity == nil || b.m.Pod == nil {
		return link
	}
	if b.azure.identityError != nil {
		link.Detail = "not looked up: " + b.azure.identityError.Error()
		return link
	}
	subject, issuer := b.subject(), b.azure.issuer
	problem, nearest, best := reason.FederatedCredentialMissing, "", strange
	for _, credential := range b.azure.identity.Credentials {
		fit := fitOf(credential, subject, issuer, b.m.cloud())
		if fit == trusted {
			link.State, link.Detail = OK, "credential "+credential.Name+" of "+b.azure.identity.Name+" trusts it"
			return link
		}
		if fit > best {
			best = fit
			problem, nearest = fit.problem(credential)
		}
	}
	link.State, link.Reason = Broken, problem.Name
	link.Detail = "no federated credential of " + b.azure.identity.Name + " trusts it"
	link.Message = problem.Name + ": the pod's token has subject " + subject
	if issuer != "" {
		link.Message += " and issuer " + issuer
	}
	if nearest != "" {
		link.Message += ", but " + nearest
	}
	if issuer == "" {
		issuer = `"$(az aks show --resource-group <cluster group> --name <cluster> --query oidcIssuerProfile.issuerUrl --output tsv)"`
	}
	link.Fix = "az identity federated-credential create --name fic-" + b.m.Namespace + "-" + strings.TrimPrefix(subject, "system:serviceaccount:"+b.m.Namespace+":") +
		" --identity-name " + b.azure.identity.Name + " --resource-group " + b.azure.identity.ResourceGroup + " --issuer " + issuer +
		" --subject " + subject + " --audience " + b.m.cloud().Audience
	return link
}

// fit is how near a federated credential comes to trusting a token.
type fit int

const (
	strange fit = iota
	otherSubject
	otherIssuer
	otherAudience
	trusted
)

// fitOf judges a credential. An issuer that is not known is taken for the right one. The audience is the one of the class's cloud, or the public
// cloud's: the provider exchanges a token for either.
func fitOf(credential arm.FederatedCredential, subject, issuer string, cloud entra.Cloud) fit {
	sameIssuer := issuer == "" || credential.Issuer == issuer
	switch {
	case credential.Subject != subject && !sameIssuer:
		return strange
	case credential.Subject != subject:
		return otherSubject
	case !sameIssuer:
		return otherIssuer
	case !slices.Contains(credential.Audiences, cloud.Audience) && !slices.Contains(credential.Audiences, entra.DefaultAudience):
		return otherAudience
	}
	return trusted
}

// problem says what is wrong with a credential that does not fit, and what it has instead.
func (f fit) problem(credential arm.FederatedCredential) (problem reason.Reason, has string) {
	switch f {
	case otherSubject:
		return reason.FederatedSubjectMismatch, fmt.Sprintf("credential %s has subject %s", credential.Name, credential.Subject)
	case otherIssuer:
		return reason.FederatedIssuerMismatch, fmt.Sprintf("credential %s has issuer %s", credential.Name, credential.Issuer)
	case otherAudience:
		return reason.FederatedAudienceMismatch, fmt.Sprintf("credential %s has audience %s", credential.Name, strings.Join(credential.Audiences, ", "))
	}
	return reason.FederatedCredentialMissing, ""
}

// roles are those that the objects of a vault need.
func (b *builder) roles(vault string) []Link {
	var links []Link
	for _, object := range b.checked.Objects {
		if object.Vault != vault {
			continue
		}
		role, action, kind := roleFor(object.Type)
		i := slices.IndexFunc(links, func(l Link) bool { return l.Name == role })
		if i < 0 {
			links = append(links, Link{Kind: RoleLink, Name: role, State: Unknown, Detail: "needed at vault " + vault})
			i = len(links) - 1
		}
		if b.azure == nil || b.azure.vault == nil || b.azure.identity == nil || vault != b.checked.Vault {
			continue
		}
		if b.azure.grantsError != nil {
			links[i].Detail = "not looked up: " + b.azure.grantsError.Error()
			continue
		}
		b.judgeRole(&links[i], object, action, kind)
	}
	return links
}

func (b *builder) judgeRole(link *Link, object provider.CheckedObject, action, kind string) {
	f := b.azure
	if link.State == Broken {
		return
	}
	if !f.vault.RBAC {
		if f.policyAllows(kind) {
			link.State, link.Detail = OK, "an access policy lets the identity read "+kind
			return
		}
		*link = Link{
			Kind: RoleLink, Name: link.Name, State: Broken, Reason: reason.VaultForbidden.Name, Detail: "no access policy lets the identity get " + kind,
			Message: fmt.Sprintf("VaultForbidden: identity %s may not read %s in %s, which goes by access policies", b.checked.ClientID, kind, f.vault.Name),
			Fix:     fmt.Sprintf("az keyvault set-policy --name %s --object-id %s --%s-permissions get", f.vault.Name, f.identity.PrincipalID, strings.TrimSuffix(kind, "s")),
		}
		return
	}
	resource := f.vault.ID
	if object.Name != "" {
		resource += "/" + kind + "/" + object.Name
	}
	for _, grant := range f.grants {
		if grant.Covers(resource) && grant.Role.Allows(action) {
			link.State, link.Detail = OK, "has "+grant.Role.Name+" at "+grant.Scope
			return
		}
	}
	var has []string
	for _, grant := range f.grants {
		if !slices.Contains(has, grant.Role.Name) {
			has = append(has, grant.Role.Name)
		}
	}
	lack := "has no role there"
	if len(has) > 0 {
		lack = "has only " + strings.Join(has, ", ")
	}
	*link = Link{
		Kind: RoleLink, Name: link.Name, State: Broken, Reason: reason.VaultForbidden.Name, Detail: "identity " + f.identity.Name + " " + lack,
		Message: fmt.Sprintf("VaultForbidden: %s %q in %s: identity %s (%s) may not read %s, it %s",
			object.Type, object.Name, f.vault.Name, b.checked.ClientID, f.identity.Name, kind, lack),
		Fix: fmt.Sprintf("az role assignment create --role %q --assignee-object-id %s --assignee-principal-type ServicePrincipal --scope %s", link.Name, f.identity.PrincipalID, f.vault.ID),
	}
}

func (f *azureFacts) policyAllows(kind string) bool {
	for _, policy := range f.vault.Policies {
		if !strings.EqualFold(policy.ObjectID, f.identity.PrincipalID) {
			continue
		}
		permissions := map[string][]string{"secrets": policy.Secrets, "keys": policy.Keys, "certificates": policy.Certificates}[kind]
		if slices.ContainsFunc(permissions, func(p string) bool { return strings.EqualFold(p, "get") || strings.EqualFold(p, "all") }) {
			return true
		}
	}
	return false
}
