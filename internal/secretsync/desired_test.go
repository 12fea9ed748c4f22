// SPDX-License-Identifier: Apache-2.0

package secretsync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

func files(paths ...string) []secret.File {
	var list []secret.File
	for _, path := range paths {
		list = append(list, file(path, "content of "+path))
	}
	return list
}

func data(pairs ...string) []*v1.SecretObjectData {
	var list []*v1.SecretObjectData
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, &v1.SecretObjectData{Key: pairs[i], ObjectName: pairs[i+1]})
	}
	return list
}

func revealed(s secretsync.Secret) map[string]string {
	plain := map[string]string{}
	for key, value := range s.Data {
		plain[key] = string(value.Reveal())
	}
	return plain
}

func TestDesired(t *testing.T) {
	c := class()
	c.Spec.SecretObjects = []*v1.SecretObject{
		{
			SecretName: " db ", Type: " Opaque\n", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"Example.com/c": "any text\n"},
			Data: data(" user ", " user ", "password", "db/password"),
		},
		{SecretName: "other", Type: "example.com/any", Data: data(".hidden", "user")},
	}
	secrets, problems := secretsync.Desired(c, files("user", "db/password", "unused"))
	if len(problems) > 0 || len(secrets) != 2 {
		t.Fatalf("got %v, problems %v", secrets, problems)
	}
	if secrets[0].Name != "db" || secrets[0].Type != "Opaque" || secrets[0].Labels["a"] != "b" || secrets[0].Annotations["Example.com/c"] == "" {
		t.Errorf("got %v", secrets[0])
	}
	if diff := cmp.Diff(map[string]string{"user": "content of user", "password": "content of db/password"}, revealed(secrets[0])); diff != "" {
		t.Error(diff)
	}
	if secrets[1].Type != "example.com/any" || revealed(secrets[1])[".hidden"] != "content of user" {
		t.Errorf("got %v", secrets[1])
	}
}

