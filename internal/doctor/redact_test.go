// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	const value = "s3cr3t-canary"
	for name, text := range map[string]string{
		"a token":             "token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ" + value + "-padding" + "." + value + " end",
		"a bearer header":     "Authorization: Bearer " + value,
		"a client secret":     "client_secret=" + value + "&grant_type=x",
		"JSON":                `{"password": "` + value + `"}`,
		"a connection string": "Server=db;User=app;Password=" + value + ";Encrypt=true",
		"a URL":               "postgres://app:" + value + "@db/app",
		"a private key":       "-----BEGIN PRIVATE KEY-----\n" + value + "\n-----END PRIVATE KEY-----",
		"half a private key":  "-----BEGIN RSA PRIVATE KEY-----\n" + value,
		"a signature":         "https://x.blob.core.windows.net/a?sig=" + value,

		"a variable":                      "AZURE_CLIENT_SECRET=" + value,
		"another variable":                "env: DB_PASSWORD=" + value + " HOME=/",
		"a variable of any secret":        "X_SECRET=" + value,
		"a name in camel case":            "dbPassword=" + value,
		"a variable in JSON":              `{"name":"X_SECRET","value":"` + value + `"}`,
		"a variable in pretty JSON":       "{\n  \"name\": \"GITHUB_TOKEN\",\n  \"value\": \"" + value + "\"\n}",
		"a variable in escaped JSON":      `{\"name\":\"X_SECRET\",\"value\":\"a ` + value + `\"}`,
		"a variable in YAML":              "- name: X_SECRET\n  value: a " + value,
		"a quoted variable in YAML":       "- name: X_SECRET\n  value: 'a " + value + "'",
		"a variable in Go":                "EnvVar{Name:API_KEY,Value:a " + value + ",ValueFrom:nil,}",
		"escaped JSON":                    `{\"password\":\"` + value + `\"}`,
		"escaped JSON with spaces":        `{\"password\": \"a ` + value + `\"}`,
		"escaped JSON with a quote in it": `{\"password\":\"a\\\"b ` + value + `\"}`,
		"JSON with spaces":                `{"password": "correct horse ` + value + `"}`,
		"JSON with a quote in it":         `{"password": "a\"b ` + value + `"}`,
		"JSON with a space at the colon":  `{"password" : "` + value + `"}`,
		"double quotes":                   `password="correct horse ` + value + `"`,
		"double quotes over two lines":    "password: \"correct horse\n  " + value + "\"",
		"single quotes":                   `password: 'it''s a ` + value + `'`,
		"a line of YAML":                  "  password: correct horse " + value,
		"a token behind a name":           "access_token=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ" + value + "." + value,
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(Redact([]byte(text))); strings.Contains(got, value) || !strings.Contains(got, "redacted") {
				t.Errorf("left: %s", got)
			}
		})
	}
	for _, plain := range []string{
		"FederatedSubjectMismatch: AADSTS700213: system:serviceaccount:shop:app-sa in kv-platform-prod, version 0123456789abcdef0123456789abcdef",
		`MountVolume.SetUp failed for volume "db-password" : rpc error: code = NotFound desc = failed to mount`,
		`MountVolume.SetUp failed for volume "app-secret": secret "db-token" not found`,
		"array:\n- objectName: db-password\n  objectType: secret\n  objectAlias: client-secret\n",
		"secretObjects:\n- secretName: app-secret\n  data:\n  - key: password\n    objectName: db\n",
		"ClientSecretInvalid: AADSTS7000215: Invalid client secret provided",
		"- name: azure-identity-token\n  mountPath: /var/run/secrets/azure/tokens\n  readOnly: true\n",
	} {
		if got := string(Redact([]byte(plain))); got != plain {
			t.Errorf("what is no credential was changed: %s", got)
		}
	}
}

// Only the value goes: what is around it is what the bundle is for.
func TestRedactLeavesTheRest(t *testing.T) {
	for text, want := range map[string]string{
		`{"password": "a b", "user": "app"}`:               `{"password": "[redacted]", "user": "app"}`,
		`{\"password\":\"a b\",\"user\":\"app\"}`:          `{\"password\":\"[redacted]\",\"user\":\"app\"}`,
		`DB_PASSWORD=x HOME=/root`:                         `DB_PASSWORD=[redacted] HOME=/root`,
		`Server=db;Password=x;Encrypt=true`:                `Server=db;Password=[redacted];Encrypt=true`,
		`{"name":"X_SECRET","value":"x y"},{"name":"LOG"}`: `{"name":"X_SECRET","value":"[redacted]"},{"name":"LOG"}`,
		`level=error password='a b' msg="not found"`:       `level=error password='[redacted]' msg="not found"`,
	} {
		if got := string(Redact([]byte(text))); got != want {
			t.Errorf("%s\n became %s", text, got)
		}
		if again := string(Redact([]byte(want))); again != want {
			t.Errorf("%s\n became %s the second time", want, again)
		}
	}
}
