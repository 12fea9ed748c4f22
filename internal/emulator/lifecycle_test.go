// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSecretLifecycle(t *testing.T) {
	r, _ := startPlatform(t)
	token := r.ciToken()
	call := func(method, path, body string) map[string]any {
		t.Helper()
		a := r.do(method, vaultURL+path+"?api-version=7.4", token, body)
		if a.status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
		}
		return decode(t, a)
	}
	first := call("PUT", "/secrets/App-Key", `{"value":"v1","contentType":"text/plain","tags":{"a":"b"},"attributes":{"exp":4102444800,"nbf":1}}`)
	id := first["id"].(string)
	version := id[strings.LastIndex(id, "/")+1:]
	if id != vaultURL+"/secrets/App-Key/"+version || len(version) != 32 {
		t.Errorf("id %q", id)
	}
	attributes := first["attributes"].(map[string]any)
	if attributes["recoveryLevel"] != "Recoverable+Purgeable" || attributes["recoverableDays"] != 90.0 || attributes["exp"] != 4102444800.0 || attributes["enabled"] != true {
		t.Errorf("attributes %v", attributes)
	}
	call("PUT", "/secrets/app-key", `{"value":"v2"}`)
	for path, want := range map[string]string{
		"/secrets/app-key": "v2", "/secrets/APP-KEY/": "v2", "//secrets/app-key": "v2", "//secrets//app-key//": "v2",
		"/secrets/app-key/" + version: "v1", "/secrets/app-key/" + strings.ToUpper(version): "v1",
	} {
		if got := call("GET", path, ""); got["value"] != want || !strings.HasPrefix(got["id"].(string), vaultURL+"/secrets/App-Key/") {
			t.Errorf("GET %s: %v, want %s", path, got, want)
		}
	}
	patched := call("PATCH", "/secrets/app-key/"+version, `{"attributes":{"enabled":false},"tags":{"c":"d"}}`)
	if patched["value"] != nil || !cmp.Equal(patched["tags"], any(map[string]any{"c": "d"})) || patched["contentType"] != "text/plain" {
		t.Errorf("PATCH: %v", patched)
	}
	checkVaultError(t, r.do("GET", vaultURL+"/secrets/app-key/"+version+"?api-version=7.4", token, ""), 403, "Forbidden", "SecretDisabled", "")
	if got := call("GET", "/secrets/app-key", ""); got["value"] != "v2" {
		t.Errorf("the other version stays readable: %v", got)
	}

	deleted := call("DELETE", "/secrets/app-key", "")
	if deleted["recoveryId"] != vaultURL+"/deletedsecrets/App-Key" || deleted["value"] != nil ||
		deleted["scheduledPurgeDate"].(float64)-deleted["deletedDate"].(float64) != 90*24*3600 {
		t.Errorf("DELETE: %v", deleted)
	}
	if list := call("GET", "/deletedsecrets", "")["value"].([]any); len(list) != 1 {
		t.Errorf("deleted: %v", list)
	}
	if got := call("POST", "/deletedsecrets/app-key/recover", ""); got["value"] != nil {
		t.Errorf("recover: %v", got)
	}
	if got := call("GET", "/secrets/app-key", ""); got["value"] != "v2" {
		t.Errorf("after recover: %v", got)
	}
	blob := call("POST", "/secrets/app-key/backup", "")["value"].(string)
	checkVaultError(t, r.do("POST", vaultURL+"/secrets/restore?api-version=7.4", token, `{"value":"`+blob+`"}`), 409, "Conflict", "", "")
	call("DELETE", "/secrets/app-key", "")
	if a := r.do("DELETE", vaultURL+"/deletedsecrets/app-key?api-version=7.4", token, ""); a.status != 204 || a.body != "" {
		t.Errorf("purge: %d %q", a.status, a.body)
	}
	call("POST", "/secrets/restore", `{"value":"`+blob+`"}`)
	if versions := call("GET", "/secrets/app-key/versions", "")["value"].([]any); len(versions) != 2 {
		t.Errorf("restored versions: %v", versions)
	}
	if expired := call("GET", "/secrets/past", ""); expired["value"] != "gone" {
		t.Errorf("an expired secret can be read: %v", expired)
	}
	if early := call("GET", "/secrets/later", ""); early["value"] != "soon" {
		t.Errorf("a secret that is not yet valid can be read: %v", early)
	}
	if none := call("GET", "/secrets/nope/versions", ""); len(none["value"].([]any)) != 0 {
		t.Errorf("versions of an unknown secret: %v", none)
	}
}

