// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/vaultferry/vaultferry/internal/kube"
)

const (
	// oldestMinor is the oldest Kubernetes 1.x that the chart supports.
	oldestMinor = 30
	// tokenAudience is the audience that Entra ID wants in service account tokens, in the public cloud.
	tokenAudience = "api://AzureADTokenExchange" //nolint:gosec // a name, and no credential
	// skew is how far clocks may differ for Entra ID to accept a token.
	skew = 5 * time.Minute
	// renewal is how long before its end a certificate is a matter of concern.
	renewal = 7 * 24 * time.Hour
)

func apiChecks() []Check {
	return []Check{
		{"kubernetes-version", groupAPI, "Kubernetes is recent enough", Failed, "upgrade the cluster to Kubernetes 1.30 or later", checkVersion},
		{
			"crds", groupAPI, "the kinds of secrets-store.csi.x-k8s.io are installed", Failed,
			"the half with the CRDs is missing: install the chart with crds.enabled=true", checkCRDs,
		},
		{
			"csidriver", groupAPI, "the CSIDriver object has the settings that mounts need", Failed,
			"the half with the CSIDriver object is missing or old: install the chart again with helm upgrade --install", checkCSIDriver,
		},
		{"clocks", groupAPI, "the nodes' clocks agree with the API server's", Failed, "run NTP on the node: Entra ID refuses tokens whose times are off by more than five minutes", checkClocks},
	}
}

func checkVersion(_ context.Context, c *Cluster) Outcome {
	if c.version.err != nil {
		return unread("the version", c.version.err)
	}
	minor, err := strconv.Atoi(strings.TrimRight(c.version.value.Minor, "+"))
	if err != nil {
		return skip("version %q is not of a form that is known", c.version.value.GitVersion)
	}
	if c.version.value.Major == "1" && minor < oldestMinor {
		return bad("it is %s", c.version.value.GitVersion)
	}
	return ok("%s", c.version.value.GitVersion)
}

func checkCRDs(_ context.Context, c *Cluster) Outcome {
	switch {
	case kube.KindMissing(c.classes.err):
		return bad("SecretProviderClass is not there")
	case kube.KindMissing(c.statuses.err):
		return bad("SecretProviderClassPodStatus is not there")
	case c.classes.err != nil:
		return unread("SecretProviderClasses", c.classes.err)
	case c.statuses.err != nil:
		return unread("SecretProviderClassPodStatuses", c.statuses.err)
	}
	return ok("%d classes, %d mounts", len(c.classes.value), len(c.statuses.value))
}

func checkCSIDriver(_ context.Context, c *Cluster) Outcome {
	if c.csiDriver.err != nil {
		if kube.Missing(c.csiDriver.err) {
			return bad("there is no CSIDriver %s", driverName)
		}
		return unread("the CSIDriver", c.csiDriver.err)
	}
	spec := c.csiDriver.value.Spec
	var wrong []string
	if spec.PodInfoOnMount == nil || !*spec.PodInfoOnMount {
		wrong = append(wrong, "podInfoOnMount is not true")
	}
	if spec.AttachRequired == nil || *spec.AttachRequired {
		wrong = append(wrong, "attachRequired is not false")
	}
	if !slices.Contains(spec.VolumeLifecycleModes, storagev1.VolumeLifecycleEphemeral) {
		wrong = append(wrong, "volumeLifecycleModes lacks Ephemeral")
	}
	if len(wrong) > 0 {
		return bad("%s", strings.Join(wrong, ", "))
	}
	rotation := "no rotation"
	if spec.RequiresRepublish != nil && *spec.RequiresRepublish {
		rotation = "kubelet calls again"
	}
	return ok("podInfoOnMount, ephemeral, %s", rotation)
}

func checkClocks(_ context.Context, c *Cluster) Outcome {
	if c.leases.err != nil {
		return unread("the nodes' leases", c.leases.err)
	}
	ready := map[string]bool{}
	for i := range c.nodes.value {
		ready[c.nodes.value[i].Name] = nodeReady(&c.nodes.value[i])
	}
	var off []string
	compared := 0
	for i := range c.leases.value {
		lease := &c.leases.value[i]
		// A lease is renewed with the node's own clock, every few seconds.
		if lease.Spec.RenewTime == nil || !ready[lease.Name] {
			continue
		}
		compared++
		if ahead := lease.Spec.RenewTime.Sub(c.now); ahead > skew || ahead < -skew {
			off = append(off, fmt.Sprintf("%s by %s", lease.Name, ahead.Round(time.Second)))
		}
	}
	switch {
	case len(off) > 0:
		return bad("off: %s", list(off))
	case compared == 0:
		return skip("there is no lease of a ready node to compare with")
	}
	return ok("%d nodes within %s", compared, skew)
}

func nodeReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

