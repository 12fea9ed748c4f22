// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// crd is what the tests read of a CustomResourceDefinition.
type crd struct {
	Spec struct {
		Scope    string       `json:"scope"`
		Versions []crdVersion `json:"versions"`
	} `json:"spec"`
}

type crdVersion struct {
	Name               string         `json:"name"`
	Served             bool           `json:"served"`
	Storage            bool           `json:"storage"`
	Deprecated         bool           `json:"deprecated"`
	DeprecationWarning string         `json:"deprecationWarning"`
	Columns            []crdColumn    `json:"additionalPrinterColumns"`
	Subresources       map[string]any `json:"subresources"`
	Schema             map[string]any `json:"schema"`
}

type crdColumn struct {
	Name string `json:"name"`
}

// crds returns the rendered CRDs by name.
func crds(t *testing.T, objects []object) map[string]crd {
	t.Helper()
	out := map[string]crd{}
	for _, o := range objects {
		if o.Kind == "CustomResourceDefinition" {
			out[o.Metadata.Name] = decodeLoosely[crd](t, o)
		}
	}

	return out
}

func TestCRDVersionsAndColumns(t *testing.T) {
	all := crds(t, render(t))
	wantColumns := map[string][]string{
		"secretproviderclasses.secrets-store.csi.x-k8s.io":          {"Provider", "Vault", "Mounts", "Ready", "Reason", "Changed", "Age"},
		"secretproviderclasspodstatuses.secrets-store.csi.x-k8s.io": {"Pod", "Class", "Mounted", "Ready", "Reason", "Changed", "Node", "Age"},
	}
	if len(all) != len(wantColumns) {
		t.Fatalf("got %d CRDs, want %d", len(all), len(wantColumns))
	}
	for name, columns := range wantColumns {
		versions := all[name].Spec.Versions
		if len(versions) != 2 || all[name].Spec.Scope != "Namespaced" {
			t.Fatalf("%s: %d versions, scope %q", name, len(versions), all[name].Spec.Scope)
		}
		v1, legacy := versions[0], versions[1]
		if v1.Name != "v1" || !v1.Served || !v1.Storage || v1.Deprecated {
			t.Errorf("%s: first version is %+v", name, v1)
		}
		warning := "secrets-store.csi.x-k8s.io/v1alpha1 is deprecated. Use secrets-store.csi.x-k8s.io/v1 instead."
		if legacy.Name != "v1alpha1" || !legacy.Served || legacy.Storage || !legacy.Deprecated || legacy.DeprecationWarning != warning {
			t.Errorf("%s: second version is %+v", name, legacy)
		}
		for _, v := range versions {
			var got []string
			for _, c := range v.Columns {
				got = append(got, c.Name)
			}
			if diff := cmp.Diff(columns, got); diff != "" {
				t.Errorf("%s %s: columns (-want +got):\n%s", name, v.Name, diff)
			}
			// Drivers write pod statuses as whole objects; a subresource would let the status in them go unnoticed.
			if wantStatus := strings.Contains(name, "classes."); (v.Subresources != nil) != wantStatus {
				t.Errorf("%s %s: subresources are %v", name, v.Name, v.Subresources)
			}
		}
	}
}

// Anything that a schema refuses stops an object from being applied that is in
// use today. So each rule is listed here, with the reason why it can't.
func TestCRDsRefuseNothingThatWorks(t *testing.T) {
	allowed := map[string]string{
		"spec.provider.pattern": "the driver never mounts from a provider with another name",
	}
	for name, c := range crds(t, render(t)) {
		for _, version := range c.Spec.Versions {
			root, _ := version.Schema["openAPIV3Schema"].(map[string]any)
			for _, rule := range rules("", root) {
				// Fields that only this driver writes; no object in use today has them.
				ofOurs := strings.HasPrefix(rule, "status.conditions.") || strings.HasPrefix(rule, "status.lastChangeTime.") ||
					strings.HasPrefix(name, "secretproviderclasses.") && strings.HasPrefix(rule, "status.")
				if allowed[rule] == "" && !ofOurs {
					t.Errorf("%s %s: the schema has the rule %s", name, version.Name, rule)
				}
			}
		}
	}
}

