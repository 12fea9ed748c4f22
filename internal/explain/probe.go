// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	Read int
	// Failed says why the probe ended early.
	Failed *reason.Error
	// Skipped says on one line why nothing was probed.
	Skipped string
	// Refused is the API server's answer where nothing was probed because of it.
	Refused error
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
	checked := provider.Check(m.parameters(), provider.CheckConfig{})
	items := namedItems(checked.Objects)
	switch {
	case m.Class.Spec.Provider != "azure":
		return Probed{Skipped: "only provider azure can be probed"}
	case len(checked.Problems) > 0:
		return Probed{Skipped: "the class is not valid"}
	case checked.Mode != entra.WorkloadIdentity:
		return Probed{Skipped: "only workload identity can be probed from here, and the class uses " + checked.Mode.String()}
	case len(items) == 0:
		return Probed{Skipped: "the class selects its objects, and only those that have a name can be probed"}
	}
	token, refused := p.token(ctx, m)
	if refused != nil {
		return *refused
	}
	session, failed := p.session(m, checked, token)
	if failed != nil {
		return Probed{Failed: failed}
	}
	reader, err := keyvault.New(keyvault.Config{Transport: p.Transport, ApplicationID: "vaultferry-cli"})
	if err != nil {
		return Probed{Failed: known(err)}
	}
	objects, err := reader.Fetch(ctx, keyvault.Request{Tokens: session, Items: items})
	if err != nil {
		return Probed{Failed: known(err)}
	}
	return probedOf(objects)
}

// namedItems are the objects that can be read without a listing.
func namedItems(objects []provider.CheckedObject) []keyvault.Item {
	var items []keyvault.Item
	for _, object := range objects {
		if object.Name != "" {
			items = append(items, keyvault.Item{Vault: object.Vault, Type: object.Type, Name: object.Name, Optional: object.Optional})
		}
	}
	return items
}

// probedOf counts what was there.
func probedOf(objects []keyvault.Object) Probed {
	read := 0
	for i := range objects {
		if objects[i].Missing == nil {
			read++
		}
	}
	if read == 0 {
		return Probed{Skipped: "none of the objects is there, and all are optional"}
	}
	return Probed{Read: read}
}

// token is one of the pod's service account, as kubelet would bring it. Where the API server makes none, the pod and its node are not to blame.
func (p *NodeProber) token(ctx context.Context, m *Mount) (secret.Value, *Probed) {
	name := m.account()
	seconds := int64(probeSeconds)
	answer, err := p.Kube.Core.CoreV1().ServiceAccounts(m.Namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{m.cloud().Audience}, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	switch {
	case err == nil:
		return secret.New([]byte(answer.Status.Token)), nil
	case kube.Missing(err):
		return secret.Value{}, &Probed{Failed: reason.New(reason.ServiceAccountNotFound, "create it, or correct spec.serviceAccountName of the pod", "%w", err)}
	case apierrors.IsForbidden(err):
		return secret.Value{}, &Probed{Refused: err, Skipped: "you may not create tokens of service account " + m.Namespace + "/" + name +
			": it takes the right to create serviceaccounts/token"}
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return secret.Value{}, &Probed{Refused: err, Skipped: "the API server made no token of service account " + m.Namespace + "/" + name + ": " + first}
}

// session is the pod's service account at Entra ID.
func (p *NodeProber) session(m *Mount, checked provider.Checked, token secret.Value) (*entra.Session, *reason.Error) {
	assertion, err := entra.ParseAssertion(token)
	if err != nil {
		return nil, known(err)
	}
	tokens, err := entra.New(entra.Config{Transport: p.Transport, ApplicationID: "vaultferry-cli"})
	if err != nil {
		return nil, known(err)
	}
	return tokens.Session(entra.Login{
		Mode: entra.WorkloadIdentity, Cloud: m.cloud(), Tenant: checked.Tenant, ClientID: checked.ClientID, Subject: assertion.Subject, Assertion: assertion,
	}), nil
}

func known(err error) *reason.Error {
	if e, ok := reason.From(err); ok {
		return e
	}
	return reason.New(reason.Unexpected, "", "%w", err)
}
