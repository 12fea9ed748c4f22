// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

func (c *checker) vaults(st *State) {
	seen := map[string]bool{}
	for i := range st.Vaults {
		v, path := &st.Vaults[i], fmt.Sprintf("vaults[%d]", i)
		if !ValidVaultName(v.Name) {
			c.add(path+".name", "must have 3 to 24 letters, digits and single hyphens, start with a letter and not end with a hyphen")
		}
		c.unique(seen, path+".name", "vault", v.Name)
		fill(&v.ResourceGroup, st.ResourceGroup)
		fill(&v.Location, st.Location)
		c.tenantOf(st, path+".tenantId", &v.TenantID)
		if v.SoftDeleteRetentionDays == 0 {
			v.SoftDeleteRetentionDays = DefaultRetentionDays
		}
		if v.SoftDeleteRetentionDays < 7 || v.SoftDeleteRetentionDays > 90 {
			c.add(path+".softDeleteRetentionDays", "must be between 7 and 90")
		}
		c.secrets(path, v.Secrets)
		c.objects(path, &v.VaultObjects, v.Secrets)
	}
}

func (c *checker) secrets(path string, list []Secret) {
	seen := map[string]bool{}
	for i := range list {
		s, at := &list[i], fmt.Sprintf("%s.secrets[%d]", path, i)
		if !ValidObjectName(s.Name) {
			c.add(at+".name", "must have 1 to 127 letters, digits and hyphens")
		}
		c.unique(seen, at+".name", "secret", s.Name)
		if len(s.Versions) == 0 {
			s.Versions = []SecretVersion{s.SecretVersion}
			c.version(at, &s.Versions[0])
			continue
		}
		if s.Value != "" || s.ValueFile != "" {
			c.add(at+".versions", "set value (or valueFile) or versions, not both")
		}
		ids := map[string]bool{}
		for j := range s.Versions {
			entry := fmt.Sprintf("%s.versions[%d]", at, j)
			c.version(entry, &s.Versions[j])
			if id := s.Versions[j].Version; id != "" {
				c.unique(ids, entry+".version", "version", id)
			}
		}
	}
}

func (c *checker) version(path string, v *SecretVersion) {
	if v.Value != "" && v.ValueFile != "" {
		c.add(path, "set value or valueFile, not both")
	} else if v.ValueFile != "" {
		v.Value, _ = c.read(path+".valueFile", v.ValueFile)
	}
	if v.Version != "" && !objectVersion.MatchString(v.Version) {
		c.add(path+".version", "must be 32 lower-case hexadecimal digits")
	}
	if v.Enabled == nil {
		yes := true
		v.Enabled = &yes
	}
	if field, text := CheckSecret(v.Value, v.ContentType, v.Tags); text != "" {
		c.add(path+"."+field, "%s", text)
	}
}

// CheckSecret says which part of a secret Key Vault would refuse, and why; two
// empty strings when it would take it.
func CheckSecret(value, contentType string, tags map[string]string) (field, text string) {
	switch {
	case len(value) > MaxSecretValue:
		return "value", fmt.Sprintf("must have at most %d bytes", MaxSecretValue)
	case !utf8.ValidString(value):
		return "value", "must be UTF-8 text"
	case utf8.RuneCountInString(contentType) > MaxContentType:
		return "contentType", fmt.Sprintf("must have at most %d characters", MaxContentType)
	}
	return CheckTags(tags)
}

// CheckTags is CheckSecret for tags.
func CheckTags(tags map[string]string) (field, text string) {
	if len(tags) > MaxTags {
		return "tags", fmt.Sprintf("must have at most %d entries", MaxTags)
	}
	for k, v := range tags {
		if utf8.RuneCountInString(k) > MaxTagLength || utf8.RuneCountInString(v) > MaxTagLength || strings.TrimSpace(k) == "" {
			return "tags", fmt.Sprintf("names and values must have at most %d characters, and names at least one", MaxTagLength)
		}
	}
	return "", ""
}
