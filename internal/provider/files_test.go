// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// mounted is the answer to a mount, readable: files as "path mode content", objects as "id version".
type mounted struct {
	Files, Objects, Notices []string
}

// mount has a provider, which reads from vault, answer for a class with these objects.
func mount(t *testing.T, vault Fetcher, objects string, change ...func(*Config)) (mounted, *v1alpha1.MountResponse, error) {
	t.Helper()
	r := start(t, vault, change...)
	call := validCall()
	call.attributes["objects"] = objects
	answer, err := r.client.Mount(t.Context(), call.request())
	if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("more than one line: %q", err)
	}
	if strings.Contains(r.log.String(), canary) {
		t.Errorf("the log holds content: %s", r.log)
	}
	var m mounted
	for _, f := range answer.GetFiles() {
		m.Files = append(m.Files, fmt.Sprintf("%s %04o %s", f.GetPath(), f.GetMode(), f.GetContents()))
	}
	for _, o := range answer.GetObjectVersion() {
		m.Objects = append(m.Objects, o.GetId()+" "+o.GetVersion())
	}
	for _, n := range answer.GetNotices() {
		m.Notices = append(m.Notices, n.GetReason()+" "+n.GetText())
	}
	return m, answer, err
}

// objectsOf is an objects parameter with an entry of text for each list of lines.
func objectsOf(entries ...[]string) string {
	text := "array:\n"
	for _, lines := range entries {
		text += "  - |\n    " + strings.Join(lines, "\n    ") + "\n"
	}
	return text
}

// shopVault is what the tables below read.
func shopVault() *heldVault {
	prod := tagged(map[string]string{"env": "prod", "team": "shop"})
	return &heldVault{objects: []heldObject{
		secretOf("db", "v1", "one").of(created(1)),
		secretOf("db", "v2", "two").of(created(2), disabled),
		secretOf("db", "v3", "three").of(created(3)),
		secretOf("db", "v4", "four").of(created(4)),
		secretOf("db", "v5", "five").of(created(5)),
		secretOf("hex", "h1", "00ff10"), secretOf("base64", "b1", "AAEC/w=="), secretOf("text", "t1", " as is\n"),
		secretOf("off", "o1", canary).of(disabled),
		secretOf("json", "j1", `{"user":"ann \"a\"","port":5432,"tls":true,"none":null,"hosts":[{"name":"a"},{"name":"b"}],"blob":"AAEC/w==","a.b":"dot"}`),
		secretOf("web-a", "wa", "A").of(prod), secretOf("web-b", "wb", "B").of(prod, disabled),
		secretOf("web-c", "wc", "C").of(prod, func(o *heldObject) { o.managed = true }),
		secretOf("web-d", "wd", "D").of(tagged(map[string]string{"env": "test", "team": "shop"})),
		secretOf("db", "x1", "elsewhere").of(inVault("kv-other")),
	}}
}

