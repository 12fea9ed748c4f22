// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// Kube holds the API clients of the driver. A full client set would cost each node several MiB for groups that the
// driver never calls.
type Kube struct {
	core, classes rest.Interface
	config        *rest.Config
}

// NewKube returns clients for config.
func NewKube(config *rest.Config) (*Kube, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1.AddToScheme, addSecrets} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering API types: %w", err)
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	client := func(path string, version schema.GroupVersion) (rest.Interface, error) {
		c := rest.CopyConfig(config)
		c.APIPath = path
		c.GroupVersion = &version
		c.ContentType = runtime.ContentTypeJSON
		c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
		return rest.RESTClientFor(c)
	}
	coreClient, err := client("/api", core.SchemeGroupVersion)
	if err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	classesClient, err := client("/apis", v1.GroupVersion())
	if err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	return &Kube{core: coreClient, classes: classesClient, config: config}, nil
}

func addSecrets(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(core.SchemeGroupVersion, &core.Secret{})
	return nil
}

// apiError gives an API server's error a reason. doing is the text before it.
func apiError(doing string, err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return reason.New(reason.APIForbidden, "give the driver's service account its ClusterRole back (chart value rbac.install)", "%s, error: %w", doing, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return reason.New(reason.APIUnavailable, "check that this node reaches the API server", "%s, error: the API server did not answer in time", doing)
	}
	return reason.New(reason.APIUnavailable, "check that this node reaches the API server", "%s, error: %w", doing, err)
}
