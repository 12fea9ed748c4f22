// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/lint"
	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

const (
	clientID = "00001111-aaaa-2222-bbbb-3333cccc4444"
)

// entry is one entry of objects.
func entry(lines ...string) string { return "  - |\n    " + strings.Join(lines, "\n    ") + "\n" }

func objectsOf(entries ...string) string { return "array:\n" + strings.Join(entries, "") }

// validClass is the walkthrough's class; tests break one thing in it.
func validClass() *v1.SecretProviderClass {
	return &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "app-kv"},
		Spec: v1.SecretProviderClassSpec{
			Provider: "azure",
			Parameters: map[string]string{
				"usePodIdentity": "false", "clientID": clientID, "keyvaultName": "kv-platform-prod", "cloudName": "",
				"tenantId": "ffffffff-1111-2222-3333-444444444444",
				"objects": objectsOf(
					entry("objectName: db-connection-string", "objectType: secret"),
					entry("objectName: tls-app", "objectType: secret", "objectAlias: tls-app.pem"),
				),
			},
			SecretObjects: []*v1.SecretObject{
				{SecretName: "app-db", Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "db-connection-string", Key: "DB"}}},
				{SecretName: "app-tls", Type: "kubernetes.io/tls", Data: []*v1.SecretObjectData{
					{ObjectName: "tls-app.pem", Key: "tls.crt"}, {ObjectName: "tls-app.pem", Key: "tls.key"},
				}},
			},
		},
	}
}

func set(key, value string) func(*v1.SecretProviderClass) {
	return func(c *v1.SecretProviderClass) { c.Spec.Parameters[key] = value }
}

func TestTheWalkthroughsClassIsFine(t *testing.T) {
	if findings := lint.Class(validClass()); len(findings) > 0 {
		t.Fatal(findings)
	}
}

