// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// assertion takes the pod's service account token out of the request and makes sure that it is the pod's: what is fetched with
// one service account's rights is kept and shared under the token's subject.
func (c class) assertion(attributes, secrets map[string]string) (entra.Assertion, error) {
	audience := c.cloud.Audience
	next := fmt.Sprintf("add audience %s to spec.tokenRequests of the CSIDriver object secrets-store.csi.k8s.io "+
		"(Helm value tokenRequests)", audience)
	text := attributes[tokensKey]
	if text == "" {
		// Kubernetes 1.35 and later: serviceAccountTokenInSecrets.
		text = secrets[tokensKey]
	}
	if text == "" {
		return entra.Assertion{}, reason.New(reason.TokenMissing, next, "service account tokens not found: kubelet sent none")
	}
	var tokens map[string]struct {
		Token string `json:"token"`
	}
	if json.Unmarshal([]byte(text), &tokens) != nil {
		// The error of encoding/json could quote a token.
		return entra.Assertion{}, reason.New(reason.TokenMissing, next, "failed to unmarshal service account tokens")
	}
	for _, candidate := range slices.Compact([]string{audience, entra.DefaultAudience}) {
		if token := tokens[candidate].Token; token != "" {
			return c.checkAssertion(secret.New([]byte(token)))
		}
	}
	return entra.Assertion{}, reason.New(reason.TokenMissing, next, "token for audience %s not found", audience)
}

// checkAssertion accepts only a token of the service account that kubelet named.
func (c class) checkAssertion(token secret.Value) (entra.Assertion, error) {
	assertion, err := entra.ParseAssertion(token)
	if err != nil {
		return entra.Assertion{}, reason.New(reason.TokenMissing, "see what sets "+tokensKey, "%w", err)
	}
	if c.serviceAccount == "" {
		return entra.Assertion{}, reason.New(reason.TokenMissing, "the CSIDriver object needs podInfoOnMount: true",
			"service account name is not provided")
	}
	want := "system:serviceaccount:" + c.podNamespace + ":" + c.serviceAccount
	if assertion.Subject != want {
		return entra.Assertion{}, reason.New(reason.TokenMissing, "remove "+tokensKey+" from the class or the pod's volumeAttributes",
			"the service account token is for %s, but the pod runs as %s", quote(assertion.Subject), quote(want))
	}
	return assertion, nil
}
