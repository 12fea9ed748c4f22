// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

func (d *Directory) applyVault(v *state.Vault) error {
	vault := d.vaults[strings.ToLower(v.Name)]
	if vault == nil {
		vault = d.newVault(v.Name, v.ResourceGroup, v.SoftDeleteRetentionDays, v.EnablePurgeProtection)
	}
	vault.Location, vault.TenantID = v.Location, v.TenantID
	vault.declare(v.VaultAccess)
	problems := []error{vault.Certificates.Configure(certs.Settings{
		PKCS12: v.PKCS12, Delay: time.Duration(v.CertificateIssuanceDelay), Issuers: v.CertificateIssuers,
	})}
	for _, s := range v.Secrets {
		problems = append(problems, vault.declared("secrets", s.Name, vault.Secrets.Declare(s.Name, secretVersions(s.Versions))))
	}
	for _, k := range v.Keys {
		problems = append(problems, vault.declared("keys", k.Name, vault.Keys.Declare(k.Name, keyVersions(k.Versions))))
	}
	for _, c := range v.Certificates {
		problems = append(problems, vault.declared("certificates", c.Name, vault.Certificates.Declare(c.Name, certificateVersions(c.Versions))))
	}
	return errors.Join(problems...)
}

func (v *Vault) declared(collection, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s/%s/%s: %w", v.Name, collection, name, err)
}

func (d *Directory) newVault(name, group string, retentionDays int, purgeProtection bool) *Vault {
	id := arm.VaultID(d.settings.SubscriptionID, group, name)
	lock := new(sync.Mutex)
	config := func(kind, collection string) objects.Config {
		return objects.Config{
			Vault: id, Kind: kind, RetentionDays: retentionDays, PurgeProtection: purgeProtection, Now: d.now, Lock: lock,
			Created: d.announcer(name, id, collection),
		}
	}
	// The kind of secrets stays empty: so their version ids are what they were.
	secretStore, keyStore := objects.New[secrets.Secret](config("", "secrets")), objects.New[keys.Key](config("keys", "keys"))
	v := &Vault{
		Name: name, ResourceID: id, ResourceGroup: group, SubscriptionID: d.settings.SubscriptionID,
		RetentionDays: retentionDays, PurgeProtection: purgeProtection,
		Secrets: secretStore, Keys: keyStore, Certificates: certs.New(config("certificates", "certificates"), keyStore, secretStore),
		VaultAccess: newVaultAccess(),
	}
	d.vaults[strings.ToLower(name)] = v
	return v
}

func secretVersions(list []state.SecretVersion) []objects.Declared[secrets.Secret] {
	var all []objects.Declared[secrets.Secret]
	for _, v := range list {
		all = append(all, secrets.Declared(v.Version, secrets.Secret{Value: v.Value, ContentType: v.ContentType},
			objects.Attributes{Tags: v.Tags, Enabled: *v.Enabled, NotBefore: unix(v.NotBefore), Expires: unix(v.Expires)}))
	}
	return all
}

func keyVersions(list []state.KeyVersion) []objects.Declared[keys.Key] {
	var all []objects.Declared[keys.Key]
	for _, v := range list {
		all = append(all, keys.Declared(v.Version, v.Spec(), v.Given, v.Source(),
			objects.Attributes{Tags: v.Tags, Enabled: *v.Enabled, NotBefore: unix(v.NotBefore), Expires: unix(v.Expires)}))
	}
	return all
}

func certificateVersions(list []state.CertificateVersion) []certs.Declared {
	var all []certs.Declared
	for _, v := range list {
		policy := v.Policy()
		all = append(all, certs.Declared{
			Version: v.Version, Source: v.Source(), Policy: &policy, Bundle: v.Given, PreserveOrder: v.PreserveCertOrder,
			NotBefore: v.NotBefore, NotAfter: v.Expires, Attributes: objects.Attributes{Tags: v.Tags, Enabled: *v.Enabled},
		})
	}
	return all
}

func unix(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	seconds := t.Unix()
	return &seconds
}
