// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/secret"
)

func TestParseAssertion(t *testing.T) {
	made := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".x"
	}
	const valid = `{"iss":"https://i","sub":"s","aud":["a","b"],"exp":1900000000}`
	for name, tc := range map[string]struct {
		token string
		ok    bool
	}{
		"valid":             {made(valid), true},
		"audience a string": {made(strings.Replace(valid, `["a","b"]`, `"a"`, 1)), true},
		"exp a fraction":    {made(strings.Replace(valid, `1900000000`, `1900000000.5`, 1)), true},
		"no issuer":         {made(strings.Replace(valid, `"iss":"https://i",`, ``, 1)), false},
		"no subject":        {made(strings.Replace(valid, `"sub":"s",`, ``, 1)), false},
		"no exp":            {made(strings.Replace(valid, `,"exp":1900000000`, ``, 1)), false},
		"exp absurd":        {made(strings.Replace(valid, `1900000000`, `1e300`, 1)), false},
		"audience a number": {made(strings.Replace(valid, `["a","b"]`, `7`, 1)), false},
		"not JSON":          {made(`hello`), false},
		"not base64":        {"a.%%%.b", false},
		"two parts":         {"a.b", false},
		"empty":             {"", false},
		"huge":              {made(valid) + strings.Repeat("x", 1<<20), false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := entra.ParseAssertion(secret.New([]byte(tc.token)))
			if (err == nil) != tc.ok {
				t.Fatalf("got %+v, %v", got, err)
			}
			if err == nil && (got.Subject != "s" || got.Issuer != "https://i" || got.Audience[0] != "a" ||
				!got.Expires.Equal(time.Unix(1900000000, 0))) {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

func FuzzParseAssertion(f *testing.F) {
	f.Add("e30.e30.x")
	f.Add(string(jwt(subject, issuer, time.Unix(1900000000, 0)).Reveal()))
	f.Fuzz(func(t *testing.T, token string) {
		got, err := entra.ParseAssertion(secret.New([]byte(token)))
		if err == nil && (got.Subject == "" || got.Issuer == "" || got.Expires.IsZero()) {
			t.Fatalf("accepted %+v", got)
		}
	})
}
