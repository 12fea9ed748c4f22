// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"fmt"

	"github.com/vaultferry/vaultferry/internal/arm"
	"github.com/vaultferry/vaultferry/internal/kube"
)

// Kind is a kind of object to begin at.
type Kind string

// The kinds.
const (
	Pod        Kind = "pod"
	Deployment Kind = "deployment"
	Class      Kind = "class"
	Secret     Kind = "secret"
)

// Azure is what Azure Resource Manager knows; [*arm.Client] implements it.
type Azure interface {
	Identity(ctx context.Context, clientID string) (*arm.Identity, error)
	Vault(ctx context.Context, name string) (*arm.Vault, error)
	Grants(ctx context.Context, principalID, scope string) ([]arm.Grant, error)
}

// Prober does what the node does with a mount, and forgets what it reads.
type Prober interface {
	Probe(ctx context.Context, m *Mount) Probed
}

// Config configures [Explain].
type Config struct {
	Kube *kube.Client
	// Azure may be nil: then nobody is asked about federated credentials and roles.
	Azure Azure
	// Prober may be nil.
	Prober Prober
}

// NothingError says that the object exists and has no part in any of this.
type NothingError struct{ Text string }

// Error implements error.
func (e *NothingError) Error() string { return e.Text }

// Explain returns the chains that lead through an object, one for each pod and class. Where there is nothing to explain, the error is a [*NothingError].
func Explain(ctx context.Context, config Config, namespace string, kind Kind, name string) ([]*Chain, error) {
	r := &reader{kube: config.Kube, namespace: namespace}
	var mounts []*Mount
	var err error
	switch kind {
	case Pod:
		mounts, err = r.ofPod(ctx, name)
	case Deployment:
		mounts, err = r.ofDeployment(ctx, name)
	case Class:
		mounts, err = r.ofClass(ctx, name)
	case Secret:
		mounts, err = r.ofSecret(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	if len(mounts) == 0 {
		return nil, nothing(kind, namespace, name)
	}
	chains := make([]*Chain, 0, len(mounts))
	issuer := ""
	if config.Azure != nil {
		issuer = issuerOf(ctx, config.Kube)
	}
	for _, m := range mounts {
		if err := r.complete(ctx, m); err != nil {
			return nil, err
		}
		b := newBuilder(m)
		b.ask(ctx, config, issuer)
		chains = append(chains, b.chain())
	}
	return chains, nil
}

// ask asks whoever knows more than the API server.
func (b *builder) ask(ctx context.Context, config Config, issuer string) {
	if b.m.Class == nil {
		return
	}
	if config.Azure != nil {
		b.azure = askAzure(ctx, config.Azure, b.checked, issuer)
	}
	if config.Prober != nil && b.m.Pod != nil && b.m.Uses == nil {
		b.probed = ptr(config.Prober.Probe(ctx, b.m))
	}
}

func nothing(kind Kind, namespace, name string) error {
	switch kind {
	case Secret:
		return &NothingError{fmt.Sprintf("no SecretProviderClass of namespace %s makes the Secret %s: none names it in spec.secretObjects", namespace, name)}
	case Deployment:
		return &NothingError{fmt.Sprintf("deployment %s/%s has no volume of the CSI driver %s in its pods", namespace, name, driverName)}
	case Pod, Class:
	}
	return &NothingError{fmt.Sprintf("%s %s/%s has no volume of the CSI driver %s", kind, namespace, name, driverName)}
}