// rules returns the paths of everything in a schema that is not just a type.
func rules(prefix string, schema map[string]any) []string {
	var out []string
	for key, v := range schema {
		switch key {
		case "type", "description":
		case "properties":
			properties, _ := v.(map[string]any)
			for name, child := range properties {
				m, _ := child.(map[string]any)
				out = append(out, rules(prefix+name+".", m)...)
			}
		case "items", "additionalProperties":
			m, _ := v.(map[string]any)
			out = append(out, rules(prefix, m)...)
		default:
			out = append(out, prefix+key)
		}
	}

	return out
}

func TestCRDsAreKept(t *testing.T) {
	tests := []struct {
		name string
		set  string
		want string
	}{
		{"by default", "crds.enabled=true", "keep"},
		{"not when told so", "crds.keep=false", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, o := range render(t, "--set", tt.set) {
				want := tt.want
				if o.Kind != "CustomResourceDefinition" {
					want = ""
				}
				if got := o.Metadata.Annotations["helm.sh/resource-policy"]; got != want {
					t.Errorf("%s %s: resource policy is %q, want %q", o.Kind, o.Metadata.Name, got, want)
				}
			}
		})
	}
	if got := crds(t, render(t, "--set", "crds.enabled=false")); len(got) != 0 {
		t.Errorf("crds.enabled=false still renders %d CRDs", len(got))
	}
}

func TestDriverRights(t *testing.T) {
	tests := []struct {
		name, set string
		want      []string
	}{
		{"by default", "syncSecret.enabled=false", []string{"vaultferry-class-status-role", "secretproviderclasses-role"}},
		{"with secret sync", "syncSecret.enabled=true", []string{"vaultferry-class-status-role", "secretproviderclasses-role", "secretprovidersyncing-role"}},
		{"without the controller", "controller.enabled=false", []string{"secretproviderclasses-role"}},
		{"when somebody else grants them", "rbac.install=false", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			objects := render(t, "--set", tt.set)
			var got []string
			for _, o := range objects {
				if o.Kind == "ClusterRoleBinding" {
					binding := get[rbacv1.ClusterRoleBinding](t, objects, o.Kind, o.Metadata.Name)
					got = append(got, binding.RoleRef.Name)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Fatalf("bound roles (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoRoleReachesSecretsOrTokensByDefault(t *testing.T) {
	objects := render(t)
	for _, o := range objects {
		if o.Kind != "ClusterRole" {
			continue
		}
		for _, rule := range get[rbacv1.ClusterRole](t, objects, o.Kind, o.Metadata.Name).Rules {
			for _, resource := range rule.Resources {
				if resource == "serviceaccounts" && slices.Equal(rule.Verbs, []string{"get"}) {
					continue // the driver compares an annotation; tokens are a resource of their own
				}
				if strings.HasPrefix(resource, "secrets") || strings.HasPrefix(resource, "serviceaccounts") || resource == "*" {
					t.Errorf("%s reaches %s", o.Metadata.Name, resource)
				}
			}
			if slices.Contains(rule.Verbs, "*") {
				t.Errorf("%s has all verbs on %v", o.Metadata.Name, rule.Resources)
			}
		}
	}
}

// The fences name the driver's own service account, and go when they are turned off.
func TestFences(t *testing.T) {
	var found int
	for _, o := range render(t, "--set", "driver.name=other", "--namespace", "vf") {
		if o.Kind != "ValidatingAdmissionPolicy" {
			continue
		}
		found++
		policy := get[admissionv1.ValidatingAdmissionPolicy](t, []object{o}, o.Kind, o.Metadata.Name)
		if got, want := policy.Spec.MatchConditions[0].Expression, "request.userInfo.username == 'system:serviceaccount:vf:other'"; got != want {
			t.Errorf("%s is for %s, want %s", o.Metadata.Name, got, want)
		}
	}
	if found != 2 {
		t.Errorf("%d policies", found)
	}
	for _, o := range render(t, "--set", "fences.enabled=false") {
		if strings.HasPrefix(o.Kind, "ValidatingAdmissionPolicy") {
			t.Errorf("%s %s is there although fences are off", o.Kind, o.Metadata.Name)
		}
	}
}
