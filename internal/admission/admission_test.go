// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/admission"
)

const clientID = "00001111-aaaa-2222-bbbb-3333cccc4444"

// cluster is the world in memory: all that is not in it does not exist.
type cluster struct {
	classes  []v1.SecretProviderClass
	accounts map[string]map[string]string
	secrets  map[string]*metav1.ObjectMeta
	fails    error
}

func absent(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
}

func (c *cluster) Class(_ context.Context, namespace, name string) (*v1.SecretProviderClass, error) {
	for i := range c.classes {
		if c.classes[i].Namespace == namespace && c.classes[i].Name == name {
			return &c.classes[i], c.fails
		}
	}
	return nil, absent("secretproviderclasses", name)
}

func (c *cluster) Classes(context.Context, string) ([]v1.SecretProviderClass, error) {
	return c.classes, c.fails
}

func (c *cluster) AccountAnnotations(_ context.Context, _, name string) (map[string]string, error) {
	if annotations, ok := c.accounts[name]; ok {
		return annotations, c.fails
	}
	return nil, absent("serviceaccounts", name)
}

func (c *cluster) SecretMetadata(_ context.Context, _, name string) (metav1.Object, error) {
	if secret, ok := c.secrets[name]; ok {
		return secret, c.fails
	}
	return nil, absent("secrets", name)
}

func class(change func(*v1.SecretProviderClass)) *v1.SecretProviderClass {
	c := &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "app-kv"},
		Spec: v1.SecretProviderClassSpec{
			Provider: "azure",
			Parameters: map[string]string{
				"clientID": clientID, "keyvaultName": "kv-platform-prod", "tenantId": "contoso.example",
				"objects": "array:\n  - |\n    objectName: db\n    objectType: secret\n",
			},
			SecretObjects: []*v1.SecretObject{{SecretName: "app-db", Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "db", Key: "DB"}}}},
		},
	}
	if change != nil {
		change(c)
	}
	return c
}

func raw(t *testing.T, object any) runtime.RawExtension {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: text}
}

func validator(world *cluster) *admission.Validator {
	return &admission.Validator{World: world, Log: slog.New(slog.DiscardHandler)}
}

func objects(text string) func(*v1.SecretProviderClass) {
	return func(c *v1.SecretProviderClass) { c.Spec.Parameters["objects"] = text }
}

func both(changes ...func(*v1.SecretProviderClass)) func(*v1.SecretProviderClass) {
	return func(c *v1.SecretProviderClass) {
		for _, change := range changes {
			change(c)
		}
	}
}

