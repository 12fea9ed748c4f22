// SPDX-License-Identifier: Apache-2.0

package secretsync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/secret"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

func foreseen(paths ...string) []secretsync.Foreseen {
	list := []secretsync.Foreseen{}
	for _, path := range paths {
		list = append(list, secretsync.Foreseen{Path: path})
	}
	return list
}

func fields(problems []secretsync.Problem) []string {
	var list []string
	for _, p := range problems {
		list = append(list, p.Field)
	}
	return list
}

// All problems are found at once, each with its field.
func TestCheckFindsEverything(t *testing.T) {
	c := class()
	c.Spec.SecretObjects = []*v1.SecretObject{
		{SecretName: "ok", Type: "Opaque", Data: data("user", "user")},
		{SecretName: "Db", Type: "kubernetes.io/tls", Labels: map[string]string{"a": "b c"}, Data: data("tls.crt", "absent", "x", "user", "tls.crt", "")},
		nil,
		{SecretName: "ok", Type: "Opaque", Data: data("user", "absent")},
		{SecretName: "docker", Type: "kubernetes.io/dockerconfigjson", Data: data("config", "user")},
		{SecretName: "basic", Type: "kubernetes.io/basic-auth", Data: data("user", "user")},
	}
	want := []string{
		"spec.secretObjects[1].secretName", "spec.secretObjects[1].labels", "spec.secretObjects[1].data[0].objectName",
		"spec.secretObjects[1].data[2].objectName", "spec.secretObjects[1].data[2].key", "spec.secretObjects[1].data[1].key", "spec.secretObjects[1].data",
		"spec.secretObjects[2].secretName", "spec.secretObjects[2].type", "spec.secretObjects[2].data",
		"spec.secretObjects[3].secretName", "spec.secretObjects[4].data", "spec.secretObjects[5].data",
	}
	if diff := cmp.Diff(want, fields(secretsync.Check(c, foreseen("user")))); diff != "" {
		t.Fatal(diff)
	}
}

func TestCheckWithoutKnownFiles(t *testing.T) {
	c := class()
	c.Spec.SecretObjects[0].Data[0].ObjectName = "anything"
	if problems := secretsync.Check(c, nil); len(problems) > 0 {
		t.Fatalf("unknown files: %v", problems)
	}
	if problems := secretsync.Check(c, foreseen()); len(problems) != 1 || !strings.Contains(problems[0].Err.Error(), "it has no files") {
		t.Fatalf("no files: %v", problems)
	}
	template := []secretsync.Foreseen{{Path: "db/{name}", Matches: func(path string) bool { return strings.HasPrefix(path, "db/") }}}
	for path, accepted := range map[string]bool{"db/anything": true, "anything": false} {
		c.Spec.SecretObjects[0].Data[0].ObjectName = path
		if problems := secretsync.Check(c, template); len(problems) == 0 != accepted {
			t.Fatalf("%s: %v", path, problems)
		}
	}
}

