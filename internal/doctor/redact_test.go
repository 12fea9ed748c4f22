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
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(Redact([]byte(text))); strings.Contains(got, value) || !strings.Contains(got, "redacted") {
				t.Errorf("left: %s", got)
			}
		})
	}
	const plain = "FederatedSubjectMismatch: AADSTS700213: system:serviceaccount:shop:app-sa in kv-platform-prod, version 0123456789abcdef0123456789abcdef"
	if got := string(Redact([]byte(plain))); got != plain {
		t.Errorf("what is no credential was changed: %s", got)
	}
}