func TestClasses(t *testing.T) {
	const badType = "array:\n  - |\n    objectName: db\n    objectType: secrte\n"
	noVault := func(c *v1.SecretProviderClass) { delete(c.Spec.Parameters, "keyvaultName") }
	label := func(c *v1.SecretProviderClass) { c.Labels = map[string]string{"a": "b"} }
	annotate := func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{"a": "b"} }
	for name, tc := range map[string]struct {
		old, new func(*v1.SecretProviderClass) // old is nil for a creation
		update   bool
		denied   []string
		warns    []string
	}{
		"fine":                      {},
		"created broken":            {new: noVault, denied: []string{"ParameterInvalid: keyvaultName is not provided"}},
		"all mistakes at once":      {new: both(noVault, objects(badType)), denied: []string{"2 mistakes:\n- ", "keyvaultName is not provided", "did you mean secret?"}},
		"became broken":             {update: true, new: noVault, denied: []string{"keyvaultName is not provided"}},
		"mended":                    {update: true, old: noVault},
		"still broken":              {update: true, old: noVault, new: both(noVault, annotate), warns: []string{"ParameterInvalid: keyvaultName is not provided"}},
		"labels of a broken one":    {update: true, old: noVault, new: both(noVault, label)},
		"one more mistake":          {update: true, old: noVault, new: both(noVault, objects(badType)), denied: []string{"did you mean secret?"}, warns: []string{"keyvaultName"}},
		"one mistake less":          {update: true, old: both(noVault, objects(badType)), new: objects(badType), warns: []string{"did you mean secret?"}},
		"another wrong value":       {update: true, old: objects(badType), new: objects(strings.Replace(badType, "secrte", "sceret", 1)), warns: []string{"sceret"}},
		"moved":                     {update: true, old: objects(badType), new: objects("array:\n  - |\n    objectName: x\n    objectType: secret\n" + badType[7:]), warns: []string{"index 1"}},
		"the same mistake again":    {update: true, old: objects(badType), new: objects(badType + "  - |\n    objectName: y\n    objectType: secrte\n"), denied: []string{"index 1"}, warns: []string{"index 0"}},
		"what was hidden by YAML":   {update: true, old: objects("array: ["), new: objects(badType), warns: []string{"did you mean secret?"}},
		"secretObjects behind YAML": {update: true, old: both(objects("array: ["), func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[0].Data[0].ObjectName = "no" }), new: func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[0].Data[0].ObjectName = "no" }, warns: []string{"file matching objectName no not found"}},
		"key":                       {new: objects("array:\n  - |\n    objectName: db\n    objectType: key\n"), warns: []string{`takes the role "Key Vault Certificate User"`}},
		"another provider":          {new: func(c *v1.SecretProviderClass) { c.Spec.Provider = "vault" }},
		"a wrong name of a file":    {new: func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[0].Data[0].ObjectName = "bd" }, denied: []string{"SecretObjectInvalid: secretObjects[0]"}},
		"ignored by its annotation": {new: both(noVault, func(c *v1.SecretProviderClass) {
			c.Annotations = map[string]string{"vaultferry.io/lint-ignore": "ParameterInvalid"}
		})},
		"somebody else's Secret": {new: func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[0].SecretName = "taken" }, warns: []string{`SecretNotOurs: Secret "taken" exists already and belongs to Helm release "shop"`}},
		"warnings are whole":     {new: objects("array:\n  - |\n    objectName: " + strings.Repeat("a", 120) + "\n    objectType: key\n  - |\n    objectName: db\n    objectType: secret\n"), warns: []string{`az role assignment create --role "Key Vault Certificate User"`}},
	} {
		t.Run(name, func(t *testing.T) {
			world := &cluster{secrets: map[string]*metav1.ObjectMeta{
				"taken": {Name: "taken", Annotations: map[string]string{"meta.helm.sh/release-name": "shop"}},
			}}
			request := &admissionv1.AdmissionRequest{Namespace: "payments", Name: "app-kv", Operation: admissionv1.Create, Object: raw(t, class(tc.new))}
			if tc.update {
				request.Operation, request.OldObject = admissionv1.Update, raw(t, class(tc.old))
			}
			response := validator(world).Classes(t.Context(), request)
			if response.Allowed != (len(tc.denied) == 0) {
				t.Fatalf("got %+v, want a denial: %q", response, tc.denied)
			}
			for _, want := range tc.denied {
				if !strings.Contains(response.Result.Message, want) {
					t.Errorf("%q does not say %q", response.Result.Message, want)
				}
			}
			if !response.Allowed && (response.Result.Code != 422 || len(response.Result.Details.Causes) == 0 || response.Result.Details.Causes[0].Field == "") {
				t.Errorf("got status %+v", response.Result)
			}
			all := strings.Join(response.Warnings, "\n")
			if (len(tc.warns) == 0) != (len(response.Warnings) == 0) {
				t.Errorf("got warnings %q, want %q", response.Warnings, tc.warns)
			}
			for _, want := range tc.warns {
				if !strings.Contains(all, want) {
					t.Errorf("%q does not warn of %q", response.Warnings, want)
				}
			}
			for _, w := range response.Warnings {
				if strings.Contains(w, "\n") {
					t.Errorf("more than one line: %q", w)
				}
			}
		})
	}
}

// Warnings that are too long together are cut here, the next step first, and not by the API server, which would cut anywhere.
func TestManyWarningsAreShort(t *testing.T) {
	text := "array:\n"
	for i := range 40 {
		text += fmt.Sprintf("  - |\n    objectName: db-%d\n    objectType: secret\n    %s: x\n", i, strings.Repeat("ä", 200))
	}
	broken := class(both(objects(text), func(c *v1.SecretProviderClass) { c.Spec.SecretObjects = nil }))
	response := validator(&cluster{}).Classes(t.Context(), &admissionv1.AdmissionRequest{Namespace: "payments", Operation: admissionv1.Create, Object: raw(t, broken)})
	if !response.Allowed || len(response.Warnings) != 40 {
		t.Fatalf("got %+v", response)
	}
	for _, w := range response.Warnings {
		if n := utf8.RuneCountInString(w); n > 256 || !utf8.ValidString(w) {
			t.Errorf("%d characters: %q", n, w)
		}
	}
}

