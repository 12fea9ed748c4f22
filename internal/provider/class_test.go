// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"encoding/json"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/reason"
)

const validObjects = "array:\n  - |\n    objectName: db\n    objectType: secret\n"

// validAttributes is a class in which nothing is wrong; tests break one thing in it.
func validAttributes() map[string]string {
	return map[string]string{
		classNameKey: "app-kv", podNameKey: "web", podNamespaceKey: "payments", serviceAccountKey: "app-sa",
		"keyvaultName": " kv-platform-prod ", "tenantId": "ffffffff-1111-2222-3333-444444444444",
		"clientID": "00001111-aaaa-2222-bbbb-3333cccc4444", "usePodIdentity": "false", "cloudName": "", "objects": validObjects,
	}
}

func TestValidClass(t *testing.T) {
	c, err := parseClass(validAttributes(), nil, &clouds{fallback: "AzurePublicCloud"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.vault != "kv-platform-prod" || len(c.objects) != 1 || c.objects[0].path != "db" || c.objects[0].item.Name != "db" {
		t.Fatalf("%+v", c)
	}
}

func TestRefusedParameters(t *testing.T) {
	for name, tc := range map[string]struct {
		key, value string
		reason     reason.Reason
		want       string
	}{
		"no pod name":         {podNameKey, "", reason.ParameterInvalid, "pod name is not provided"},
		"no namespace":        {podNamespaceKey, "", reason.ParameterInvalid, "pod namespace is not provided"},
		"no vault":            {"keyvaultName", " ", reason.ParameterInvalid, "keyvaultName is not provided"},
		"short vault":         {"keyvaultName", "kv", reason.VaultNameInvalid, "must be between 3 and 24 chars"},
		"vault with a domain": {"keyvaultName", "kv.vault.azure.net", reason.VaultNameInvalid, "must match [-a-zA-Z0-9]{3,24}"},
		"no tenant":           {"tenantId", "", reason.ParameterInvalid, "tenantId is not provided"},
		"odd tenant":          {"tenantId", "a/b", reason.ParameterInvalid, "tenantID"},
		"no client":           {"clientID", "", reason.ParameterInvalid, "clientID is not provided"},
		"client is a name":    {"clientID", "my-app", reason.ParameterInvalid, "which is a UUID"},
		"pod identity":        {"usePodIdentity", "true", reason.ParameterInvalid, "replaced by workload identity"},
		"odd flag":            {"usePodIdentity", "maybe", reason.ParameterInvalid, "failed to parse usePodIdentity flag, error:"},
		"unknown cloud":       {"cloudName", "AzurePublcCloud", reason.ParameterInvalid, "AzurePublicCloud"},
		"no objects":          {"objects", "", reason.ObjectsInvalid, "objects is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			attributes := validAttributes()
			attributes[tc.key] = tc.value
			_, err := parseClass(attributes, nil, &clouds{fallback: "AzurePublicCloud"}, nil)
			if reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want %s %q", err, tc.reason.Name, tc.want)
			}
		})
	}
}

func TestAllProblemsOfAClassAreSaidAtOnce(t *testing.T) {
	attributes := validAttributes()
	delete(attributes, "keyvaultName")
	delete(attributes, "tenantId")
	attributes["objects"] = "array:\n  - |\n    objectName: db\n    objectType: secrte\n"
	_, err := parseClass(attributes, nil, &clouds{fallback: "AzurePublicCloud"}, nil)
	for _, want := range []string{"keyvaultName", "tenantId", "secrte"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%v does not mention %s", err, want)
		}
	}
}

// entryOf is an objects parameter with one entry.
func entryOf(lines ...string) string {
	return "array:\n  - |\n    " + strings.Join(lines, "\n    ") + "\n"
}

