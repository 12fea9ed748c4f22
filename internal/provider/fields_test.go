// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"path"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

func TestRefusedFields(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		says  string
	}{
		"pfx of a cert":         {[]string{"objectName: a", "objectType: cert", "objectFormat: PFX"}, "line 5: PFX format only supported for objectType: secret"},
		"pfx of a key":          {[]string{"objectName: a", "objectType: key", "objectFormat: pfx"}, "PFX format only supported for objectType: secret"},
		"jwk of a secret":       {[]string{"objectName: a", "objectType: secret", "objectFormat: jwk"}, "JWK format only supported for objectType: key"},
		"encoding of a key":     {[]string{"objectName: a", "objectType: key", "objectEncoding: utf-8"}, "line 5: objectEncoding only supported for objectType: secret"},
		"encoding of a cert":    {[]string{"objectName: a", "objectType: cert", "objectEncoding: hex"}, "objectEncoding only supported for objectType: secret"},
		"history":               {[]string{"objectName: a", "objectType: secret", "objectVersionHistory: 3000000000"}, "objectVersionHistory \"3000000000\" is not a number"},
		"version":               {[]string{"objectName: a", "objectType: secret", "objectVersion: a/b"}, `objectVersion "a/b" is not a version id`},
		"optional":              {[]string{"objectName: a", "objectType: secret", "optional: ttrue"}, `line 5: optional is "ttrue", should be true or false (did you mean true?)`},
		"short vault":           {[]string{"objectName: a", "objectType: secret", "keyvaultName: kv"}, "line 5: Invalid vault name: \"kv\", must be between 3 and 24 chars"},
		"vault with a domain":   {[]string{"objectName: a", "objectType: secret", "keyvaultName: kv.vault.azure.net"}, "must match [-a-zA-Z0-9]{3,24}"},
		"name and prefix":       {[]string{"objectName: a", "objectType: secret", "namePrefix: a"}, "line 3: objectName names one object"},
		"name and tags":         {[]string{"objectName: a", "objectType: secret", "tags: a=b"}, "objectName names one object"},
		"prefix":                {[]string{"namePrefix: a_", "objectType: secret"}, `line 3: namePrefix "a_" begins no name`},
		"pattern":               {[]string{"namePattern: 'a)(b'", "objectType: secret"}, "line 3: namePattern \"a)(b\" is not a regular expression (RE2)"},
		"pattern that quotes":   {[]string{`namePattern: '\Qa'`, "objectType: secret"}, "is not a regular expression"},
		"tags without a value":  {[]string{"tags: env", "objectType: secret"}, `tags holds "env", should be like name=value,name2=value2`},
		"tags twice":            {[]string{`tags: "a=1,a=2"`, "objectType: secret"}, `tags names "a" twice`},
		"tags in a list":        {[]string{"tags: [a]", "objectType: secret"}, "tags should be a mapping"},
		"tags of lists":         {[]string{"tags: {a: [b]}", "objectType: secret"}, `the tag "a" should have a single value`},
		"alias for all":         {[]string{"namePrefix: a", "objectType: secret", "objectAlias: file"}, `line 5: objectAlias "file" would be the same file for every object`},
		"version of many":       {[]string{"namePrefix: a", "objectType: secret", "objectVersion: v1"}, "objectVersion is one object's"},
		"history of many":       {[]string{"namePrefix: a", "objectType: secret", "objectVersionHistory: 2"}, "objectVersionHistory is one object's"},
		"caAlias of many":       {[]string{"namePrefix: a", "objectType: secret", "caAlias: ca"}, "caAlias is one file for one object"},
		"caAlias of versions":   {[]string{"objectName: a", "objectType: secret", "caAlias: ca", "objectVersionHistory: 2"}, "caAlias is one file for one object"},
		"caAlias of a cert":     {[]string{"objectName: a", "objectType: cert", "caAlias: ca"}, "caAlias only supported for objectType: secret"},
		"caAlias outside":       {[]string{"objectName: a", "objectType: secret", "caAlias: ../ca"}, "line 5: file name must not contain '..'"},
		"caAlias in the way":    {[]string{"objectName: a", "objectType: secret", "caAlias: a"}, `file name "a" is already that of index 0`},
		"property of a key":     {[]string{"objectName: a", "objectType: key", "property: b"}, "property only supported for objectType: secret"},
		"property of a pfx":     {[]string{"objectName: a", "objectType: secret", "property: b", "objectFormat: pfx"}, "property reads JSON, which objectFormat: pfx is not"},
		"property and caAlias":  {[]string{"objectName: a", "objectType: secret", "property: b", "caAlias: ca"}, "caAlias is for a certificate, property for JSON"},
		"misspelt property":     {[]string{"objectNam: a", "objectType: secret"}, `objectName is missing, file name must not be empty ("objectNam" is unknown, did you mean objectName?)`},
		"misspelt prefix":       {[]string{"nameprefix: a", "objectType: secret"}, `("nameprefix" is unknown, did you mean namePrefix?)`},
		"misspelt pattern":      {[]string{"namePatern: a", "objectType: secret"}, "did you mean namePattern?"},
		"encoding":              {[]string{"objectName: a", "objectType: secret", "objectEncoding: bas64"}, "should be hex, base64 or utf-8 (did you mean base64?)"},
		"format":                {[]string{"objectName: a", "objectType: key", "objectFormat: jwt"}, "invalid objectFormat: jwt, should be PEM or PFX (did you mean jwk?)"},
		"a list in a new field": {[]string{"objectName: a", "objectType: secret", "optional: [true]"}, "optional should be a single value"},
	} {
		t.Run(name, func(t *testing.T) {
			var found problems
			parseObjects(parameters{objectsKey: objectsOf(tc.lines)}, &found)
			err := found.err()
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want %q", err, tc.says)
			}
		})
	}
}

