// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/url"
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
	tokenAudience = "api://AzureADTokenExchange"
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
			"the half with the CRDs is missing: install the chart with crds.install=true", checkCRDs,
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
		return bad("the API server did not tell: %v", c.version.err)
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

func guardChecks() []Check {
	return []Check{
		{"rbac", groupGuards, "the driver has its rights", Failed, "install the chart with rbac.install=true", checkRBAC},
		{
			"sync-rights", groupGuards, "the driver may write the Secrets that classes ask for", Failed,
			"install the chart with syncSecret.enabled=true, or remove spec.secretObjects from the classes", checkSyncRights,
		},
		{"fences", groupGuards, "policies fence in what a node's driver may write", Warning, "install the chart with fences.enabled=true", checkFences},
		{
			"webhook-certificates", groupGuards, "the webhooks' certificates are valid", Failed,
			"restart the webhook, which renews its certificate: kubectl rollout restart deployment --namespace <namespace> --selector " + partOf, checkWebhooks,
		},
	}
}

// bound reports whether the driver's service account has a ClusterRole.
func (c *Cluster) bound(role string) bool {
	accounts := map[string]bool{}
	for i := range c.daemonSets.value {
		if ds := &c.daemonSets.value[i]; ds.Labels["app"] == driverApp {
			accounts[ds.Namespace+"/"+ds.Spec.Template.Spec.ServiceAccountName] = true
		}
	}
	for i := range c.roles.value {
		binding := &c.roles.value[i]
		if binding.RoleRef.Name != role {
			continue
		}
		for _, s := range binding.Subjects {
			if s.Kind == "ServiceAccount" && accounts[s.Namespace+"/"+s.Name] {
				return true
			}
		}
	}
	return false
}

func checkRBAC(_ context.Context, c *Cluster) Outcome {
	const role = "secretproviderclasses-role"
	switch {
	case c.roles.err != nil:
		return unread("ClusterRoleBindings", c.roles.err)
	case c.daemonSets.err != nil || len(c.daemonSets.value) == 0:
		return skip("the driver's service account is not known")
	case !c.bound(role):
		return bad("no ClusterRoleBinding gives the driver's service account the ClusterRole %s", role)
	}
	return ok("%s", role)
}

func checkSyncRights(_ context.Context, c *Cluster) Outcome {
	const role = "secretprovidersyncing-role"
	var asking []string
	for i := range c.classes.value {
		if class := &c.classes.value[i]; len(class.Spec.SecretObjects) > 0 {
			asking = append(asking, class.Namespace+"/"+class.Name)
		}
	}
	switch {
	case c.roles.err != nil:
		return unread("ClusterRoleBindings", c.roles.err)
	case c.daemonSets.err != nil || len(c.daemonSets.value) == 0:
		return skip("the driver's service account is not known")
	case c.bound(role):
		return ok("%s", role)
	case len(asking) == 0:
		return skip("no class asks for Secrets")
	}
	return bad("it lacks ClusterRole %s, and these classes have secretObjects: %s", role, list(asking))
}

func checkFences(_ context.Context, c *Cluster) Outcome {
	if c.policies.err != nil {
		return unread("ValidatingAdmissionPolicyBindings", c.policies.err)
	}
	missing := []string{"vaultferry-driver-pod-statuses", "vaultferry-driver-secrets"}
	for i := range c.policies.value {
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == c.policies.value[i].Spec.PolicyName })
	}
	if len(missing) > 0 {
		return bad("not in force: %s", list(missing))
	}
	return ok("2 policies")
}

func checkWebhooks(_ context.Context, c *Cluster) Outcome {
	if err := c.mutating.err; err != nil {
		return unread("MutatingWebhookConfigurations", err)
	}
	if err := c.validating.err; err != nil {
		return unread("ValidatingWebhookConfigurations", err)
	}
	bundles := map[string][]byte{}
	for i := range c.mutating.value {
		for _, w := range c.mutating.value[i].Webhooks {
			bundles[w.Name] = w.ClientConfig.CABundle
		}
	}
	for i := range c.validating.value {
		for _, w := range c.validating.value[i].Webhooks {
			bundles[w.Name] = w.ClientConfig.CABundle
		}
	}
	if len(bundles) == 0 {
		return skip("no webhook of Vaultferry is installed")
	}
	var wrong []string
	for name, bundle := range bundles {
		if problem := certificateProblem(bundle, c.now); problem != "" {
			wrong = append(wrong, name+" "+problem)
		}
	}
	if len(wrong) > 0 {
		return bad("%s", list(wrong))
	}
	return ok("%d webhooks", len(bundles))
}

// certificateProblem says what is wrong with a caBundle: it has to hold one certificate that will be valid for a while.
func certificateProblem(bundle []byte, now time.Time) string {
	last := time.Time{}
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			break
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && certificate.NotAfter.After(last) {
			last = certificate.NotAfter
		}
	}
	switch {
	case last.IsZero():
		return "has no certificate in its caBundle"
	case now.After(last):
		return "ended at " + last.UTC().Format(time.RFC3339)
	case now.Add(renewal).After(last):
		return "ends soon, at " + last.UTC().Format(time.RFC3339)
	}
	return ""
}
