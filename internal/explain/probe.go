// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/kube"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// Probed is what a probe met. It never holds what was read.
type Probed struct {
	// Read is how many objects were read.
	Read int `json:"read"`
	// Failed says why the probe ended early.
	Failed *reason.Error `json:"-"`
	// Skipped says why there was nothing to probe.
	Skipped string `json:"skipped,omitempty"`
}

// NodeProber acts as the node would: it has the API server make a token of the pod's service account, exchanges it and reads the objects. It needs
// the right to create serviceaccounts/token.
type NodeProber struct {
	Kube *kube.Client
	// Transport carries the requests to Azure.
	Transport http.RoundTripper
}

// probeSeconds is how long the token lives: the shortest that the API server makes.
const probeSeconds = 600

// Probe implements [Prober].
func (p *NodeProber) Probe(ctx context.Context, m *Mount) Probed {
	checked := provider.Check(m.Class.Spec.Parameters, provider.CheckConfig{})
	switch {
	case len(checked.Problems) > 0:
		return Probed{Skipped: "the class is not valid"}
	case checked.Mode != entra.WorkloadIdentity:
		return Probed{Skipped: "only workload identity can be probed from here, and the class uses " + checked.Mode.String()}
	}
	session, failed := p.session(ctx, m, checked)
	if failed != nil {
		return Probed{Failed: failed}
	}
	reader, err := keyvault.New(keyvault.Config{Transport: p.Transport, ApplicationID: "vaultferry-cli"})
	if err != nil {
		return Probed{Failed: known(err)}
	}
	var items []keyvault.Item
	for _, object := range checked.Objects {
		if object.Name != "" {
			items = append(items, keyvault.Item{Vault: object.Vault, Type: object.Type, Name: object.Name, Optional: object.Optional})
		}
	}
	objects, err := reader.Fetch(ctx, keyvault.Request{Tokens: session, Items: items})
	if err != nil {
		return Probed{Failed: known(err)}
	}
	return Probed{Read: len(objects)}
}

// session is the pod's service account at Entra ID.
func (p *NodeProber) session(ctx context.Context, m *Mount, checked provider.Checked) (*entra.Session, *reason.Error) {
	cloud := entra.PublicCloud()
	if named, ok := entra.CloudNamed(m.Class.Spec.Parameters["cloudName"]); ok {
		cloud = named
	}
	name := m.Pod.Spec.ServiceAccountName
	if name == "" {
		name = "default"
	}
	seconds := int64(probeSeconds)
	answer, err := p.Kube.Core.CoreV1().ServiceAccounts(m.Namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{cloud.Audience}, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, reason.New(reason.TokenMissing, "ask for the right to create serviceaccounts/token, or leave --probe out",
			"the API server made no token of service account %s/%s: %w", m.Namespace, name, err)
	}
	assertion, err := entra.ParseAssertion(secret.New([]byte(answer.Status.Token)))
	if err != nil {
		return nil, known(err)
	}
	tokens, err := entra.New(entra.Config{Transport: p.Transport, ApplicationID: "vaultferry-cli"})
	if err != nil {
		return nil, known(err)
	}
	return tokens.Session(entra.Login{
		Mode: entra.WorkloadIdentity, Cloud: cloud, Tenant: checked.Tenant, ClientID: checked.ClientID, Subject: assertion.Subject, Assertion: assertion,
	}), nil
}

func known(err error) *reason.Error {
	if e, ok := reason.From(err); ok {
		return e
	}
	return reason.New(reason.Unexpected, "", "%w", err)
}