func TestClassInFilesOut(t *testing.T) {
	for name, tc := range map[string]struct {
		objects string
		change  func(*Config)
		want    mounted
	}{
		"the name is the file": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret"}),
			want:    mounted{Files: []string{"db 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"alias, with a folder": {
			objects: objectsOf([]string{"objectName: db", "objectAlias: conf/db.txt", "objectType: secret"}),
			want:    mounted{Files: []string{"conf/db.txt 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"version": {
			objects: objectsOf([]string{"objectName: db", "objectVersion: v3", "objectType: secret"}),
			want:    mounted{Files: []string{"db 0644 three"}, Objects: []string{"secret/db v3"}},
		},
		"latest": {
			objects: objectsOf([]string{"objectName: db", "objectVersion: latest", "objectType: secret"}),
			want:    mounted{Files: []string{"db 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"mode": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", `filePermission: "0400"`}),
			want:    mounted{Files: []string{"db 0400 five"}, Objects: []string{"secret/db v5"}},
		},
		"one object for two files": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret"}, []string{"objectName: db", "objectAlias: b", "objectType: secret"}),
			want:    mounted{Files: []string{"db 0644 five", "b 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"history": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "objectVersionHistory: 3"}),
			want: mounted{
				Files:   []string{"db/0 0644 five", "db/1 0644 four", "db/2 0644 three"},
				Objects: []string{"secret/db/0 v5", "secret/db/1 v4", "secret/db/2 v3"},
			},
		},
		"history of 1 is one file": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "objectVersionHistory: 1"}),
			want:    mounted{Files: []string{"db 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"history from a version, without the disabled one": {
			objects: objectsOf([]string{"objectName: db", "objectAlias: d", "objectType: secret", "objectVersionHistory: 2", "objectVersion: v3"}),
			want:    mounted{Files: []string{"d/0 0644 three", "d/1 0644 one"}, Objects: []string{"secret/db/0 v3", "secret/db/1 v1"}},
		},
		"history of more than there is": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "objectVersionHistory: 2147483647", "objectVersion: v3"}),
			want:    mounted{Files: []string{"db/0 0644 three", "db/1 0644 one"}, Objects: []string{"secret/db/0 v3", "secret/db/1 v1"}},
		},
		"history plus one": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "objectVersionHistory: 2", "objectVersion: latest"}),
			change:  func(c *Config) { c.HistoryPlusOne = true },
			want: mounted{
				Files:   []string{"db/0 0644 five", "db/1 0644 four", "db/2 0644 three"},
				Objects: []string{"secret/db/0 v5", "secret/db/1 v4", "secret/db/2 v3"},
			},
		},
		"encodings": {
			objects: objectsOf([]string{"objectName: hex", "objectType: secret", "objectEncoding: HEX"},
				[]string{"objectName: base64", "objectType: secret", "objectEncoding: base64"},
				[]string{"objectName: text", "objectType: secret", "objectEncoding: utf-8"}),
			want: mounted{
				Files:   []string{"hex 0644 \x00\xff\x10", "base64 0644 \x00\x01\x02\xff", "text 0644  as is\n"},
				Objects: []string{"secret/hex h1", "secret/base64 b1", "secret/text t1"},
			},
		},
		"pfx of a secret without a certificate is the secret": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "objectFormat: PFX"}),
			want:    mounted{Files: []string{"db 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"separate files are for certificates": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret"}),
			change:  func(c *Config) { c.SeparateFiles = true },
			want:    mounted{Files: []string{"db 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"an ordinary list": {
			objects: "- objectName: db\n  objectType: secret\n- {objectName: text, objectType: secret, filePermission: 0440}\n",
			want:    mounted{Files: []string{"db 0644 five", "text 0440  as is\n"}, Objects: []string{"secret/db v5", "secret/text t1"}},
		},
		"an ordinary list under array": {
			objects: "array:\n- objectName: db\n  objectType: secret\n",
			want:    mounted{Files: []string{"db 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"another vault": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret"},
				[]string{"objectName: db", "objectAlias: other", "objectType: secret", "keyvaultName: kv-other"}),
			want: mounted{Files: []string{"db 0644 five", "other 0644 elsewhere"}, Objects: []string{"secret/db v5", "kv-other/secret/db x1"}},
		},
		"the class's vault named again": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "keyvaultName: " + classVault}),
			want:    mounted{Files: []string{"db 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"optional and there": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "optional: true"}),
			want:    mounted{Files: []string{"db 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"optional and missing or disabled": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret"}, []string{"objectName: nil", "objectType: secret", "optional: true"},
				[]string{"objectName: nil", "objectAlias: again", "objectType: secret", "optional: true"},
				[]string{"objectName: off", "objectType: secret", "optional: true"}, []string{"objectName: off", "objectAlias: h", "objectType: secret", "optional: true", "objectVersionHistory: 2"}),
			want: mounted{Files: []string{"db 0644 five"}, Objects: []string{"secret/db v5"}, Notices: []string{
				`ObjectOptionalMissing an optional object is left out: ObjectDisabled: objects index 4, line 20: secret "off" in kv-platform-prod has no version that is enabled; enable one`,
				`ObjectOptionalMissing an optional object is left out: ObjectNotFound: secret "nil" is not in kv-platform-prod; create it`,
				`ObjectOptionalMissing an optional object is left out: ObjectDisabled: secret "off" in kv-platform-prod is disabled; enable it`,
			}},
		},
		"all optional and missing": {
			objects: objectsOf([]string{"objectName: nil", "objectType: secret", "optional: true"}, []string{"namePrefix: nil", "objectType: secret", "optional: true"}),
			want: mounted{Notices: []string{
				`ObjectOptionalMissing an optional object is left out: ObjectNotFound: objects index 1, line 6: no enabled secret in kv-platform-prod is selected by namePrefix, namePattern or tags; correct it, or enable one`,
				`ObjectOptionalMissing an optional object is left out: ObjectNotFound: secret "nil" is not in kv-platform-prod; create it`,
			}},
		},
		"prefix": {
			objects: objectsOf([]string{"namePrefix: web-", "objectType: secret", `filePermission: "0440"`}),
			want: mounted{
				Files:   []string{"web-a 0440 A", "web-c 0440 C", "web-d 0440 D"},
				Objects: []string{"secret/web-a wa", "secret/web-c wc", "secret/web-d wd"},
			},
		},
		"pattern matches whole names": {
			objects: objectsOf([]string{"namePattern: d|eb-[a-z]|web-[ac]", "objectType: secret", "objectAlias: web/{name}.txt"}),
			want:    mounted{Files: []string{"web/web-a.txt 0644 A", "web/web-c.txt 0644 C"}, Objects: []string{"secret/web-a wa", "secret/web-c wc"}},
		},
		"tags in text": {
			objects: objectsOf([]string{`tags: "env=prod, team=shop"`, "objectType: secret"}),
			want:    mounted{Files: []string{"web-a 0644 A", "web-c 0644 C"}, Objects: []string{"secret/web-a wa", "secret/web-c wc"}},
		},
		"tags in a mapping, with a prefix": {
			objects: "- objectType: secret\n  namePrefix: web-\n  tags:\n    env: test\n    team: shop\n",
			want:    mounted{Files: []string{"web-d 0644 D"}, Objects: []string{"secret/web-d wd"}},
		},
		"{name} means nothing for one object": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "objectAlias: '{name}'"}),
			want:    mounted{Files: []string{"{name} 0644 five"}, Objects: []string{"secret/db v5"}},
		},
		"properties": {
			objects: objectsOf([]string{"objectName: json", "objectAlias: user", "objectType: secret", "property: user"},
				[]string{"objectName: json", "objectAlias: port", "objectType: secret", "property: port"},
				[]string{"objectName: json", "objectAlias: none", "objectType: secret", "property: none"},
				[]string{"objectName: json", "objectAlias: host", "objectType: secret", "property: hosts.1.name"},
				[]string{"objectName: json", "objectAlias: first", "objectType: secret", "property: hosts.0"},
				[]string{"objectName: json", "objectAlias: dot", "objectType: secret", `property: a\.b`},
				[]string{"objectName: json", "objectAlias: blob", "objectType: secret", "property: blob", "objectEncoding: base64"}),
			want: mounted{
				Files: []string{
					`user 0644 ann "a"`, "port 0644 5432", "none 0644 null", "host 0644 b", `first 0644 {"name":"a"}`, "dot 0644 dot",
					"blob 0644 \x00\x01\x02\xff",
				},
				Objects: []string{"secret/json j1"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			change := tc.change
			if change == nil {
				change = func(*Config) {}
			}
			got, _, err := mount(t, shopVault(), tc.objects, change)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestClassInErrorOut(t *testing.T) {
	for name, tc := range map[string]struct {
		objects string
		change  func(*Config)
		reason  reason.Reason
		says    string
	}{
		"missing":  {objects: objectsOf([]string{"objectName: nil", "objectType: secret"}), reason: reason.ObjectNotFound, says: `secret "nil"`},
		"disabled": {objects: objectsOf([]string{"objectName: off", "objectType: secret"}), reason: reason.ObjectDisabled, says: `secret "off"`},
		"history from a disabled version": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "objectVersionHistory: 2", "objectVersion: v2"}),
			reason:  reason.ObjectDisabled, says: `objects index 0, line 2: secret "db" in kv-platform-prod version v2 is disabled`,
		},
		"history from an unknown version": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "objectVersionHistory: 2", "objectVersion: v9"}),
			reason:  reason.ObjectNotFound, says: "has no version v9",
		},
		"history of what is disabled": {
			objects: objectsOf([]string{"objectName: off", "objectType: secret", "objectVersionHistory: 2"}),
			reason:  reason.ObjectDisabled, says: "has no version that is enabled",
		},
		"history of what is missing": {
			objects: objectsOf([]string{"objectName: nil", "objectType: secret", "objectVersionHistory: 2"}),
			reason:  reason.ObjectNotFound, says: `secret "nil"`,
		},
		"not hex": {
			objects: objectsOf([]string{"objectName: off", "objectType: secret", "objectVersion: o2", "objectEncoding: hex"}),
			reason:  reason.ObjectContentInvalid, says: `objects index 0, line 2: secret "off" in kv-platform-prod: objectEncoding hex: the content of file "off" is not hex`,
		},
		"not base64": {
			objects: objectsOf([]string{"objectName: off", "objectType: secret", "objectVersion: o2", "objectEncoding: base64"}),
			reason:  reason.ObjectContentInvalid, says: "objectEncoding base64",
		},
		"not JSON": {
			objects: objectsOf([]string{"objectName: off", "objectType: secret", "objectVersion: o2", "property: a"}),
			reason:  reason.ObjectContentInvalid, says: `property "a": the value is not JSON`,
		},
		"no such property": {
			objects: objectsOf([]string{"objectName: secretive", "objectType: secret", "property: a"}),
			reason:  reason.ObjectContentInvalid, says: `property "a": the path is not in the value`,
		},
		"caAlias without a certificate": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "caAlias: ca.crt"}),
			reason:  reason.ObjectContentInvalid, says: "it belongs to no certificate",
		},
		"nothing selected": {
			objects: objectsOf([]string{"namePrefix: nil", "objectType: secret"}),
			reason:  reason.ObjectNotFound, says: "objects index 0, line 2: no enabled secret in kv-platform-prod is selected",
		},
		"too much selected": {
			objects: objectsOf([]string{"namePrefix: many-", "objectType: secret"}),
			reason:  reason.ObjectsInvalid, says: "501 objects in kv-platform-prod are selected, more than 500",
		},
		"selected on another's file": {
			objects: objectsOf([]string{"namePrefix: web-", "objectType: secret"}, []string{"objectName: db", "objectType: secret", "objectAlias: web-c"}),
			reason:  reason.ObjectsInvalid, says: `file name "web-c" is already that of index 0`,
		},
		"selected where a folder is": {
			objects: objectsOf([]string{"namePrefix: web-", "objectType: secret"}, []string{"objectName: db", "objectType: secret", "objectAlias: web-c/db"}),
			reason:  reason.ObjectsInvalid, says: `file name "web-c/db" needs a directory where index 0 has a file`,
		},
		"history plus one on another's file": {
			objects: objectsOf([]string{"objectName: db", "objectType: secret", "objectVersionHistory: 2"}, []string{"objectName: text", "objectType: secret", "objectAlias: db/2"}),
			change:  func(c *Config) { c.HistoryPlusOne = true },
			reason:  reason.ObjectsInvalid, says: `file name "db/2" is already that of index 0`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			vault := shopVault()
			vault.objects = append(vault.objects, secretOf("off", "o2", canary), secretOf("secretive", "s1", `{"`+canary+`":1}`))
			if name == "disabled" || name == "history of what is disabled" {
				vault = shopVault()
			}
			for i := range maxMatches + 1 {
				vault.objects = append(vault.objects, secretOf(fmt.Sprintf("many-%d", i), "m", "x"))
			}
			change := tc.change
			if change == nil {
				change = func(*Config) {}
			}
			_, _, err := mount(t, vault, tc.objects, change)
			if reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v, want %s %q", err, tc.reason.Name, tc.says)
			}
			if strings.Contains(err.Error(), canary) {
				t.Fatalf("the error holds content: %v", err)
			}
		})
	}
}

