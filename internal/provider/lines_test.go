// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"strings"
	"testing"
)

// A problem names the entry's index and the line of the parameter, counted from 1.
func TestProblemsNameTheLine(t *testing.T) {
	const good = "array:\n  - |\n    objectName: a\n    objectType: secret\n"
	for name, tc := range map[string]struct {
		objects string
		says    []string
	}{
		"outer YAML": {
			good + "  - |\n    objectName: b\n   objectType: secret\n",
			[]string{"failed to yaml unmarshal objects, error: line 7 of spec.parameters.objects: "},
		},
		"a tab": {"array:\n\t- |\n", []string{"line 2 of spec.parameters.objects"}},
		"an entry's YAML": {
			good + "  - |\n    objectName: b\n    objectType secret\n    objectAlias: x\n",
			[]string{"unmarshal failed for keyVaultObjects at index 1, error: line 7 of spec.parameters.objects: "},
		},
		"an entry that is a word": {good + "  - hello\n", []string{"at index 1, error: line 5 of"}},
		"a list in a field":       {good + "  - |\n    objectName: [b]\n    objectType: secret\n", []string{"at index 1, error: line 6 of", "objectName should be a single value"}},
		"a field twice":           {good + "  - |\n    objectName: b\n    objectName: c\n    objectType: secret\n", []string{"at index 1, error: line 7 of", "objectName is set twice"}},
		"type": {
			good + "\n  # comment\n  - |\n    objectName: b\n    objectType: secrets\n",
			[]string{`objects index 1, line 9: objectType is "secrets": Invalid vaultObjectTypes. Should be secret, key, or cert (did you mean secret?)`},
		},
		"type's case":  {strings.Replace(good, "secret", "Secret", 1), []string{"line 4", "(did you mean secret?)"}},
		"field's case": {strings.Replace(good, "objectName", "objectname", 1), []string{"objects index 0, line 2: objectName is missing, file name must not be empty", `"objectname" is unknown, did you mean objectName?`}},
		"plain list":   {"- objectName: a\n  objectType: secret\n- objectName: b\n  objectType: sceret\n", []string{"objects index 1, line 4", "did you mean secret?"}},
		"in one line":  {`array: ["objectName: a_b\nobjectType: secret"]`, []string{"objects index 0, line 1: objectName \"a_b\" cannot be in a vault"}},
		"format":       {good + "    objectFormat: pen\n", []string{"line 5: invalid objectFormat: pen, should be PEM or PFX (did you mean pem?)"}},
		"encoding":     {good + "    objectEncoding: base-64\n", []string{"line 5: invalid objectEncoding: base-64, should be hex, base64 or utf-8 (did you mean base64?)"}},
		"mode":         {good + "    filePermission: \"0888\"\n", []string{`line 5: filePermission "0888" is not an octal mode`}},
		"mode too wide": {
			good + "    filePermission: \"4755\"\n", []string{`line 5: filePermission "4755" is not an octal mode`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var found problems
			parseObjects(parameters{objectsKey: tc.objects}, &found)
			err := found.err()
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tc.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in %q", want, err)
				}
			}
		})
	}
}

func TestObjectsThatWorkToday(t *testing.T) {
	for name, objects := range map[string]string{
		"unknown field":        "array:\n  - |\n    objectName: a\n    objectType: secret\n    somethingElse: 1\n",
		"numbers and nulls":    "array:\n  - |\n    objectName: 12\n    objectType: secret\n    objectVersion:\n    filePermission: 0400\n",
		"defaults spelt out":   "array:\n  - |\n    objectName: a\n    objectType: secret\n    objectFormat: PEM\n    objectEncoding: UTF-8\n    objectVersionHistory: 1\n",
		"quoted and folded":    "array:\n  - 'objectName: a\n\n    objectType: secret'\n  - >\n    {objectName: b, objectType: secret}\n",
		"comments":             "# objects\narray:\n  # one\n  - |\n    # inside\n    objectName: a # name\n    objectType: secret\n",
		"Windows line endings": "array:\r\n  - |\r\n    objectName: a\r\n    objectType: secret\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var found problems
			if got := parseObjects(parameters{objectsKey: objects}, &found); found.err() != nil || len(got) == 0 {
				t.Fatalf("got %+v, %v", got, found.err())
			}
		})
	}
}

// The problems of any class that a person has written are told at once; beyond that the text says how many more there are.
func TestManyProblemsStayReadable(t *testing.T) {
	for entries, told := range map[int]int{10: 10, 50: 11} {
		var found problems
		parseObjects(parameters{objectsKey: "array:\n" + strings.Repeat("  - |\n    objectName: a\n    objectType: nonsense\n", entries)}, &found)
		err := found.err()
		if err == nil || len(err.Error()) > 2100 {
			t.Fatalf("got %v", err)
		}
		more := strings.HasSuffix(err.Error(), fmt.Sprintf("; and %d more", entries-told))
		if got := strings.Count(err.Error(), "objectType is"); got != told || more != (entries > told) {
			t.Errorf("%d of %d told in %v", got, entries, err)
		}
	}
}