// The problems of one entry are all told, behind what people have always searched their events for.
func TestProblemsNameTheObject(t *testing.T) {
	var found problems
	parseObjects(parameters{objectsKey: objectsOf([]string{"objectName: db", "objectType: cert", "objectVersion: v1", "objectFormat: pfx", "objectEncoding: hex"})}, &found)
	want := "ObjectsInvalid: failed to get objectType:cert, objectName:db, objectVersion:v1: " +
		"objects index 0, line 6: PFX format only supported for objectType: secret; " +
		"objects index 0, line 7: objectEncoding only supported for objectType: secret"
	if err := found.err(); err == nil || err.Error() != want {
		t.Fatalf("got  %v\nwant %s", err, want)
	}
}

func TestPlacesOfHistories(t *testing.T) {
	history := func(name string) []string {
		return []string{"objectName: " + name, "objectType: secret", "objectVersionHistory: 3"}
	}
	file := func(alias string) []string {
		return []string{"objectName: x", "objectType: secret", "objectAlias: " + alias}
	}
	for name, tc := range map[string]struct {
		entries [][]string
		says    string // "" for a good class
	}{
		"a file in it":               {[][]string{history("a"), file("a/2")}, `index 1, line 9: file name "a/2" is already that of index 0`},
		"a file in it, first":        {[][]string{file("a/2"), history("a")}, `file name "a/2" is already that of index 0`},
		"the first file, first":      {[][]string{file("a/0"), history("a")}, `file name "a/0" is already that of index 0`},
		"a file beyond it":           {[][]string{history("a"), file("a/3")}, ""},
		"another spelling":           {[][]string{history("a"), file("a/02")}, ""},
		"a folder in its place":      {[][]string{history("a"), file("a/2/x")}, `file name "a/2/x" needs a directory where index 0 has a file`},
		"a file in its place":        {[][]string{history("a"), file("a")}, `file name "a/0" needs a directory where index 1 has a file`},
		"twice":                      {[][]string{history("a"), history("a")}, `file name "a/0" is already that of index 0`},
		"in another history's place": {[][]string{history("a"), append(file("a/1"), "objectVersionHistory: 2")}, `needs a directory where index 0 has a file`},
	} {
		t.Run(name, func(t *testing.T) {
			var found problems
			parseObjects(parameters{objectsKey: objectsOf(tc.entries...)}, &found)
			switch err := found.err(); {
			case tc.says == "" && err != nil:
				t.Fatal(err)
			case tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)):
				t.Fatalf("got %v, want %q", err, tc.says)
			}
		})
	}
}

func TestFieldsThatMeanNothingAreLogged(t *testing.T) {
	r := start(t, fetch(everything))
	call := validCall()
	call.attributes["objects"] = objectsOf([]string{"objectName: a", "objectType: secret", "objectalias: b", "whatever: 1"})
	if _, err := r.client.Mount(t.Context(), call.request()); err != nil {
		t.Fatal(err)
	}
	if log := r.log.String(); !strings.Contains(log, `objects index 0, line 5: \"objectalias\" is unknown and has no effect (did you mean objectAlias?); objects index 0, line 6: \"whatever\" is`) {
		t.Fatalf("the log says %s", log)
	}
}

