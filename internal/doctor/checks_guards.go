// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"
)

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
