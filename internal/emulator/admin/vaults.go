// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/secrets"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// everything is more than any list has.
const everything = 1 << 30

func (s *Server) listVaults(r *http.Request) (any, error) {
	list := []Vault{}
	for _, v := range s.cfg.Directory.Vaults() {
		if group(r) == "" || strings.EqualFold(group(r), v.ResourceGroup) {
			list = append(list, s.vaultOf(v))
		}
	}
	return list, nil
}

func (s *Server) createVault(r *http.Request) (any, error) {
	var req VaultRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	v, err := s.cfg.Directory.CreateVault(req.ResourceGroup, req.Name, req.Location, req.RetentionDays, req.EnablePurgeProtection)
	if err != nil {
		return nil, err
	}
	return s.changeVault(v.Name, req.VaultChange)
}

func (s *Server) vault(r *http.Request) (directory.Vault, error) {
	name := r.PathValue("vault")
	v, ok := s.cfg.Directory.Vault(name)
	if !ok {
		return v, directory.Refuse(directory.ErrNotFound, "The Resource '%s/%s' was not found.", arm.TypeVault, name)
	}
	v.Certificates.Settle()
	return v, nil
}

func (s *Server) showVault(r *http.Request) (any, error) {
	v, err := s.vault(r)
	return s.vaultOf(v), err
}

func (s *Server) listSecrets(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	list := []Secret{}
	found, _ := v.Secrets.List("", everything)
	for _, sec := range found {
		list = append(list, s.secretOf(v, sec, false))
	}
	return list, nil
}

func (s *Server) showSecret(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	sec, err := v.Secrets.Get(r.PathValue("name"), r.URL.Query().Get("version"))
	return s.secretOf(v, sec, true), named(r, "secret", err)
}

// named adds the object's name to an error of a store.
func named(r *http.Request, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q in vault %q: %w", what, r.PathValue("name"), r.PathValue("vault"), err)
}

func (s *Server) setSecret(r *http.Request) (any, error) {
	v, req, err := s.secretRequest(r)
	if err != nil {
		return nil, err
	}
	if req.Value == nil {
		return nil, directory.Refuse(directory.ErrInvalid, "the secret needs a value")
	}
	content := secrets.Secret{Value: *req.Value}
	if req.ContentType != nil {
		content.ContentType = *req.ContentType
	}
	sec, err := v.Secrets.Put(r.PathValue("name"), objects.Draft[secrets.Secret]{Content: content, Attributes: req.AttributesRequest.of()})
	return s.secretOf(v, sec, true), named(r, "secret", err)
}

func (s *Server) updateSecret(r *http.Request) (any, error) {
	v, req, err := s.secretRequest(r)
	if err != nil {
		return nil, err
	}
	c := change[secrets.Secret](req.AttributesRequest)
	c.Edit = func(sec *secrets.Secret) {
		if req.ContentType != nil {
			sec.ContentType = *req.ContentType
		}
	}
	sec, err := v.Secrets.Update(r.PathValue("name"), req.Version, c)
	return s.secretOf(v, sec, false), named(r, "secret", err)
}

func (s *Server) secretRequest(r *http.Request) (directory.Vault, SecretRequest, error) {
	var req SecretRequest
	v, err := s.vault(r)
	if err != nil {
		return v, req, err
	}
	if name := r.PathValue("name"); !state.ValidObjectName(name) {
		return v, req, directory.Refuse(directory.ErrInvalid, "the secret name %q must have 1 to 127 letters, digits and hyphens", name)
	}
	if err := decode(r, &req); err != nil {
		return v, req, err
	}
	value, contentType := "", ""
	if req.Value != nil {
		value = *req.Value
	}
	if req.ContentType != nil {
		contentType = *req.ContentType
	}
	if field, text := state.CheckSecret(value, contentType, req.Tags); text != "" {
		return v, req, directory.Refuse(directory.ErrInvalid, "%s %s", field, text)
	}
	return v, req, nil
}

func (s *Server) deleteSecret(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	d, err := v.Secrets.Delete(r.PathValue("name"))
	return s.secretOf(v, d.Item, false), named(r, "secret", err)
}

func seconds(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	n := t.Unix()
	return &n
}