func TestDesiredNamesTheProblem(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1.SecretObject)
		words  []string
	}{
		"no name":        {func(o *v1.SecretObject) { o.SecretName = " " }, []string{"secretObjects[0]: secret name is empty"}},
		"no type":        {func(o *v1.SecretObject) { o.Type = "" }, []string{`secretObjects[0] (Secret "db"): secret type is empty`, "Opaque"}},
		"no data":        {func(o *v1.SecretObject) { o.Data = nil }, []string{"data is empty"}},
		"empty entry":    {func(o *v1.SecretObject) { o.Data = []*v1.SecretObjectData{nil} }, []string{"data[0]: object name in secretObjects.data is empty"}},
		"no object name": {func(o *v1.SecretObject) { o.Data[0].ObjectName = "\t" }, []string{"data[0]: object name in secretObjects.data"}},
		"no key":         {func(o *v1.SecretObject) { o.Data[0].Key = "" }, []string{"data[0]: key in secretObjects.data is empty"}},
		"same key":       {func(o *v1.SecretObject) { o.Data = data("k", "password", " k", "user") }, []string{`data[1]: key "k" stands there twice`}},
		"odd key":        {func(o *v1.SecretObject) { o.Data[0].Key = "a/b" }, []string{`key "a/b" is not a possible key`}},
		"long key":       {func(o *v1.SecretObject) { o.Data[0].Key = strings.Repeat("k", 254) }, []string{"253"}},
		"odd name":       {func(o *v1.SecretObject) { o.SecretName = "Db_1" }, []string{"not a possible name of a Secret", "lower case"}},
		"odd label":      {func(o *v1.SecretObject) { o.Labels = map[string]string{"a": "b c"} }, []string{`label "a" is not possible`}},
		"odd annotation": {func(o *v1.SecretObject) { o.Annotations = map[string]string{"a b": ""} }, []string{`annotation "a b" is not possible`}},
		"no file": {
			func(o *v1.SecretObject) { o.Data[0].ObjectName = "certificate" },
			[]string{"file matching objectName certificate not found in the pod (it has db/host, password, user)", "parameters.objects"},
		},
		"near file":      {func(o *v1.SecretObject) { o.Data[0].ObjectName = "pasword" }, []string{`did you mean "password"?`}},
		"other case":     {func(o *v1.SecretObject) { o.Data[0].ObjectName = "Password" }, []string{`did you mean "password"?`}},
		"without folder": {func(o *v1.SecretObject) { o.Data[0].ObjectName = "host" }, []string{`the file's whole path "db/host"`}},
		"name of the vault": {
			func(o *v1.SecretObject) { o.Data[0].ObjectName = "db-password" },
			[]string{"file matching objectName db-password not found in the pod", `use the alias "password"`},
		},
		"docker without key": {func(o *v1.SecretObject) { o.Type = "kubernetes.io/dockerconfigjson" }, []string{`needs the key ".dockerconfigjson"`}},
		"docker without JSON": {
			func(o *v1.SecretObject) {
				o.Type, o.Data[0].Key = "kubernetes.io/dockerconfigjson", ".dockerconfigjson"
			},
			[]string{"no JSON object"},
		},
		"dockercfg":      {func(o *v1.SecretObject) { o.Type = "kubernetes.io/dockercfg" }, []string{`needs the key ".dockercfg"`}},
		"basic auth":     {func(o *v1.SecretObject) { o.Type, o.Data[0].Key = "kubernetes.io/basic-auth", "k" }, []string{`the key "username" or "password"`}},
		"ssh":            {func(o *v1.SecretObject) { o.Type = "kubernetes.io/ssh-auth" }, []string{`needs the key "ssh-privatekey"`}},
		"TLS key":        {func(o *v1.SecretObject) { o.Type = "kubernetes.io/tls" }, []string{"key 'password' is not supported. Only 'tls.key', 'tls.crt' and 'ca.crt' are supported"}},
		"TLS incomplete": {func(o *v1.SecretObject) { o.Type, o.Data[0].Key = "kubernetes.io/tls", "tls.crt" }, []string{`needs the key "tls.key"`}},
		"TLS no PEM": {func(o *v1.SecretObject) {
			o.Type, o.Data = "kubernetes.io/tls", data("tls.crt", "user", "tls.key", "user")
		}, []string{"file user: content is neither PEM nor PKCS#12"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := class()
			c.Spec.Parameters = map[string]string{"objects": "array:\n  - |\n    objectName: db-password\n    objectType: secret\n    objectAlias: password\n"}
			mounted := files("password", "user", "db/host")
			if _, problems := secretsync.Desired(c, mounted); len(problems) > 0 {
				t.Fatalf("the valid case has problems: %v", problems)
			}
			tc.change(c.Spec.SecretObjects[0])
			secrets, problems := secretsync.Desired(c, mounted)
			if len(secrets) != 0 || len(problems) != 1 || problems[0].Reason != reason.SecretObjectInvalid {
				t.Fatalf("got %v, problems %v", secrets, problems)
			}
			for _, word := range tc.words {
				if !strings.Contains(problems[0].Error(), word) {
					t.Errorf("%q does not say %q", problems[0], word)
				}
			}
			if strings.Contains(problems[0].Error(), "content of") {
				t.Errorf("%q tells content", problems[0])
			}
		})
	}
}

func TestTypesThatAreRight(t *testing.T) {
	for _, tc := range []struct {
		kind corev1.SecretType
		key  string
		text string
	}{
		{corev1.SecretTypeDockerConfigJson, ".dockerconfigjson", `{"auths":{}}`},
		{corev1.SecretTypeDockercfg, ".dockercfg", `{}`},
		{corev1.SecretTypeBasicAuth, "username", "sa"},
		{corev1.SecretTypeBasicAuth, "password", "x"},
		{corev1.SecretTypeSSHAuth, "ssh-privatekey", "key"},
		{corev1.SecretTypeServiceAccountToken, "token", "t"},
		{"bootstrap.kubernetes.io/token", "token-id", "t"},
	} {
		c := class()
		c.Spec.SecretObjects[0].Type, c.Spec.SecretObjects[0].Data = string(tc.kind), data(tc.key, "f")
		if secrets, problems := secretsync.Desired(c, []secret.File{file("f", tc.text)}); len(problems) > 0 || revealed(secrets[0])[tc.key] != tc.text {
			t.Errorf("%s: %v", tc.kind, problems)
		}
	}
	c := class()
	c.Spec.SecretObjects[0].Type, c.Spec.SecretObjects[0].Data = "kubernetes.io/ssh-auth", data("ssh-privatekey", "f")
	if _, problems := secretsync.Desired(c, []secret.File{file("f", "")}); len(problems) != 1 {
		t.Error("an empty ssh key is taken")
	}
}

func TestSameSecretNameTwice(t *testing.T) {
	c := class()
	c.Spec.SecretObjects = []*v1.SecretObject{nil, c.Spec.SecretObjects[0], c.Spec.SecretObjects[0]}
	secrets, problems := secretsync.Desired(c, files("password"))
	if len(secrets) != 1 || len(problems) != 2 || !strings.Contains(problems[1].Error(), "secretObjects[1] has the same secretName") {
		t.Fatalf("got %v, problems %v", secrets, problems)
	}
}

