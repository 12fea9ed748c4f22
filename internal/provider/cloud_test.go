// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const hubFile = `{"name": "Hub", "activeDirectoryEndpoint": "https://login.hub.example/", "keyVaultDNSSuffix": "vault.hub.example"}`

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// cloudOf parses a class of a custom cloud whose files are in dir.
func cloudOf(dir, file, tenant string) (class, error) {
	attributes := validAttributes()
	attributes["cloudName"], attributes["cloudEnvFileName"] = "azurestackcloud", file
	if tenant != "" {
		attributes["tenantId"] = tenant
	}
	return parseClass(attributes, nil, &clouds{fallback: "AzurePublicCloud", dir: dir}, nil)
}

func TestCloudFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.json")
	writeFile(t, outside, hubFile)
	dir := filepath.Join(t.TempDir(), "clouds")
	// As the volume of a ConfigMap looks.
	writeFile(t, filepath.Join(dir, "..2026", "hub.json"), hubFile)
	writeFile(t, filepath.Join(dir, "sub", "deep.json"), hubFile)
	writeFile(t, filepath.Join(dir, "broken.json"), "{"+canary)
	writeFile(t, filepath.Join(dir, "wrong.json"), `{"activeDirectoryEndpoint": "http://`+canary+`"}`)
	writeFile(t, filepath.Join(dir, "adfs.json"), strings.Replace(hubFile, "example/", "example/adfs", 1))
	writeFile(t, filepath.Join(dir, "huge.json"), hubFile+strings.Repeat(" ", maxCloudFile))
	for link, to := range map[string]string{"..data": "..2026", "hub.json": "..data/hub.json", "escape.json": outside, "escape2.json": "../../x"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ file, tenant, says string }{
		"relative":          {"hub.json", "", ""},
		"absolute":          {filepath.Join(dir, "hub.json"), "", ""},
		"below":             {"sub/deep.json", "", ""},
		"dots that stay":    {"sub/../hub.json", "", ""},
		"AD FS":             {"adfs.json", "ADFS", ""},
		"AD FS, a tenant":   {"adfs.json", "", "spec.parameters.tenantID should be adfs"},
		"none":              {"", "", "set spec.parameters.cloudEnvFileName"},
		"not there":         {"hubb.json", "", "no such file"},
		"dots that leave":   {"../outside.json", "", "it should be in " + dir},
		"absolute, outside": {outside, "", "it should be in " + dir},
		"of the system":     {"/etc/passwd", "", "it should be in " + dir},
		"link that leaves":  {"escape.json", "", "regular file"},
		"link up":           {"escape2.json", "", "regular file"},
		"directory":         {"sub", "", "regular file"},
		"pipe":              {"pipe", "", "regular file"},
		"huge":              {"huge.json", "", "at most 65536 bytes"},
		"not JSON":          {"broken.json", "", "broken.json\": it is not a JSON object"},
		"wrong field":       {"wrong.json", "", "activeDirectoryEndpoint should be a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := cloudOf(dir, tc.file, tc.tenant)
			if tc.says != "" {
				if reason.Of(err) != reason.ParameterInvalid.Name || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), canary) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil || c.identity.cloud.Name != "Hub" || c.identity.cloud.VaultSuffix != "vault.hub.example" ||
				c.identity.cloud.AuthorityHost != "login.hub.example" {
				t.Fatalf("got %+v, %v", c.identity.cloud, err)
			}
			if tc.tenant != "" && c.identity.tenant != entra.TenantADFS {
				t.Fatalf("got tenant %q", c.identity.tenant)
			}
		})
	}
}

func TestACloudFileIsReadForEachClass(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "hub.json"), hubFile)
	if _, err := cloudOf(dir, "hub.json", ""); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "hub.json"), strings.ReplaceAll(hubFile, "hub.example", "hub2.example"))
	if c, err := cloudOf(dir, "hub.json", ""); err != nil || c.identity.cloud.VaultSuffix != "vault.hub2.example" {
		t.Fatalf("got %+v, %v", c.identity.cloud, err)
	}
}

func TestTwoClassesWithDifferentFilesDoNotMeet(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		writeFile(t, filepath.Join(dir, name), strings.ReplaceAll(hubFile, "hub.example", name+".example"))
	}
	var running sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		running.Go(func() {
			for range 100 {
				if c, err := cloudOf(dir, name, ""); err != nil || c.identity.cloud.VaultSuffix != "vault."+name+".example" {
					t.Errorf("got %+v, %v", c.identity.cloud, err)
				}
			}
		})
	}
	running.Wait()
}

func TestNoDirectoryOfClouds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := cloudOf(dir, "hub.json", ""); err == nil || !strings.Contains(err.Error(), "the provider has no directory "+dir) {
		t.Fatalf("got %v", err)
	}
}