func TestRetentionEnds(t *testing.T) {
	r, _ := startPlatform(t)
	protected := "https://kv-protected.vault.azure.net"
	set := r.do("PUT", protected+"/secrets/gone?api-version=7.4", r.ciToken(), `{"value":"x"}`)
	if level := decode(t, set)["attributes"].(map[string]any)["recoveryLevel"]; level != "CustomizedRecoverable" {
		t.Errorf("recovery level %v", level)
	}
	r.do("DELETE", protected+"/secrets/gone?api-version=7.4", r.ciToken(), "")
	r.clock.advance(7*24*time.Hour + time.Second)
	checkVaultError(t, r.do("GET", protected+"/deletedsecrets/gone?api-version=7.4", r.ciToken(), ""), 404, "SecretNotFound", "", "Deleted Secret not found: gone")
}

func TestPaging(t *testing.T) {
	r := start(t, `
names: {login: login.azure.test, vaultSuffix: vault.azure.test}
applications: [{name: ci, clientId: 11111111-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: ci-secret}]}]
vaults: [{name: kv-pages}]
roleAssignments: [{role: Key Vault Secrets Officer, assignee: ci, scope: kv-pages}]
`)
	token := r.ciToken()
	for _, base := range []string{"https://kv-pages.vault.azure.net", "https://kv-pages.vault.azure.test:8443"} {
		for i := range 30 {
			r.do("PUT", fmt.Sprintf("%s/secrets/s%02d?api-version=7.4", base, i), token, `{"value":"x"}`)
		}
	}
	host := map[string]string{"https://kv-pages.vault.azure.net": "https://kv-pages.vault.azure.net:443", "https://kv-pages.vault.azure.test:8443": "https://kv-pages.vault.azure.test:8443"}
	for base, linkBase := range host {
		for path, want := range map[string][]int{
			"/secrets?api-version=7.4":                           {25, 5},
			"/secrets?api-version=7.4&maxresults=10":             {10, 10, 10},
			"/secrets?api-version=7.4&maxresults=25":             {25, 5},
			"/secrets/s00/versions?api-version=7.4&maxresults=1": {1, 1},
			"/deletedsecrets?api-version=7.4":                    {0},
		} {
			var sizes []int
			seen := map[string]bool{}
			for link := base + path; link != ""; {
				page := decode(t, r.do("GET", link, token, ""))
				items := page["value"].([]any)
				sizes = append(sizes, len(items))
				for _, item := range items {
					entry := item.(map[string]any)
					if _, hasValue := entry["value"]; hasValue || seen[entry["id"].(string)] || !strings.HasPrefix(entry["id"].(string), base+"/secrets/") {
						t.Errorf("item %v", entry)
					}
					seen[entry["id"].(string)] = true
				}
				link, _ = page["nextLink"].(string)
				if link != "" && !strings.HasPrefix(link, linkBase+strings.Split(path, "?")[0]+"?api-version=7.4&$skiptoken=") {
					t.Fatalf("nextLink %q", link)
				}
			}
			if diff := cmp.Diff(want, sizes); diff != "" {
				t.Errorf("%s%s: page sizes (-want +got):\n%s", base, path, diff)
			}
		}
	}
}
