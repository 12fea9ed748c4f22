// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"net/url"
	"slices"
	"strings"
)

func identityChecks() []Check {
	return []Check{
		{
			"token-requests", groupIdentity, "kubelet sends the driver tokens for Entra ID", Failed,
			"set the Helm value tokenRequests to [{audience: " + tokenAudience + "}]", checkTokenRequests,
		},
		{
			"issuer", groupIdentity, "Entra ID can reach the cluster's issuer", Warning,
			"publish /.well-known/openid-configuration and the keys at the issuer's URL (on AKS: az aks update --enable-oidc-issuer)", checkIssuer,
		},
		{"jwks", groupIdentity, "the API server publishes its signing keys", Failed, "see the API server's flags --service-account-issuer and --service-account-jwks-uri", checkKeys},
	}
}

func checkTokenRequests(_ context.Context, c *Cluster) Outcome {
	if c.csiDriver.err != nil {
		return skip("there is no CSIDriver object to look at")
	}
	var audiences []string
	for _, request := range c.csiDriver.value.Spec.TokenRequests {
		audiences = append(audiences, request.Audience)
	}
	if !slices.ContainsFunc(audiences, func(a string) bool { return strings.HasPrefix(a, tokenAudience) }) {
		return bad("spec.tokenRequests of the CSIDriver lacks audience %s", tokenAudience)
	}
	return ok("%s", list(audiences))
}

func checkIssuer(ctx context.Context, c *Cluster) Outcome {
	if c.issuer.err != nil {
		return unread("the issuer", c.issuer.err)
	}
	issuer, err := url.Parse(c.issuer.value)
	switch {
	case err != nil || issuer.Host == "":
		return bad("the issuer %q is not a URL", c.issuer.value)
	case internalHost(issuer.Hostname()) && c.emulator.value:
		return ok("%s, which azure-emulator reaches inside the cluster", c.issuer.value)
	case internalHost(issuer.Hostname()):
		return bad("%s is a name inside the cluster, and Entra ID is outside", c.issuer.value)
	case issuer.Scheme != "https":
		return bad("%s is not https", c.issuer.value)
	case c.reach == nil:
		return skip("%s was not tried", c.issuer.value)
	}
	if err := c.reach(ctx, strings.TrimSuffix(c.issuer.value, "/")+"/.well-known/openid-configuration"); err != nil {
		return bad("%s: %v", c.issuer.value, err)
	}
	return ok("%s", c.issuer.value)
}

func internalHost(host string) bool {
	return host == "localhost" || !strings.Contains(host, ".") || strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".local")
}

func checkKeys(_ context.Context, c *Cluster) Outcome {
	switch {
	case c.keys.err != nil:
		return unread("the signing keys", c.keys.err)
	case c.keys.value == 0:
		return bad("/openid/v1/jwks holds no key")
	}
	return ok("%d keys", c.keys.value)
}