// However large a class is, the answer is one that people can read.
func TestAnswersAboutLargeClassesAreBounded(t *testing.T) {
	var vaults, misspelt, unknown strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&vaults, "- {objectName: a%d, objectType: key, keyvaultName: kv-%d}\n", i, i)
		fmt.Fprintf(&misspelt, "- {objectName: a%d, objectType: %s}\n", i, strings.Repeat("b", 100))
		fmt.Fprintf(&unknown, "- {objectName: a%d, objectType: secret, %s: x}\n", i, strings.Repeat("b", 100))
	}
	for name, text := range map[string]string{
		"vaults": vaults.String(), "misspelt": misspelt.String(), "unknown": unknown.String(),
		"aliases": "array: [&a {" + strings.Repeat("b: , ", 1000) + "}" + strings.Repeat(", *a", 9000) + "]",
		"huge":    "array: [" + strings.Repeat("a,", 700_000) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			large := raw(t, class(objects(text)))
			for _, old := range []runtime.RawExtension{{}, large, raw(t, class(nil))} {
				response := validator(&cluster{}).Classes(t.Context(), &admissionv1.AdmissionRequest{
					Namespace: "payments", Operation: admissionv1.Create, Object: large, OldObject: old,
				})
				answer := raw(t, response)
				if len(response.Warnings) > 51 || len(answer.Raw) > 100_000 {
					t.Errorf("%d warnings, %d bytes", len(response.Warnings), len(answer.Raw))
				}
			}
		})
	}
}

// A class with more mistakes than are told can be mended step by step.
func TestManyMistakesCanBeMendedStepByStep(t *testing.T) {
	mistakes := func(types, names int) runtime.RawExtension {
		return raw(t, class(both(objects(strings.Repeat("- {objectName: a, objectType: b, objectAlias: c}\n", types)+
			strings.Repeat("- {objectName: a_b, objectType: secret, objectAlias: c}\n", names)), func(c *v1.SecretProviderClass) { c.Spec.SecretObjects = nil })))
	}
	response := validator(&cluster{}).Classes(t.Context(), &admissionv1.AdmissionRequest{
		Namespace: "payments", Operation: admissionv1.Update, OldObject: mistakes(150, 50), Object: mistakes(20, 50),
	})
	if !response.Allowed {
		t.Fatalf("got %+v", response.Result)
	}
}

func TestADeletionIsNobodysBusiness(t *testing.T) {
	for _, handler := range []func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse{
		validator(&cluster{}).Classes, validator(&cluster{}).Workloads,
	} {
		response := handler(t.Context(), &admissionv1.AdmissionRequest{Operation: admissionv1.Delete, OldObject: raw(t, class(nil)), Kind: metav1.GroupVersionKind{Kind: "Pod"}})
		if !response.Allowed || len(response.Warnings) > 0 {
			t.Errorf("got %+v", response)
		}
	}
}

// silent is an API server that does not answer.
type silent struct{ *cluster }

func (silent) SecretMetadata(ctx context.Context, _, _ string) (metav1.Object, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestARefusalDoesNotWaitForASilentAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &admission.Validator{World: silent{&cluster{}}, Log: slog.New(slog.DiscardHandler)}
		broken := class(func(c *v1.SecretProviderClass) { delete(c.Spec.Parameters, "keyvaultName") })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // the API server hangs up
		defer cancel()
		response := v.Classes(ctx, &admissionv1.AdmissionRequest{Namespace: "payments", Operation: admissionv1.Create, Object: raw(t, broken)})
		if response.Allowed || ctx.Err() != nil {
			t.Errorf("got %+v, and the API server says %v", response, ctx.Err())
		}
	})
}

func pod(change func(*corev1.Pod)) *corev1.Pod {
	yes := true
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "payments-api", Namespace: "payments", Labels: map[string]string{"azure.workload.identity/use": "true"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "app-sa",
			Containers: []corev1.Container{{
				Name: "api", VolumeMounts: []corev1.VolumeMount{{Name: "kv", MountPath: "/mnt"}},
				Env: []corev1.EnvVar{{Name: "DB", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "app-db"}, Key: "DB"}}}},
			}},
			Volumes: []corev1.Volume{{Name: "kv", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
				Driver: "secrets-store.csi.k8s.io", ReadOnly: &yes, VolumeAttributes: map[string]string{"secretProviderClass": "app-kv"},
			}}}},
		},
	}
	if change != nil {
		change(p)
	}
	return p
}