// What Check says of a file before there is one, the event on the pod says when it is there: the same error.
func TestCheckSaysWhatTheEventWillSay(t *testing.T) {
	leaf := issue(t, "leaf.test", nil)
	mounted := []secret.File{
		file("password", "x"), file("bundle", string(slices.Concat(leaf.keyPEM, leaf.crt))), file("cert", string(leaf.crt)), file("key", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"),
	}
	known := []secretsync.Foreseen{{Path: "password"}, {Path: "bundle"}, {Path: "cert", NoKey: true}, {Path: "key", NoKey: true, NoCertificate: true}}
	for name, object := range map[string]*v1.SecretObject{
		"right":           {SecretName: "a", Type: "kubernetes.io/tls", Data: data("tls.crt", "bundle", "tls.key", "bundle")},
		"certificate":     {SecretName: "a", Type: "kubernetes.io/tls", Data: data("tls.crt", "cert", "tls.key", "cert")},
		"public key":      {SecretName: "a", Type: "kubernetes.io/tls", Data: data("tls.crt", "key", "tls.key", "bundle")},
		"no private key":  {SecretName: "a", Type: "kubernetes.io/tls", Data: data("tls.crt", "bundle", "tls.key", "key")},
		"without tls.key": {SecretName: "a", Type: "kubernetes.io/tls", Data: data("tls.crt", "bundle")},
		"no such file":    {SecretName: "a", Type: "Opaque", Data: data("a", "pasword")},
		"alias":           {SecretName: "a", Type: "Opaque", Data: data("a", "db-password")},
		"no name":         {Type: "Opaque", Data: data("a", "password")},
	} {
		t.Run(name, func(t *testing.T) {
			c := class()
			c.Spec.Parameters = map[string]string{"objects": "array:\n  - |\n    objectName: db-password\n    objectType: secret\n    objectAlias: password\n"}
			c.Spec.SecretObjects = []*v1.SecretObject{object}
			_, late := secretsync.Desired(c, mounted)
			early := secretsync.Check(c, known)
			if len(early) != len(late) || (name == "right") != (len(late) == 0) {
				t.Fatalf("before: %v, mounted: %v", early, late)
			}
			for i := range late {
				if early[i].Err.Error() != late[i].Error() {
					t.Errorf("before:  %v\nmounted: %v", early[i].Err, late[i])
				}
			}
		})
	}
}

// A class of the largest size has as many mistakes as fit; the answer stays short, and so does the work for it.
func TestAnswersAboutLargeClassesAreBounded(t *testing.T) {
	const size = 1 << 20
	long := strings.Repeat("x", 100_000)
	absent := func(n int) []string {
		var pairs []string
		for i := range n {
			pairs = append(pairs, fmt.Sprintf("k%d", i), fmt.Sprintf("absent%d", i))
		}
		return pairs
	}
	labels := map[string]string{}
	for i := range 10_000 {
		labels[fmt.Sprintf("a_%d_", i)] = ""
	}
	var many []*v1.SecretObject
	for range 5000 {
		many = append(many, &v1.SecretObject{SecretName: long, Type: "Opaque", Data: data("k", "absent")})
	}
	for name, objects := range map[string][]*v1.SecretObject{
		"files":      {{SecretName: "a", Type: "Opaque", Data: data(absent(5000)...)}},
		"labels":     {{SecretName: "a", Type: "Opaque", Labels: labels, Annotations: labels, Data: data("k", "user")}},
		"long names": {{SecretName: long, Type: "Opaque", Labels: map[string]string{long: ""}, Data: data(long, long, long, long)}},
		"entries":    many,
		"tls":        {{SecretName: "a", Type: "kubernetes.io/tls", Data: data(absent(5000)...)}},
	} {
		t.Run(name, func(t *testing.T) {
			c := class()
			c.Spec.SecretObjects = objects
			problems := secretsync.Check(c, foreseen("user", long))
			total := 0
			for _, p := range problems {
				total += len(p.Err.Error())
			}
			if n := len(problems); n == 0 || n > 101 || total > 200_000 {
				t.Fatalf("%d problems in %d bytes", n, total)
			}
			if last := problems[len(problems)-1]; len(problems) == 101 && (last.Field != "spec.secretObjects" || !strings.Contains(last.Err.Error(), "more mistakes in secretObjects than these 100")) {
				t.Errorf("got %+v", last)
			}
		})
	}
	// More names and files than are worth comparing before a pod mounts them.
	c := class()
	c.Spec.SecretObjects[0].Data = data(absent(5000)...)
	asked := 0
	files := slices.Repeat([]secretsync.Foreseen{{Path: "user", Matches: func(string) bool { asked++; return false }}}, 5000)
	if problems := secretsync.Check(c, files); len(problems) > 0 || asked > 0 {
		t.Fatalf("%d problems, %d comparisons", len(problems), asked)
	}
	// The objects are read once, and not at all where they are large.
	c = class()
	c.Spec.SecretObjects[0].Data = data("k", "wanted", "l", "wanted")
	alias := "- {objectName: wanted, objectAlias: user}\n"
	for objects, want := range map[string]string{alias: `use the alias "user"`, alias + strings.Repeat("#", size): "name one of these files"} {
		c.Spec.Parameters = map[string]string{"objects": objects}
		if problems := secretsync.Check(c, foreseen("user")); len(problems) != 2 || !strings.Contains(problems[1].Err.Error(), want) {
			t.Errorf("got %v", problems)
		}
	}
}