func TestTooLarge(t *testing.T) {
	c := class()
	c.Spec.SecretObjects[0].Data = data("big", "folder/big", "small", "small")
	mounted := []secret.File{file("folder/big", strings.Repeat("x", 1<<20-4)), file("small", "1234")}
	if _, problems := secretsync.Desired(c, mounted); len(problems) > 0 {
		t.Fatalf("1 MiB is refused: %v", problems)
	}
	mounted[1] = file("small", "12345")
	_, problems := secretsync.Desired(c, mounted)
	if len(problems) != 1 || problems[0].Reason != reason.SecretTooLarge ||
		!strings.Contains(problems[0].Error(), "1048577 bytes are more than the 1048576 that a Secret can hold: big from file folder/big has 1048572, small from file small has 5") {
		t.Fatalf("got %v", problems)
	}
}

func TestManyFilesAreNotAllListed(t *testing.T) {
	var paths []string
	for i := range 14 {
		paths = append(paths, fmt.Sprintf("file-%02d", i))
	}
	_, problems := secretsync.Desired(class(), files(paths...))
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "file-09 and 4 more)") {
		t.Fatalf("got %v", problems)
	}
	if _, problems = secretsync.Desired(class(), nil); len(problems) != 1 || !strings.Contains(problems[0].Error(), "(it has no files)") {
		t.Fatalf("got %v", problems)
	}
}

// The form of parameters.objects is each provider's own.
func TestAliasIsFoundInAnyFormOfObjects(t *testing.T) {
	for name, objects := range map[string]string{
		"array of strings": "array:\n- |\n  objectName: wanted\n  objectAlias: password\n",
		"list":             "- objectName: other\n  objectAlias: x\n- objectName: wanted\n  objectAlias: password\n",
		"JSON":             `{"array":["{\"objectName\":\"wanted\",\"objectAlias\":\"password\"}"]}`,
		"deep":             "secrets:\n  group:\n    - {objectAlias: password, objectName: wanted}\n",
		"vault in letters": "- objectName: WANTED\n  objectAlias: password\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := class()
			c.Spec.Parameters = map[string]string{"objects": objects}
			c.Spec.SecretObjects[0].Data[0].ObjectName = "wanted"
			_, problems := secretsync.Desired(c, files("password"))
			if len(problems) != 1 || !strings.Contains(problems[0].Error(), `use the alias "password"`) {
				t.Fatalf("got %v", problems)
			}
		})
	}
}

func FuzzDesired(f *testing.F) {
	f.Add("array:\n- |\n  objectName: wanted\n  objectAlias: password\n", "wanted", "k", "Opaque", "content")
	f.Add("a: &a [*a, *a]", "password", "tls.crt", "kubernetes.io/tls", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
	f.Add("- - - - - - - - objectAlias", "", "..", "kubernetes.io/dockerconfigjson", "{")
	f.Add("? objectAlias\n: {objectName: [x]}", "PASSWORD", "k", "kubernetes.io/ssh-auth", "")
	f.Add("objectName: |2\n objectAlias: |\n  objectName: x", "x", ".dockercfg", "kubernetes.io/dockercfg", "null")
	f.Fuzz(func(t *testing.T, objects, objectName, key, kind, content string) {
		c := class()
		c.Spec.Parameters = map[string]string{"objects": objects}
		c.Spec.SecretObjects[0].Type, c.Spec.SecretObjects[0].Data = kind, data(key, objectName)
		const canary = "c4n4ry"
		secrets, problems := secretsync.Desired(c, []secret.File{file("password", content+canary), file("tls.key", canary)})
		if len(secrets)+len(problems) != 1 {
			t.Fatalf("%d Secrets and %d problems of one entry", len(secrets), len(problems))
		}
		input := objects + objectName + key + kind
		if len(problems) == 1 && !strings.Contains(input, canary) && strings.Contains(problems[0].Error(), canary) {
			t.Fatalf("%q tells content", problems[0])
		}
		if len(secrets) == 1 && !slices.Equal([]byte(content+canary), secrets[0].Data[strings.TrimSpace(key)].Reveal()) &&
			string(secrets[0].Data[strings.TrimSpace(key)].Reveal()) != canary {
			t.Fatal("content changed on its way")
		}
	})
}