func TestBrokenClasses(t *testing.T) {
	for name, tc := range map[string]struct {
		breaks        func(*v1.SecretProviderClass)
		severity      lint.Severity
		reason, field string
		says          string
	}{
		"no provider":    {func(c *v1.SecretProviderClass) { c.Spec.Provider = "" }, lint.Error, "ClassInvalid", "spec.provider", "provider not set in payments/app-kv; set spec.provider"},
		"provider name":  {func(c *v1.SecretProviderClass) { c.Spec.Provider = "a/b" }, lint.Error, "ClassInvalid", "spec.provider", "invalid provider"},
		"no parameters":  {func(c *v1.SecretProviderClass) { c.Spec.Parameters = nil }, lint.Error, "ClassInvalid", "spec.parameters", "parameters not set in payments/app-kv"},
		"no vault":       {set("keyvaultName", ""), lint.Error, "ParameterInvalid", "spec.parameters.keyvaultName", "keyvaultName is not provided"},
		"vault's domain": {set("keyvaultName", "kv.vault.azure.net"), lint.Error, "VaultNameInvalid", "spec.parameters.keyvaultName", "without a domain"},
		"no tenant":      {set("tenantId", ""), lint.Error, "ParameterInvalid", "", "tenantId is not provided"},
		"client's name":  {set("clientID", "id-app-secrets"), lint.Error, "ParameterInvalid", "spec.parameters.clientID", "which is a UUID"},
		"pod identity":   {set("usePodIdentity", "true"), lint.Error, "ParameterInvalid", "spec.parameters.usePodIdentity", "replaced by workload identity"},
		"cloud":          {set("cloudName", "AzurePublicClod"), lint.Error, "ParameterInvalid", "spec.parameters.cloudName", "did you mean AzurePublicCloud?"},
		"misspelt name":  {set("keyVaultname", "x"), lint.Warning, "ParameterInvalid", "spec.parameters.keyVaultname", "did you mean keyvaultName?"},
		"no objects":     {set("objects", ""), lint.Error, "ObjectsInvalid", "spec.parameters.objects", "objects is not set"},
		"objects no YAML": {
			set("objects", "array:\n  - |\n   objectName: a\n  objectType: secret\n"), lint.Error, "ObjectsInvalid", "spec.parameters.objects", "line 4",
		},
		"type": {
			set("objects", objectsOf(entry("objectName: a", "objectType: secret"), entry("objectName: b", "objectType: secrte"))),
			lint.Error, "ObjectsInvalid", "spec.parameters.objects[1].objectType", "did you mean secret?",
		},
		"field nobody knows": {
			set("objects", objectsOf(entry("objectName: db-connection-string", "objectType: secret"), entry("objectName: tls-app", "objectType: secret", "objectAlias: tls-app.pem", "objectVersoin: x"))),
			lint.Warning, "ParameterInvalid", "spec.parameters.objects[1].objectVersoin", "did you mean objectVersion?",
		},
		"same file twice": {
			set("objects", objectsOf(entry("objectName: a", "objectType: secret"), entry("objectName: b", "objectType: secret", "objectAlias: a"))),
			lint.Error, "ObjectsInvalid", "spec.parameters.objects[1].objectAlias", "already that of index 0",
		},
		"key": {
			func(c *v1.SecretProviderClass) {
				c.Spec.Parameters["objects"] += entry("objectName: signing-key", "objectType: key")
			},
			lint.Warning, "VaultForbidden", "spec.parameters.objects[2]", `key "signing-key" in kv-platform-prod: reading takes the role "Key Vault Certificate User"`,
		},
		"certificate": {
			func(c *v1.SecretProviderClass) {
				c.Spec.Parameters["objects"] += entry("objectName: tls", "objectType: cert")
			},
			lint.Warning, "VaultForbidden", "spec.parameters.objects[2]", `az role assignment create --role "Key Vault Certificate User" --assignee ` + clientID,
		},
		"name of the vault's object": {
			func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[1].Data[0].ObjectName = "tls-app" },
			lint.Error, "SecretObjectInvalid", "spec.secretObjects[1].data[0].objectName", `use the alias "tls-app.pem"`,
		},
		"misspelt file": {
			func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[0].Data[0].ObjectName = "db-connection-strin" },
			lint.Error, "SecretObjectInvalid", "spec.secretObjects[0].data[0].objectName", `did you mean "db-connection-string"?`,
		},
		"TLS without key": {
			func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[1].Data = c.Spec.SecretObjects[1].Data[:1] },
			lint.Error, "SecretObjectInvalid", "spec.secretObjects[1].data", `needs the key "tls.key"`,
		},
		"TLS from a certificate": {
			set("objects", objectsOf(entry("objectName: db-connection-string", "objectType: secret"), entry("objectName: tls-app", "objectType: cert", "objectAlias: tls-app.pem"))),
			lint.Error, "SecretObjectInvalid", "spec.secretObjects[1].data[1].objectName", "no private key found; mount the certificate with objectType: secret",
		},
		"TLS from a key": {
			set("objects", objectsOf(entry("objectName: db-connection-string", "objectType: secret"), entry("objectName: tls-app", "objectType: key", "objectAlias: tls-app.pem"))),
			lint.Error, "SecretObjectInvalid", "spec.secretObjects[1].data[0].objectName", "no certificate found",
		},
		"Secret twice": {
			func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[1].SecretName = "app-db" },
			lint.Error, "SecretObjectInvalid", "spec.secretObjects[1].secretName", "has the same secretName",
		},
		"Secret without type": {
			func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[0].Type = "" },
			lint.Error, "SecretObjectInvalid", "spec.secretObjects[0].type", "set type, for example Opaque",
		},
	} {
		t.Run(name, func(t *testing.T) {
			class := validClass()
			tc.breaks(class)
			findings := lint.Class(class)
			ok := slices.ContainsFunc(findings, func(f lint.Finding) bool {
				return f.Severity == tc.severity && f.Reason.Name == tc.reason && (tc.field == "" || f.Field == tc.field) && strings.Contains(f.Text(), tc.says)
			})
			if !ok {
				t.Fatalf("want %s %s at %q saying %q, got %+v", tc.severity, tc.reason, tc.field, tc.says, findings)
			}
			if tc.severity == lint.Warning && lint.Failed(findings) {
				t.Fatalf("errors: %+v", findings)
			}
			for _, f := range findings {
				hasRule(t, f)
				if strings.ContainsAny(f.Text(), "\n\r") {
					t.Errorf("more than one line: %q", f.Text())
				}
			}
			class.Annotations = map[string]string{classrule.IgnoreAnnotation: "Other, " + tc.reason}
			for _, f := range lint.Class(class) {
				if f.Reason.Name == tc.reason {
					t.Errorf("not ignored: %+v", f)
				}
			}
		})
	}
}