func TestRefusedObjects(t *testing.T) {
	for name, tc := range map[string]struct{ objects, want string }{
		"not YAML":          {"array:\n  - |\n    objectName: \"a\n", "line"},
		"no array":          {"objects: []\n", `no list "array"`},
		"misspelt array":    {"aray:\n  - |\n    objectName: a\n", "aray"},
		"empty array":       {"array: []\n", "objects has no entry"},
		"array is a string": {"array: x\n", "should be a list"},
		"unknown type":      {entryOf("objectName: a", "objectType: secrets"), "secrets"},
		"no name":           {entryOf("objectType: secret"), "index 0"},
		"absolute alias":    {entryOf("objectName: a", "objectType: secret", "objectAlias: /etc/x"), "file name must be a relative path"},
		"escaping alias":    {entryOf("objectName: a", "objectType: secret", "objectAlias: ../x"), "file name must not contain '..'"},
		"bad mode":          {entryOf("objectName: a", "objectType: secret", "filePermission: rw"), "filePermission"},
		"history":           {entryOf("objectName: a", "objectType: secret", "objectVersionHistory: many"), "objectVersionHistory"},
		"twice the same file": {
			entryOf("objectName: a", "objectType: secret") + "  - |\n    objectName: b\n    objectType: secret\n    objectAlias: a\n",
			"already that of index 0",
		},
		"file and folder": {
			entryOf("objectName: a", "objectType: secret") + "  - |\n    objectName: b\n    objectType: secret\n    objectAlias: a/b\n",
			"needs a directory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			attributes := validAttributes()
			attributes["objects"] = tc.objects
			_, err := parseClass(attributes, nil, &clouds{fallback: "AzurePublicCloud"}, nil)
			if reason.Of(err) != reason.ObjectsInvalid.Name || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestObjectFields(t *testing.T) {
	var found problems
	got := parseObjects(parameters{objectsKey: entryOf("objectName: db ", "objectType: secret", "objectAlias: app/db.txt", "objectVersion: latest", `filePermission: "0400"`)}, &found)
	if err := found.err(); err != nil {
		t.Fatal(err)
	}
	mode := fs.FileMode(0o400)
	if len(got) != 1 || got[0].path != "app/db.txt" || got[0].item.Name != "db" || got[0].item.Version != "" {
		t.Fatalf("%+v", got)
	}
	if diff := cmp.Diff(&mode, got[0].mode); diff != "" {
		t.Fatal(diff)
	}
}

// Whatever the parameter holds, an object that comes out has a path that stays in the volume, and a problem has one line.
func FuzzParseObjects(f *testing.F) {
	for _, seed := range []string{
		validObjects, "array: []", "array:\n- objectName: a\n  objectType: secret", "array:\n  - |\n    objectName: ../a", "&a [*a]", "array: {}",
		"array: [&a {x1: , x2: , objectName: a}, *a, *a, *a]", "array: [&a \"[b,\\n\\n\\n\", *a, *a]", "array: [{a,b,[],{},? c,'d',\"e\": f}]",
		"- ? a\n- ? \n- - -\n- - ? - ?\n", "- &t {objectType: secret}\n- {<<: *t, tags: &b {a: *t, c: b}}\n- {tags: *b}\n", "[a,\nb,\nc\n\n",
		"- {namePattern: '(a{9}){99}', objectType: secret}\n- {namePattern: '(', objectType: secret}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var document yaml.Node
		if yaml.Unmarshal([]byte(text), &document) == nil && nodes(&document) > 2*marks(text)+3 {
			t.Fatalf("%d marks became %d values", marks(text), nodes(&document))
		}
		var found problems
		objects := parseObjects(parameters{objectsKey: text}, &found)
		if len(found.list) > maxProblems || len(found.ignored) > maxProblems {
			t.Fatalf("%d problems, %d ignored names", len(found.list), len(found.ignored))
		}
		err := found.err()
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("more than one line: %q", err)
		}
		if err != nil {
			return
		}
		for _, o := range objects {
			if o.path == "" || path.IsAbs(o.path) || strings.Contains(o.path, "..") {
				t.Fatalf("path %q was accepted", o.path)
			}
		}
	})
}

func FuzzAttributes(f *testing.F) {
	valid, err := json.Marshal(validAttributes())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(valid))
	f.Add(`{"keyvaultName":"\u0000"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var attributes map[string]string
		if json.Unmarshal([]byte(text), &attributes) != nil {
			return
		}
		if _, err := parseClass(attributes, nil, &clouds{fallback: "AzurePublicCloud"}, nil); err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("more than one line: %q", err)
		}
	})
}
