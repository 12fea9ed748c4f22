// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/kube"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// untried is a mount that no node has tried yet; tests change one thing in it.
func untried() *Mount {
	class := &v1.SecretProviderClass{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "app-kv"}}
	class.Spec = v1.SecretProviderClassSpec{Provider: "azure", Parameters: map[string]string{
		"clientID": "00001111-aaaa-2222-bbbb-3333cccc4444", "keyvaultName": "kv-platform-prod", "tenantID": "ffffffff-1111-2222-3333-444444444444",
		"objects": "array:\n- {objectName: db, objectType: secret}\n",
	}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Labels: map[string]string{"azure.workload.identity/use": "true"}}}
	pod.Spec.NodeName, pod.Spec.ServiceAccountName = "node-1", "app-sa"
	pod.Spec.Volumes = []corev1.Volume{{Name: "kv", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
		Driver: driverName, VolumeAttributes: map[string]string{"secretProviderClass": "app-kv"},
	}}}}
	pod.Status.Phase = corev1.PodPending
	return &Mount{Namespace: "shop", Pod: pod, Volume: "kv", ClassName: "app-kv", Class: class, Account: &corev1.ServiceAccount{}}
}

// onTheWay are the links that only somebody who reads the vault can judge.
func onTheWay() []LinkKind {
	return []LinkKind{IdentityLink, CredentialLink, VaultLink, RoleLink, ObjectLink, FileLink}
}

// Only a probe that has read something says that the way is good.
func TestWhatAProbeSays(t *testing.T) {
	for name, tc := range map[string]struct {
		probed *Probed
		state  State
		says   string
	}{
		"none":            {nil, Unknown, "nobody has tried it yet"},
		"read":            {&Probed{Read: 1}, OK, ""},
		"read nothing":    {&Probed{}, Unknown, "nobody has tried it yet"},
		"skipped":         {&Probed{Skipped: "only workload identity can be probed"}, Unknown, "not probed: only workload identity can be probed"},
		"skipped halfway": {&Probed{Read: 1, Skipped: "the power went"}, Unknown, "not probed: the power went"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilder(untried())
			b.probed = tc.probed
			c := b.chain()
			found := 0
			for _, link := range c.Links {
				if !slices.Contains(onTheWay(), link.Kind) {
					continue
				}
				found++
				if link.State != tc.state || !strings.Contains(link.Detail, tc.says) {
					t.Errorf("%+v", link)
				}
			}
			if found != len(onTheWay()) || c.State() != OK {
				t.Errorf("%d links, %s", found, c.State())
			}
			if tc.probed != nil && c.NotProbed != tc.probed.Skipped {
				t.Errorf("not probed: %q", c.NotProbed)
			}
		})
	}
}

// A probe that failed breaks the link that it failed at, and one that read the named objects says nothing of those that are selected.
func TestWhatAProbeLeavesOpen(t *testing.T) {
	b := newBuilder(untried())
	b.probed = &Probed{Failed: reason.New(reason.VaultForbidden, "", "no")}
	if c := b.chain(); c.Broken() == nil || c.Broken().Kind != RoleLink {
		t.Errorf("%+v", c.Links)
	}
	m := untried()
	m.Class.Spec.Parameters["objects"] += "- {namePrefix: shop-, objectType: secret, objectAlias: \"shop/{name}\"}\n"
	b = newBuilder(m)
	b.probed = &Probed{Read: 1}
	for _, link := range b.chain().Links {
		want := OK
		if strings.HasSuffix(link.Name, selection) {
			want = Unknown
		}
		if link.State != want {
			t.Errorf("%+v", link)
		}
	}
}

// What cannot be probed is skipped before anybody is asked.
func TestSkippedProbes(t *testing.T) {
	for says, change := range map[string]func(*Mount){
		"the class is not valid":                     func(m *Mount) { m.Class.Spec.Parameters["keyvaultName"] = "" },
		"the class uses the node's managed identity": func(m *Mount) { m.Class.Spec.Parameters["useVMManagedIdentity"] = "true" },
		"the class uses service principal":           func(m *Mount) { delete(m.Class.Spec.Parameters, "clientID") },
		"the class uses identity binding":            func(m *Mount) { m.Class.Spec.Parameters["useAzureTokenProxy"] = "true" },
		"only those that have a name can be probed": func(m *Mount) {
			m.Class.Spec.Parameters["objects"] = "array:\n- {namePrefix: a-, objectType: secret}\n"
		},
		"only provider azure can be probed": func(m *Mount) { m.Class.Spec.Provider = "vault" },
	} {
		m := untried()
		change(m)
		if got := (&NodeProber{}).Probe(t.Context(), m); !strings.Contains(got.Skipped, says) || got.Read != 0 || got.Failed != nil {
			t.Errorf("%s: %+v", says, got)
		}
	}
	missing := keyvault.Object{Missing: reason.New(reason.ObjectNotFound, "", "no")}
	if got := probedOf([]keyvault.Object{missing, missing}); got.Skipped == "" {
		t.Errorf("%+v", got)
	}
	if got := probedOf([]keyvault.Object{missing, {}}); got.Read != 1 || got.Skipped != "" {
		t.Errorf("%+v", got)
	}
}

// An API server that makes no token for the person who asks says nothing of the pod's node.
func TestProbesWithoutAToken(t *testing.T) {
	for name, tc := range map[string]struct {
		answer  string
		code    int
		skipped string
		broken  LinkKind
	}{
		"no right": {
			`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"serviceaccounts \"app-sa\" is forbidden: User \"jane\" ` +
				`cannot create resource \"serviceaccounts/token\" in API group \"\" in the namespace \"shop\""}`, http.StatusForbidden,
			"you may not create tokens of service account shop/app-sa: it takes the right to create serviceaccounts/token", "",
		},
		"no account": {
			`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"serviceaccounts \"app-sa\" not found",` +
				`"details":{"name":"app-sa","kind":"serviceaccounts"}}`, http.StatusNotFound, "", AccountLink,
		},
		"a fault": {`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,"message":"etcd\nis away"}`, http.StatusInternalServerError,
			"the API server made no token of service account shop/app-sa: etcd", ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost || r.URL.Path != "/api/v1/namespaces/shop/serviceaccounts/app-sa/token" {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tc.code)
				w.Write([]byte(tc.answer))
			}))
			defer server.Close()
			client, err := kube.New(&rest.Config{Host: server.URL}, "test")
			if err != nil {
				t.Fatal(err)
			}
			b := newBuilder(untried())
			b.probed = ptr((&NodeProber{Kube: client}).Probe(t.Context(), b.m))
			if b.probed.Skipped != tc.skipped || (b.probed.Refused != nil) != (tc.skipped != "") {
				t.Errorf("%+v", b.probed)
			}
			c := b.chain()
			if broken := c.Broken(); (broken != nil) != (tc.broken != "") || broken != nil && broken.Kind != tc.broken {
				t.Errorf("broken: %+v", broken)
			}
			if advice := kube.Advice(c.Refused); tc.code == http.StatusForbidden && !strings.Contains(advice, `resources: ["serviceaccounts/token"]`) {
				t.Errorf("advice: %s", advice)
			}
		})
	}
}