// What cannot be known is no mistake.
func TestNoFalseAlarms(t *testing.T) {
	for name, change := range map[string]func(*v1.SecretProviderClass){
		"another provider": func(c *v1.SecretProviderClass) {
			c.Spec.Provider, c.Spec.Parameters = "vault", map[string]string{"objects": "- objectName: x", "roleName": "app"}
		},
		"service principal":   func(c *v1.SecretProviderClass) { delete(c.Spec.Parameters, "clientID") },
		"any other parameter": set("somethingOfOurOwn", "x"),
		"custom cloud": func(c *v1.SecretProviderClass) {
			c.Spec.Parameters["cloudName"], c.Spec.Parameters["cloudEnvFileName"] = "AzureStackCloud", "stack.json"
		},
		"selected by prefix": func(c *v1.SecretProviderClass) {
			c.Spec.Parameters["objects"] += entry("namePrefix: shop-", "objectType: secret", `objectAlias: "shop/{name}.txt"`)
			c.Spec.SecretObjects[0].Data[0].ObjectName = "shop/shop-db.txt"
		},
		"selected by tag": func(c *v1.SecretProviderClass) {
			c.Spec.Parameters["objects"] += entry("tags: team=shop", "objectType: secret")
			c.Spec.SecretObjects[0].Data[0].ObjectName = "anything"
		},
		"version of a history": func(c *v1.SecretProviderClass) {
			c.Spec.Parameters["objects"] += entry("objectName: old", "objectType: secret", "objectVersionHistory: 3")
			c.Spec.SecretObjects[0].Data[0].ObjectName = "old/2"
		},
		"one version more, with the switch of old": func(c *v1.SecretProviderClass) {
			c.Spec.Parameters["objects"] += entry("objectName: old", "objectType: secret", "objectVersionHistory: 3")
			c.Spec.SecretObjects[0].Data[0].ObjectName = "old/3"
		},
		"separate files": func(c *v1.SecretProviderClass) {
			c.Spec.SecretObjects[1].Data[0].ObjectName, c.Spec.SecretObjects[1].Data[1].ObjectName = "tls-app.pem.crt", "tls-app.pem.key"
		},
		"chain file": func(c *v1.SecretProviderClass) {
			c.Spec.Parameters["objects"] += entry("objectName: tls", "objectType: secret", "caAlias: ca.crt")
			c.Spec.SecretObjects[1].Data = append(c.Spec.SecretObjects[1].Data, &v1.SecretObjectData{ObjectName: "ca.crt", Key: "ca.crt"})
		},
		"completed by pods": func(c *v1.SecretProviderClass) {
			c.Annotations = map[string]string{"vaultferry.io/allow-volume-attributes-override": "true"}
			delete(c.Spec.Parameters, "keyvaultName")
			delete(c.Spec.Parameters, "objects")
		},
	} {
		t.Run(name, func(t *testing.T) {
			class := validClass()
			change(class)
			if findings := lint.Class(class); lint.Failed(findings) {
				t.Fatalf("%+v", findings)
			}
		})
	}
}

// All problems of a class are told at once.
func TestAllProblemsAtOnce(t *testing.T) {
	class := validClass()
	class.Spec.Parameters["keyvaultName"] = "k"
	class.Spec.Parameters["objects"] = objectsOf(entry("objectName: a", "objectType: x"), entry("objectType: secret"))
	class.Spec.SecretObjects[0].Type = ""
	var fields []string
	for _, f := range lint.Class(class) {
		fields = append(fields, f.Field)
	}
	for _, want := range []string{"spec.parameters.keyvaultName", "spec.parameters.objects[0].objectType", "spec.parameters.objects[1].objectName", "spec.secretObjects[0].type"} {
		if !slices.Contains(fields, want) {
			t.Errorf("%s is missing in %q", want, fields)
		}
	}
}

// What is said of secretObjects before a mount is what the event on the pod says after it.
func TestSecretObjectsSpeakLikeTheEvent(t *testing.T) {
	for name, breaks := range map[string]func(*v1.SecretProviderClass){
		"name of the vault's object": func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[0].Data[0].ObjectName = "tls-app" },
		"misspelt file":              func(c *v1.SecretProviderClass) { c.Spec.SecretObjects[0].Data[0].ObjectName = "db-connection-strin" },
		"TLS without key": func(c *v1.SecretProviderClass) {
			c.Spec.SecretObjects[0].Type = "kubernetes.io/tls"
			c.Spec.SecretObjects[0].Data[0].Key = "tls.crt"
		},
	} {
		t.Run(name, func(t *testing.T) {
			class := validClass()
			class.Spec.SecretObjects = class.Spec.SecretObjects[:1]
			breaks(class)
			files := []secret.File{{Path: "db-connection-string"}, {Path: "tls-app.pem"}}
			_, event := secretsync.Desired(class, files)
			findings := lint.Class(class)
			if len(event) != 1 || len(findings) != 1 || event[0].Error() != findings[0].Reason.Name+": "+findings[0].Text() {
				t.Fatalf("event: %v\nlint:  %+v", event, findings)
			}
		})
	}
}
