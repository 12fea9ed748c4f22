// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

const controllerName = "vaultferry-controller"

func controllerArgs(t *testing.T, sets ...string) []string {
	t.Helper()
	args := []string{"--set", "reload.enabled=true"}
	for _, set := range sets {
		args = append(args, "--set", set)
	}
	container := get[appsv1.Deployment](t, render(t, args...), "Deployment", controllerName).Spec.Template.Spec.Containers[0]
	if diff := cmp.Diff([]string{"/vaultferry-controller"}, container.Command); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
	return container.Args
}

func TestReloadArguments(t *testing.T) {
	want := []string{
		"controller", "--lease-namespace=kube-system", "--lease-name=vaultferry-controller", "--health-addr=:9808", "--metrics-addr=:8095",
		"--reload=true", "--reload-addr=:9090", "--reload-strategy=annotations", "--auto-mode=when-stale", "--reload-delay=3s", "--reload-min-interval=0s",
		"--max-rollouts=10", "--max-rollouts-per-namespace=5", "--rollout-timeout=15m", "--enable-csi-integration=true", "--auto-reload-all=false",
		"--reload-on-create=false", "--reload-on-delete=false", "--is-Argo-Rollouts=false", "--log-format-json=false", "-v=0",
	}
	if diff := cmp.Diff(want, controllerArgs(t)); diff != "" {
		t.Fatalf("args (-want +got):\n%s", diff)
	}
	for set, arg := range map[string]string{
		"reload.autoReloadAll=true": "--auto-reload-all=true", "reload.ignoreSecrets=true": "--resources-to-ignore=secrets",
		"reload.ignoreConfigMaps=true": "--resources-to-ignore=configmaps", "reload.ignoreJobs=true": "--ignored-workload-types=jobs",
		"reload.ignoreCronJobs=true": "--ignored-workload-types=cronjobs", "reload.isArgoRollouts=true": "--is-Argo-Rollouts=true",
		"reload.reloadOnCreate=true": "--reload-on-create=true", "reload.reloadOnDelete=true": "--reload-on-delete=true",
		"reload.reloadStrategy=env-vars": "--reload-strategy=env-vars", "reload.autoMode=always": "--auto-mode=always",
		"reload.watchGlobally=false": "--namespaces=kube-system", "reload.namespaces=a\\,b": "--namespaces=a,b",
		"reload.ignoreNamespaces=a\\,b": "--namespaces-to-ignore=a,b", "reload.namespaceSelector=team=x": "--namespace-selector=team=x",
		"reload.resourceLabelSelector=team=x": "--resource-label-selector=team=x", "reload.webhookUrl=https://x/y": "--webhook-url=https://x/y",
		"reload.windows={0 2 * * 6 3h,0 4 * * * 1h}": "--reload-windows=0 2 * * 6 3h; 0 4 * * * 1h", "reload.dryRun=true": "--dry-run=true",
		"reload.execSignals=true": "--exec-signals=true", "reload.maxRollouts=0": "--max-rollouts=0",
	} {
		if got := controllerArgs(t, set); !slices.Contains(got, arg) {
			t.Errorf("%s: %s is missing in %v", set, arg, got)
		}
	}
}

// The controller may read what it watches, and nothing of a kind that it ignores.
func TestReloadRights(t *testing.T) {
	rights := func(sets ...string) string {
		args := []string{"--set", "reload.enabled=true"}
		for _, set := range sets {
			args = append(args, "--set", set)
		}
		var lines []string
		for _, rule := range get[rbacv1.ClusterRole](t, render(t, args...), "ClusterRole", controllerName+"-reload").Rules {
			lines = append(lines, strings.Join(rule.Resources, ",")+": "+strings.Join(rule.Verbs, ","))
		}
		return strings.Join(lines, "\n")
	}
	want := `secrets: list,watch
configmaps: list,watch
secretproviderclasses,secretproviderclasspodstatuses: list,watch
deployments,statefulsets,daemonsets: list,watch,patch
cronjobs: get,list,watch,patch
jobs: get,list,watch,patch,create,delete
pods: list
pods/eviction: create
events: create,patch`
	if diff := cmp.Diff(want, rights()); diff != "" {
		t.Fatalf("rights (-want +got):\n%s", diff)
	}
	for set, line := range map[string]string{
		"reload.ignoreSecrets=true": "secrets: list,watch", "reload.ignoreConfigMaps=true": "configmaps: list,watch",
		"reload.ignoreCronJobs=true": "cronjobs: get,list,watch,patch", "reload.enableCSIIntegration=false": "secretproviderclasses,secretproviderclasspodstatuses: list,watch",
	} {
		if strings.HasPrefix(rights(set), line) || strings.Contains(rights(set), "\n"+line) {
			t.Errorf("%s leaves the right %s", set, line)
		}
	}
	objects := names(render(t, "--set", "reload.enabled=true,reload.namespaces=a\\,b"))
	if slices.Contains(objects, "ClusterRole "+controllerName+"-reload") || !slices.Contains(objects, "Role "+controllerName+"-reload") {
		t.Errorf("chosen namespaces need Roles only, got %v", objects)
	}
}

// With a selector the labels of namespaces are read, which Roles cannot grant: without that right no namespace would be served.
func TestReloadReadsNamespacesForItsSelector(t *testing.T) {
	const role = controllerName + "-reload-namespaces"
	for _, sets := range []string{"", ",reload.watchGlobally=false", ",reload.namespaces=a\\,b"} {
		objects := render(t, "--set", "reload.enabled=true,reload.namespaceSelector=team=x"+sets)
		want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"list", "watch"}}}
		if diff := cmp.Diff(want, get[rbacv1.ClusterRole](t, objects, "ClusterRole", role).Rules); diff != "" {
			t.Errorf("%q: rights (-want +got):\n%s", sets, diff)
		}
		binding := get[rbacv1.ClusterRoleBinding](t, objects, "ClusterRoleBinding", role)
		if s := binding.Subjects; binding.RoleRef.Name != role || len(s) != 1 || s[0].Name != controllerName || s[0].Namespace != "kube-system" {
			t.Errorf("%q: the role is bound as %+v", sets, binding)
		}
	}
	if objects := names(render(t, "--set", "reload.enabled=true")); slices.Contains(objects, "ClusterRole "+role) {
		t.Error("namespaces are read without a selector")
	}
}
