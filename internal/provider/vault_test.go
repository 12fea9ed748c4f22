// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// heldObject is a version of an object in a heldVault.
type heldObject struct {
	vault, objectType, name, version string
	disabled, managed                bool
	created                          time.Time
	tags                             map[string]string
	answer                           keyvault.Object
}

// heldVault is a vault held in memory. Of versions of an object, the last one is the latest.
type heldVault struct {
	objects []heldObject

	mu       sync.Mutex
	fetched  []keyvault.Item
	listings []string
}

func (v *heldVault) note(item keyvault.Item) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fetched = append(v.fetched, item)
}

func (v *heldVault) Fetch(_ context.Context, request keyvault.Request) ([]keyvault.Object, error) {
	objects := make([]keyvault.Object, len(request.Items))
	for i, item := range request.Items {
		v.note(item)
		object, err := v.get(item)
		var refusal *reason.Error
		switch {
		case err == nil:
			objects[i] = object
		case item.Optional && errors.As(err, &refusal) && absence(err):
			objects[i] = keyvault.Object{Missing: refusal}
		default:
			return nil, err
		}
	}
	return objects, nil
}

func (v *heldVault) get(item keyvault.Item) (keyvault.Object, error) {
	for _, o := range slices.Backward(v.objects) {
		if o.vault != item.Vault || o.objectType != item.Type || o.name != item.Name || item.Version != "" && o.version != item.Version {
			continue
		}
		if o.disabled {
			return keyvault.Object{}, reason.New(reason.ObjectDisabled, "enable it", "%s %q in %s is disabled", item.Type, item.Name, item.Vault)
		}
		answer := o.answer
		answer.Version = o.version
		return answer, nil
	}
	return keyvault.Object{}, reason.New(reason.ObjectNotFound, "create it", "%s %q is not in %s", item.Type, item.Name, item.Vault)
}

// List tells of each object its latest version, as Key Vault does.
func (v *heldVault) List(_ context.Context, _ keyvault.TokenSource, vault, objectType string) ([]keyvault.Listed, error) {
	v.mu.Lock()
	v.listings = append(v.listings, vault+"/"+objectType)
	v.mu.Unlock()
	var listed []keyvault.Listed
	seen := map[string]bool{}
	for _, o := range slices.Backward(v.objects) {
		if o.vault == vault && o.objectType == objectType && !seen[o.name] {
			seen[o.name] = true
			listed = append(listed, o.listed(""))
		}
	}
	return listed, nil
}

func (v *heldVault) Versions(_ context.Context, _ keyvault.TokenSource, item keyvault.Item) ([]keyvault.Listed, error) {
	v.mu.Lock()
	v.listings = append(v.listings, item.Vault+"/"+item.Type+"/"+item.Name)
	v.mu.Unlock()
	var listed []keyvault.Listed
	for _, o := range v.objects {
		if o.vault == item.Vault && o.objectType == item.Type && o.name == item.Name {
			listed = append(listed, o.listed(o.version))
		}
	}
	if listed == nil {
		return nil, reason.New(reason.ObjectNotFound, "create it", "%s %q is not in %s", item.Type, item.Name, item.Vault)
	}
	return listed, nil
}

func (o heldObject) listed(version string) keyvault.Listed {
	return keyvault.Listed{
		Name: o.name, Version: version, Managed: o.managed, Tags: o.tags,
		Attributes: keyvault.Attributes{Enabled: !o.disabled, Created: o.created},
	}
}

const classVault = "kv-platform-prod" // of validAttributes

// secretOf is a version of a secret in the class's vault.
func secretOf(name, version, value string) heldObject {
	return heldObject{
		vault: classVault, objectType: keyvault.TypeSecret, name: name, version: version,
		answer: keyvault.Object{Content: secret.New([]byte(value))},
	}
}

// of is the object with changes.
func (o heldObject) of(changes ...func(*heldObject)) heldObject {
	for _, change := range changes {
		change(&o)
	}
	return o
}

func disabled(o *heldObject) { o.disabled = true }

// created sets when a version was made, in minutes of one hour.
func created(minute int) func(*heldObject) {
	return func(o *heldObject) { o.created = time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
}

func tagged(tags map[string]string) func(*heldObject) {
	return func(o *heldObject) { o.tags = tags }
}

func inVault(name string) func(*heldObject) { return func(o *heldObject) { o.vault = name } }