// One listing serves all selectors of a vault and type, and one more each history; files of one object are one item each, which
// the reader of the vault reads once.
func TestListingsAreAskedForOnce(t *testing.T) {
	vault := shopVault()
	_, _, err := mount(t, vault, objectsOf([]string{"namePrefix: web-a", "objectType: secret"}, []string{"tags: env=test", "objectType: secret"},
		[]string{"objectName: db", "objectType: secret", "objectVersionHistory: 2"}, []string{"objectName: db", "objectAlias: x", "objectType: secret", "objectVersionHistory: 3", "objectVersion: v3"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(vault.listings) != 2 || len(vault.fetched) != 6 {
		t.Fatalf("listings %v, fetched %v", vault.listings, vault.fetched)
	}
}

// failingLists is a vault whose listings fail.
type failingLists struct {
	fetch
	list func() error
}

func (f failingLists) List(context.Context, keyvault.TokenSource, string, string) ([]keyvault.Listed, error) {
	return nil, f.list()
}

// A failed listing fails the mount, of an optional entry too unless it says that the object is not there, and never the process.
func TestListingsThatFail(t *testing.T) {
	objects := objectsOf([]string{"namePrefix: a", "objectType: secret", "optional: true"})
	for name, tc := range map[string]struct {
		list   func() error
		reason string
	}{
		"forbidden": {func() error { return reason.New(reason.VaultForbidden, "grant it", "no") }, reason.VaultForbidden.Name},
		"a panic":   {func() error { panic(canary) }, reason.Unexpected.Name},
		"no reason": {func() error { return errors.New("broken") }, reason.Unexpected.Name},
		"not there": {func() error { return reason.New(reason.ObjectNotFound, "", "nothing") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := mount(t, failingLists{fetch(everything), tc.list}, objects)
			if reason.Of(err) != tc.reason || err != nil && strings.Contains(err.Error(), canary) {
				t.Fatalf("got %v, want %q", err, tc.reason)
			}
		})
	}
}
