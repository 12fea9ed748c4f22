// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"testing"
	"time"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

func objects(text string) func(*v1.SecretProviderClass) {
	return func(c *v1.SecretProviderClass) { c.Spec.Parameters["objects"] = "array:\n- " + text + "\n" }
}

func TestWhichClassesAnEventConcerns(t *testing.T) {
	db := change{vault: "kv-a", kind: "secret", name: "db", version: "2"}
	for name, tc := range map[string]struct {
		class func(*v1.SecretProviderClass)
		event change
		want  bool
	}{
		"the object":                     {nil, db, true},
		"in other case":                  {nil, change{vault: "KV-A", kind: "secret", name: "DB"}, true},
		"another object":                 {nil, change{vault: "kv-a", kind: "secret", name: "db2"}, false},
		"another vault":                  {nil, change{vault: "kv-b", kind: "secret", name: "db"}, false},
		"another type":                   {nil, change{vault: "kv-a", kind: "key", name: "db"}, false},
		"the certificate of the secret":  {nil, change{vault: "kv-a", kind: "cert", name: "db"}, true},
		"the certificate of the key":     {objects("{objectName: db, objectType: key}"), change{vault: "kv-a", kind: "cert", name: "db"}, true},
		"the key of the certificate":     {objects("{objectName: db, objectType: cert}"), change{vault: "kv-a", kind: "key", name: "db"}, false},
		"a vault of its own":             {objects("{objectName: db, objectType: secret, keyvaultName: kv-b}"), change{vault: "kv-b", kind: "secret", name: "db"}, true},
		"a pinned version":               {objects("{objectName: db, objectType: secret, objectVersion: 0123456789abcdef0123456789abcdef}"), db, false},
		"a history":                      {objects("{objectName: db, objectType: secret, objectVersionHistory: 3}"), db, true},
		"of two objects the second":      {objects("{objectName: a, objectType: secret}\n- {objectName: db, objectType: secret}"), db, true},
		"beside an entry with a mistake": {objects("{objectName: a, objectType: secrte}\n- {objectName: db, objectType: secret}"), db, true},
		"another provider":               {func(c *v1.SecretProviderClass) { c.Spec.Provider = "vault" }, db, false},
		"refreshing is off":              {func(c *v1.SecretProviderClass) { c.Annotations = map[string]string{v1.RotationIntervalAnnotation: "0"} }, db, false},
		"refreshing is seldom": {func(c *v1.SecretProviderClass) {
			c.Annotations = map[string]string{v1.RotationIntervalAnnotation: "24h"}
		}, db, true},
		"an interval that is none": {func(c *v1.SecretProviderClass) {
			c.Annotations = map[string]string{v1.RotationIntervalAnnotation: "soon"}
		}, db, true},
		"no objects at all":               {func(c *v1.SecretProviderClass) { delete(c.Spec.Parameters, "objects") }, db, false},
		"objects that are no YAML at all": {objects("{{{"), db, false},
	} {
		kept, err := slim(classNamed("app", tc.class))
		if err != nil {
			t.Fatal(err)
		}
		if got := kept.(*class).concerns(tc.event); got != tc.want {
			t.Errorf("%s: %t, wants %+v", name, got, kept.(*class).wants)
		}
	}
}

func TestParse(t *testing.T) {
	valid := Delivery{
		Type: "Microsoft.KeyVault.SecretNewVersionCreated", Time: time.Now(),
		Data: []byte(`{"Id":"https://kv-a.vault.azure.net/secrets/db/2","VaultName":"kv-a","ObjectType":"Secret","ObjectName":"db","Version":"2","NBF":null,"EXP":null}`),
	}
	for name, tc := range map[string]struct {
		change func(*Delivery)
		want   change
		bad    bool
	}{
		"a secret":      {nil, change{"kv-a", "secret", "db", "2"}, false},
		"a key":         {func(d *Delivery) { d.Type = "Microsoft.KeyVault.KeyNewVersionCreated" }, change{"kv-a", "key", "db", "2"}, false},
		"a certificate": {func(d *Delivery) { d.Type = "Microsoft.KeyVault.CertificateNewVersionCreated" }, change{"kv-a", "cert", "db", "2"}, false},
		"no data":       {func(d *Delivery) { d.Data = nil }, change{}, true},
		"no JSON":       {func(d *Delivery) { d.Data = []byte("<xml>") }, change{}, true},
		"a list":        {func(d *Delivery) { d.Data = []byte("[]") }, change{}, true},
		"no vault":      {func(d *Delivery) { d.Data = []byte(`{"ObjectName":"db"}`) }, change{}, true},
		"no object":     {func(d *Delivery) { d.Data = []byte(`{"VaultName":"kv-a"}`) }, change{}, true},
	} {
		d := valid
		if tc.change != nil {
			tc.change(&d)
		}
		got, err := parse(d)
		if (err != nil) != tc.bad || err == nil && got != tc.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, other := range []string{"Microsoft.KeyVault.SecretNearExpiry", "Microsoft.KeyVault.VaultAccessPolicyChanged", "Microsoft.Storage.BlobCreated", ""} {
		if kind := kindOf(other); kind != "" {
			t.Errorf("%s is about a new %s", other, kind)
		}
	}
}