// Workloads are warned about and never refused.
func TestWorkloads(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		world  func(*cluster)
		warns  string
	}{
		"fine":       {},
		"no label":   {change: func(p *corev1.Pod) { p.Labels = nil }, warns: "LabelMissing: the pod mounts SecretProviderClass app-kv with clientID " + clientID},
		"no account": {change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = "app-as" }, warns: `ServiceAccountNotFound: serviceaccounts "app-as" not found; create it in namespace payments`},
		"other identity": {world: func(c *cluster) {
			c.accounts["app-sa"]["azure.workload.identity/client-id"] = "99991111-aaaa-2222-bbbb-3333cccc4444"
		}, warns: "ClientIDMismatch: SecretProviderClass app-kv reads with clientID"},
		"account without one": {world: func(c *cluster) { c.accounts["app-sa"] = nil }},
		"class is not there": {change: func(p *corev1.Pod) {
			p.Spec.Volumes[0].CSI.VolumeAttributes["secretProviderClass"] = "other"
			p.Spec.Containers[0].Env = nil
		}, warns: "ClassNotFound: failed to get secretproviderclass payments/other"},
		"class is misspelt": {change: func(p *corev1.Pod) {
			p.Spec.Volumes[0].CSI.VolumeAttributes["secretProviderClass"] = "app-vk"
			p.Spec.Containers[0].Env = nil
		}, warns: `did you mean "app-kv"?`},
		"no volume":           {change: func(p *corev1.Pod) { p.Spec.Volumes = nil }, warns: `SecretWithoutVolume: container "api" uses Secret "app-db"`},
		"subPath":             {change: func(p *corev1.Pod) { p.Spec.Containers[0].VolumeMounts[0].SubPath = "db" }, warns: `SubPathStale: container "api" mounts db of SecretProviderClass app-kv at /mnt by subPath`},
		"overrides the class": {change: func(p *corev1.Pod) { p.Spec.Volumes[0].CSI.VolumeAttributes["keyvaultName"] = "mine" }, warns: "RequestInvalid: pod.spec.volumes[].csi.volumeAttributes.keyvaultName would replace"},
		"not read-only":       {change: func(p *corev1.Pod) { p.Spec.Volumes[0].CSI.ReadOnly = nil }, warns: "RequestInvalid: Readonly is not true in request; set pod.spec.volumes[].csi.readOnly to true"},
		"another driver": {change: func(p *corev1.Pod) {
			p.Spec.Volumes[0].CSI.Driver = "example.com"
			p.Spec.Containers[0].Env, p.Labels = nil, nil
		}},
		"managed identity": {change: func(p *corev1.Pod) { p.Labels = nil }, world: func(c *cluster) {
			c.classes[0].Spec.Parameters["useVMManagedIdentity"] = "true"
			delete(c.classes[0].Spec.Parameters, "clientID")
		}},
		"ignored": {change: func(p *corev1.Pod) {
			p.Labels = nil
			p.Annotations = map[string]string{"vaultferry.io/lint-ignore": "LabelMissing"}
		}},
		"API server is silent": {change: func(p *corev1.Pod) { p.Labels = nil }, world: func(c *cluster) { c.fails = apierrors.NewServiceUnavailable("busy") }},
	} {
		t.Run(name, func(t *testing.T) {
			world := &cluster{
				classes:  []v1.SecretProviderClass{*class(nil)},
				accounts: map[string]map[string]string{"app-sa": {"azure.workload.identity/client-id": strings.ToUpper(clientID)}},
			}
			if tc.world != nil {
				tc.world(world)
			}
			p := pod(tc.change)
			deployment := map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": p.ObjectMeta, "spec": p.Spec}}}
			for kind, object := range map[string]any{"Pod": p, "Deployment": deployment} {
				request := &admissionv1.AdmissionRequest{
					Kind: metav1.GroupVersionKind{Kind: kind}, Namespace: "payments", Name: "payments-api", Operation: admissionv1.Create, Object: raw(t, object),
				}
				response := validator(world).Workloads(t.Context(), request)
				all := strings.Join(response.Warnings, "\n")
				if !response.Allowed || (tc.warns == "") != (all == "") || !strings.Contains(all, tc.warns) {
					t.Errorf("%s: allowed %v, warnings %q, want %q", kind, response.Allowed, response.Warnings, tc.warns)
				}
				request.Operation, request.OldObject = admissionv1.Update, request.Object
				if response := validator(world).Workloads(t.Context(), request); !response.Allowed || len(response.Warnings) > 0 {
					t.Errorf("%s, updated without a change of its pods: %+v", kind, response)
				}
			}
		})
	}
}