func nodeChecks() []Check {
	return []Check{
		{
			"driver-pods", groupNodes, "the driver's pods are ready", Failed, "look at them: kubectl get pods --all-namespaces --selector app=" + driverApp,
			func(_ context.Context, c *Cluster) Outcome { return c.checkDaemonSet(driverApp, "driver") },
		},
		{
			"provider-pods", groupNodes, "the Azure provider's pods are ready, and with them its sockets", Failed,
			"look at them: kubectl get pods --all-namespaces --selector app=" + providerApp,
			func(_ context.Context, c *Cluster) Outcome { return c.checkDaemonSet(providerApp, "provider") },
		},
		{
			"nodes-registered", groupNodes, "the driver is registered on each node that it runs on", Failed,
			"look at the driver's log on that node: kubectl logs --namespace <namespace> <driver pod>", checkRegistered,
		},
		{
			"nodes-complete", groupNodes, "each node with the driver has a provider too", Failed,
			"give driver and provider the same tolerations and node selector (Helm values driver.* and provider.*)", checkComplete,
		},
		{"versions", groupNodes, "driver and provider have one version on all nodes", Warning, "wait for the rollout to end: kubectl rollout status daemonset --namespace <namespace>", checkVersions},
	}
}

func (c *Cluster) checkDaemonSet(app, part string) Outcome {
	if c.daemonSets.err != nil {
		return unread("DaemonSets", c.daemonSets.err)
	}
	desired, ready, found := 0, 0, false
	for i := range c.daemonSets.value {
		if ds := &c.daemonSets.value[i]; ds.Labels["app"] == app {
			found = true
			desired, ready = desired+int(ds.Status.DesiredNumberScheduled), ready+int(ds.Status.NumberReady)
		}
	}
	switch {
	case !found:
		return bad("the half with the %s is missing: there is no DaemonSet with the label app=%s", part, app)
	case desired == 0:
		return bad("no node matches the DaemonSet's selector and tolerations")
	case ready < desired:
		return bad("%d of %d ready: %s", ready, desired, list(c.unready(app)))
	}
	return ok("%d of %d", ready, desired)
}

// unready names the pods of an app that are not ready, with their nodes.
func (c *Cluster) unready(app string) []string {
	var names []string
	for i := range c.pods.value {
		if pod := &c.pods.value[i]; pod.Labels["app"] == app && !podReady(pod) {
			names = append(names, pod.Namespace+"/"+pod.Name+" on "+pod.Spec.NodeName)
		}
	}
	return names
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
}

// nodesOf returns the nodes that have a pod of an app.
func (c *Cluster) nodesOf(app string) map[string]bool {
	nodes := map[string]bool{}
	for i := range c.pods.value {
		if pod := &c.pods.value[i]; pod.Labels["app"] == app && pod.Spec.NodeName != "" && pod.DeletionTimestamp == nil {
			nodes[pod.Spec.NodeName] = true
		}
	}
	return nodes
}

func checkRegistered(_ context.Context, c *Cluster) Outcome {
	switch {
	case c.csiNodes.err != nil:
		return unread("CSINodes", c.csiNodes.err)
	case c.pods.err != nil:
		return unread("pods", c.pods.err)
	}
	registered := map[string]bool{}
	for i := range c.csiNodes.value {
		for _, d := range c.csiNodes.value[i].Spec.Drivers {
			registered[c.csiNodes.value[i].Name] = registered[c.csiNodes.value[i].Name] || d.Name == driverName
		}
	}
	var missing []string
	with := c.nodesOf(driverApp)
	for node := range with {
		if !registered[node] {
			missing = append(missing, node)
		}
	}
	switch {
	case len(with) == 0:
		return bad("no node has a pod of the driver")
	case len(missing) > 0:
		return bad("not on %s", list(missing))
	}
	return ok("%d nodes", len(with))
}

func checkComplete(_ context.Context, c *Cluster) Outcome {
	if c.pods.err != nil {
		return unread("pods", c.pods.err)
	}
	provider, driver := c.nodesOf(providerApp), c.nodesOf(driverApp)
	if len(driver) == 0 {
		return skip("no node has a pod of the driver")
	}
	var missing []string
	for node := range driver {
		if !provider[node] {
			missing = append(missing, node)
		}
	}
	if len(missing) > 0 {
		return bad("none on %s", list(missing))
	}
	return ok("%d nodes", len(provider))
}

func checkVersions(_ context.Context, c *Cluster) Outcome {
	if c.pods.err != nil {
		return unread("pods", c.pods.err)
	}
	images := map[string]bool{}
	for i := range c.pods.value {
		for _, container := range c.pods.value[i].Spec.Containers {
			images[container.Image] = true
		}
	}
	names := slices.Sorted(maps.Keys(images))
	if len(names) == 0 {
		return skip("there are no pods")
	}
	if len(names) > 1 {
		return bad("images in use: %s", list(names))
	}
	return ok("%s", list(names))
}
