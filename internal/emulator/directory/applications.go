// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"slices"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// CreateApplication makes an app registration with its service principal, or
// returns the one of that name.
func (d *Directory) CreateApplication(name string) (Principal, error) {
	if strings.TrimSpace(name) == "" {
		return Principal{}, Refuse(ErrInvalid, "the application needs a name")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.principals[principalKey(Application, "", name)]
	if p == nil {
		p = d.principal(Application, "", name)
		p.TenantID = strings.ToLower(d.settings.Tenants[0].ID)
		p.ClientID = guid.FromName("application", p.TenantID, name, "clientId")
		p.ObjectID = guid.FromName("application", p.TenantID, name, "objectId")
	}
	return p.clone(), nil
}

// ResetSecret gives an application, by its name or client id, a new client
// secret, beside the others if keep is set and in their place if not. An empty
// value is filled in; a zero time is never.
func (d *Directory) ResetSecret(application, value string, expires time.Time, keep bool) (Principal, ClientSecret, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.principals {
		if p.Kind != Application || !strings.EqualFold(p.Name, application) && !strings.EqualFold(p.ClientID, application) {
			continue
		}
		if value == "" {
			value = guid.Hex(guid.New()) + guid.Hex(guid.New())
		}
		secret := ClientSecret{Value: value, Expires: expires}
		if !keep {
			p.Secrets = nil
		}
		p.Secrets = append(slices.Clone(p.Secrets), secret)
		return p.clone(), secret, nil
	}
	return Principal{}, ClientSecret{}, Refuse(ErrNotFound, "Resource '%s' does not exist or one of its queried reference-property objects are not present.", application)
}
