// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/kube"
)

const (
	driverName = "secrets-store.csi.k8s.io"
	// driverApp and providerApp are the values of the label app that users look the pods up by.
	driverApp   = "secrets-store-csi-driver"
	providerApp = "secrets-store-provider-azure"
	partOf      = "app.kubernetes.io/part-of=vaultferry"
)

// Reach asks whether a URL answers from here, and returns why not.
type Reach func(ctx context.Context, url string) error

// read is something that the API server was asked for, or its refusal.
type read[T any] struct {
	value T
	err   error
}

// Cluster is what the API server told, all of it read once.
type Cluster struct {
	reach Reach
	// now is the API server's time.
	now time.Time

	version    read[*version.Info]
	classes    read[[]v1.SecretProviderClass]
	statuses   read[[]v1.SecretProviderClassPodStatus]
	csiDriver  read[*storagev1.CSIDriver]
	csiNodes   read[[]storagev1.CSINode]
	nodes      read[[]corev1.Node]
	leases     read[[]coordinationv1.Lease]
	daemonSets read[[]appsv1.DaemonSet]
	pods       read[[]corev1.Pod]
	emulator   read[bool]
	roles      read[[]rbacv1.ClusterRoleBinding]
	mutating   read[[]admissionv1.MutatingWebhookConfiguration]
	validating read[[]admissionv1.ValidatingWebhookConfiguration]
	policies   read[[]admissionv1.ValidatingAdmissionPolicyBinding]
	issuer     read[string]
	keys       read[int]
}

// Look reads everything that the checks need. What cannot be read is remembered with the reason. The error is that of an API server that answers nobody,
// or not this user.
func Look(ctx context.Context, client *kube.Client) (*Cluster, error) {
	c := &Cluster{version: read[*version.Info]{value: &version.Info{}}}
	core := client.Core
	c.version.err = get(ctx, client, "/version", c.version.value)
	if c.version.err != nil && !apierrors.IsForbidden(c.version.err) {
		return nil, fmt.Errorf("asking the API server for its version: %w", c.version.err)
	}
	c.classes.value, c.classes.err = client.Classes(ctx, "")
	c.statuses.value, c.statuses.err = client.Statuses(ctx, "")
	c.csiDriver.value, c.csiDriver.err = core.StorageV1().CSIDrivers().Get(ctx, driverName, metav1.GetOptions{})
	if l, err := core.StorageV1().CSINodes().List(ctx, metav1.ListOptions{}); err != nil {
		c.csiNodes.err = err
	} else {
		c.csiNodes.value = l.Items
	}
	if l, err := core.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err != nil {
		c.nodes.err = err
	} else {
		c.nodes.value = l.Items
	}
	if l, err := core.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{}); err != nil {
		c.leases.err = err
	} else {
		c.leases.value = l.Items
	}
	apps := metav1.ListOptions{LabelSelector: "app in (" + driverApp + "," + providerApp + ")"}
	if l, err := core.AppsV1().DaemonSets("").List(ctx, apps); err != nil {
		c.daemonSets.err = err
	} else {
		c.daemonSets.value = l.Items
	}
	if l, err := core.CoreV1().Pods("").List(ctx, apps); err != nil {
		c.pods.err = err
	} else {
		c.pods.value = l.Items
	}
	if l, err := core.AppsV1().Deployments("").List(ctx, metav1.ListOptions{LabelSelector: partOf}); err != nil {
		c.emulator.err = err
	} else {
		for i := range l.Items {
			c.emulator.value = c.emulator.value || l.Items[i].Name == "azure-emulator"
		}
	}
	c.lookAtGuards(ctx, client)
	c.lookAtIssuer(ctx, client)
	c.now = client.ServerTime()
	return c, nil
}

func (c *Cluster) lookAtGuards(ctx context.Context, client *kube.Client) {
	if l, err := client.Core.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{}); err != nil {
		c.roles.err = err
	} else {
		c.roles.value = l.Items
	}
	ours, admission := metav1.ListOptions{LabelSelector: partOf}, client.Core.AdmissionregistrationV1()
	if l, err := admission.MutatingWebhookConfigurations().List(ctx, ours); err != nil {
		c.mutating.err = err
	} else {
		c.mutating.value = l.Items
	}
	if l, err := admission.ValidatingWebhookConfigurations().List(ctx, ours); err != nil {
		c.validating.err = err
	} else {
		c.validating.value = l.Items
	}
	if l, err := admission.ValidatingAdmissionPolicyBindings().List(ctx, ours); err != nil {
		c.policies.err = err
	} else {
		c.policies.value = l.Items
	}
}

// get reads what the API server has at a path that is no resource.
func get(ctx context.Context, client *kube.Client, path string, into any) error {
	answer, err := client.Core.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

func (c *Cluster) lookAtIssuer(ctx context.Context, client *kube.Client) {
	var document struct {
		Issuer string `json:"issuer"`
	}
	c.issuer.err = get(ctx, client, "/.well-known/openid-configuration", &document)
	c.issuer.value = document.Issuer
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	c.keys.err = get(ctx, client, "/openid/v1/jwks", &set)
	c.keys.value = len(set.Keys)
}
