// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// Bounds of a listing. A page of a real vault has at most 25 entries.
const (
	maxPages       = 1000
	maxListed      = 10_000
	maxListedBytes = 4 << 20
)

// List returns what the vault tells of its objects of one type, in the vault's order, without their values. A listing of more than
// 10,000 objects, 1,000 pages or 4 MiB is an error.
func (r *Reader) List(ctx context.Context, tokens TokenSource, vault, objectType string) ([]Listed, error) {
	if err := prove(ctx, tokens); err != nil {
		return nil, err
	}
	return r.list(ctx, tokens, opList, Item{Vault: vault, Type: objectType}, new(atomic.Int64))
}

// Versions returns what the vault tells of the versions of item, in the vault's order, without their values; item's own version does not
// matter. The bounds of [Reader.List] hold.
func (r *Reader) Versions(ctx context.Context, tokens TokenSource, item Item) ([]Listed, error) {
	if err := prove(ctx, tokens); err != nil {
		return nil, err
	}
	return r.list(ctx, tokens, opVersions, Item{Vault: item.Vault, Type: item.Type, Name: item.Name}, new(atomic.Int64))
}

// list reads a listing and counts its entries in progress while they come.
func (r *Reader) list(ctx context.Context, tokens TokenSource, op operation, item Item, progress *atomic.Int64) ([]Listed, error) {
	c, err := newCall(tokens.Identity(), op, item)
	if err != nil {
		return nil, err
	}
	c.progress = progress
	var all []Listed
	err = r.observed(ctx, c, func() error {
		all, err = r.pages(carrying(ctx, c, tokens), c)
		return err
	}, func(err error, took time.Duration) {
		r.config.Observer.ListingRead(item.Type, err, took)
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// pages reads all pages. ctx is of [carrying].
func (r *Reader) pages(ctx context.Context, c call) ([]Listed, error) {
	vault := r.clients.of(c)
	switch c.item.Type {
	case TypeSecret:
		client, err := vault.secrets()
		if err != nil {
			return nil, err
		}
		if c.op == opVersions {
			return collect(ctx, c, client.NewListSecretPropertiesVersionsPager(c.item.Name, nil),
				func(p azsecrets.ListSecretPropertiesVersionsResponse) ([]*azsecrets.SecretProperties, *string) {
					return p.Value, p.NextLink
				}, c.secret)
		}
		return collect(ctx, c, client.NewListSecretPropertiesPager(nil),
			func(p azsecrets.ListSecretPropertiesResponse) ([]*azsecrets.SecretProperties, *string) {
				return p.Value, p.NextLink
			}, c.secret)
	case TypeKey:
		client, err := vault.keys()
		if err != nil {
			return nil, err
		}
		if c.op == opVersions {
			return collect(ctx, c, client.NewListKeyPropertiesVersionsPager(c.item.Name, nil),
				func(p azkeys.ListKeyPropertiesVersionsResponse) ([]*azkeys.KeyProperties, *string) {
					return p.Value, p.NextLink
				}, c.key)
		}
		return collect(ctx, c, client.NewListKeyPropertiesPager(nil),
			func(p azkeys.ListKeyPropertiesResponse) ([]*azkeys.KeyProperties, *string) {
				return p.Value, p.NextLink
			}, c.key)
	}
	client, err := vault.certificates()
	if err != nil {
		return nil, err
	}
	if c.op == opVersions {
		return collect(ctx, c, client.NewListCertificatePropertiesVersionsPager(c.item.Name, nil),
			func(p azcertificates.ListCertificatePropertiesVersionsResponse) ([]*azcertificates.CertificateProperties, *string) {
				return p.Value, p.NextLink
			},
			c.certificate)
	}
	return collect(ctx, c, client.NewListCertificatePropertiesPager(nil),
		func(p azcertificates.ListCertificatePropertiesResponse) ([]*azcertificates.CertificateProperties, *string) {
			return p.Value, p.NextLink
		}, c.certificate)
}

// collect turns pages of a library's entries into one list.
func collect[Page, Entry any](
	ctx context.Context, c call, pager *runtime.Pager[Page], parts func(Page) ([]*Entry, *string), convert func(*Entry) (Listed, error),
) ([]Listed, error) {
	var all []Listed
	size := 0
	for pages := 0; pager.More(); pages++ {
		if pages == maxPages {
			return nil, c.invalid(fmt.Sprintf("the listing does not end after %d pages", maxPages))
		}
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		entries, next := parts(page)
		if next != nil && *next != "" && !c.atVault(*next) {
			return nil, c.invalid("the listing goes on at another host, to which the token must not travel")
		}
		for _, entry := range entries {
			if entry == nil {
				return nil, c.invalid("the listing has an entry that is nil")
			}
			listed, err := convert(entry)
			if err != nil {
				return nil, err
			}
			all = append(all, listed)
			if size += listed.size(); len(all) > maxListed || size > maxListedBytes {
				return nil, c.invalid(fmt.Sprintf("the listing has more than %d entries or %d MiB", maxListed, maxListedBytes>>20))
			}
		}
		c.progress.Store(int64(len(all)))
	}
	return all, nil
}

// atVault reports whether address is one of the call's vault.
func (c call) atVault(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && c.isVault(parsed)
}

func (c call) isVault(address *url.URL) bool {
	return address.Scheme == "https" && strings.EqualFold(strings.TrimSuffix(address.Host, ":443"), c.host())
}

func (c call) secret(entry *azsecrets.SecretProperties) (Listed, error) {
	name, version, err := identifier(c, entry.ID)
	return c.listed(name, version, entry.Managed, secretAttributes(entry.Attributes), entry.Tags), err
}

func (c call) key(entry *azkeys.KeyProperties) (Listed, error) {
	name, version, err := identifier(c, entry.KID)
	return c.listed(name, version, entry.Managed, keyAttributes(entry.Attributes), entry.Tags), err
}

func (c call) certificate(entry *azcertificates.CertificateProperties) (Listed, error) {
	name, version, err := identifier(c, entry.ID)
	return c.listed(name, version, nil, certificateAttributes(entry.Attributes), entry.Tags), err
}

func (c call) listed(name, version string, managed *bool, attributes Attributes, tags map[string]*string) Listed {
	l := Listed{Name: name, Managed: managed != nil && *managed, Attributes: attributes}
	if c.op == opVersions {
		l.Version = version
	}
	for key, value := range tags {
		if value == nil {
			continue
		}
		if l.Tags == nil {
			l.Tags = make(map[string]string, len(tags))
		}
		l.Tags[key] = *value
	}
	return l
}

// size is about how much memory l takes, in bytes.
func (l Listed) size() int {
	const fixed, entry = 160, 48
	size := fixed + len(l.Name) + len(l.Version)
	for key, value := range l.Tags {
		size += entry + len(key) + len(value)
	}
	return size
}