// Whatever an entry holds, what comes out can be read and written: names that a vault can have, paths that stay in the volume.
func FuzzEntry(f *testing.F) {
	for _, seed := range []string{
		"objectName: a\nobjectType: secret\n", "{objectName: a, objectType: key, objectFormat: jwk}",
		"namePrefix: a\nnamePattern: a.*\ntags: {a: b}\nobjectType: secret\nobjectAlias: x/{name}.txt\noptional: true\n",
		"objectName: a\nobjectType: secret\nproperty: a.b\nobjectEncoding: base64\nkeyvaultName: kv-other\nfilePermission: 0400",
		"objectName: a\nobjectType: secret\ncaAlias: ca.crt\nobjectVersionHistory: 1\nobjectVersion: latest",
		"tags: \"a=b,c=d\"\nobjectType: cert\n", "objectName: &x a\nobjectAlias: *x\nobjectType: secret", "tags: *x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root, bad := parseYAML(text)
		if bad != nil || root == nil {
			return
		}
		var found problems
		o, ok := parseEntry(0, root, newBudget(), &found)
		err := found.err()
		if ok != (err == nil) {
			t.Fatalf("accepted %v with %v", ok, err)
		}
		if !ok {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("more than one line: %q", err)
			}
			return
		}
		for _, name := range []string{aliasFor(o.path, "name"), o.caPath} {
			if path.IsAbs(name) || strings.Contains(name, "..") || name != "" && path.Clean(name) != name {
				t.Fatalf("path %q was accepted", name)
			}
		}
		if (o.selector == nil) != keyvault.ValidName(o.item.Name) || o.path == "" || o.history < 1 {
			t.Fatalf("accepted %+v", o)
		}
		if o.selector != nil && o.selector.matches(keyvault.Listed{Name: "a"}) {
			t.Fatal("a disabled object was selected")
		}
	})
}

// A selector selects what its fields say, each of them.
func FuzzSelector(f *testing.F) {
	f.Add("web-", "web-.*", "env=prod", "web-a")
	f.Add("", "(?i)WEB-.|db", "", "web-a")
	f.Add("", "a|b", "", "ab")
	f.Add("w", "", "a=b,c=", "web")
	f.Fuzz(func(t *testing.T, prefix, pattern, tags, name string) {
		e := &entry{fields: scalars(map[string]string{"namePrefix": prefix, "namePattern": pattern, "tags": tags}), left: newBudget(), found: &problems{}}
		s := e.selector()
		if s == nil || e.failed {
			return
		}
		listed := keyvault.Listed{Name: name, Tags: s.tags, Attributes: keyvault.Attributes{Enabled: true}}
		if !s.matches(listed) {
			return
		}
		if !strings.HasPrefix(name, s.prefix) {
			t.Fatalf("%q does not begin with %q", name, s.prefix)
		}
		if s.pattern != nil {
			if at := s.pattern.FindStringIndex(name); at == nil || at[0] != 0 || at[1] != len(name) {
				t.Fatalf("%q is not all of %q", pattern, name)
			}
		}
		for tag := range s.tags {
			listed.Tags = map[string]string{tag + "x": s.tags[tag]}
			if s.matches(listed) {
				t.Fatalf("selected without the tag %q", tag)
			}
		}
	})
}

// scalars are the fields of an entry as YAML has them.
func scalars(fields map[string]string) map[string]*yaml.Node {
	nodes := map[string]*yaml.Node{}
	for name, value := range fields {
		nodes[name] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	}
	return nodes
}

// No path and no value make a panic, and no error holds a part of the value.
func FuzzProperty(f *testing.F) {
	f.Add(`{"a":{"b":[1,"x"]}}`, "a.b.1")
	f.Add(`{"a":1}`, "@this")
	f.Add(`[1,2]`, "#")
	f.Add(`{"a":"`+canary+`"}`, "b.#(c>1)#|@reverse")
	f.Add(canary, "a")
	f.Add(`"x"`, `{a,"b":c.d}`)
	f.Fuzz(func(t *testing.T, value, property string) {
		r := read{object: object{place: "objects index 0, line 1", property: property}, item: keyvault.Item{Type: "secret", Name: "a", Vault: "kv"}}
		_, err := valueOf(r, secret.New([]byte(value)))
		if err == nil {
			return
		}
		if reason.Of(err) != reason.ObjectContentInvalid.Name || strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("got %v", err)
		}
		if strings.Contains(value, canary) && !strings.Contains(property, canary) && strings.Contains(err.Error(), canary) {
			t.Fatalf("the error holds the value: %v", err)
		}
	})
}
