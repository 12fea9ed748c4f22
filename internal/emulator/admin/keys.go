// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// Key is what `az keyvault key show` prints; lists leave out the key itself.
type Key struct {
	Attributes ObjectAttributes  `json:"attributes"`
	Key        *WebKey           `json:"key,omitempty"`
	KID        string            `json:"kid,omitempty"`
	Managed    bool              `json:"managed"`
	Name       string            `json:"name"`
	Tags       map[string]string `json:"tags"`
}

// WebKey is the public part of a key. Members are base64url.
type WebKey struct {
	Crv    string   `json:"crv,omitempty"`
	E      string   `json:"e,omitempty"`
	KID    string   `json:"kid"`
	KeyOps []string `json:"keyOps"`
	Kty    string   `json:"kty"`
	N      string   `json:"n,omitempty"`
	X      string   `json:"x,omitempty"`
	Y      string   `json:"y,omitempty"`
}

// KeyRequest makes a key, imports one as PEM, or changes attributes.
type KeyRequest struct {
	Kty   string   `json:"kty,omitempty"`
	Curve string   `json:"curve,omitempty"`
	Size  int      `json:"size,omitempty"`
	Ops   []string `json:"ops,omitempty"`
	PEM   string   `json:"pem,omitempty"`
	AttributesRequest
}

// AttributesRequest is what the requests for all kinds of objects have.
type AttributesRequest struct {
	Tags      map[string]string `json:"tags,omitempty"`
	Enabled   *bool             `json:"enabled,omitempty"`
	Expires   *time.Time        `json:"expires,omitempty"`
	NotBefore *time.Time        `json:"notBefore,omitempty"`
	// Version is for changing attributes of another version than the latest.
	Version string `json:"version,omitempty"`
}

func (a AttributesRequest) of() objects.Attributes {
	return objects.Attributes{Tags: a.Tags, Enabled: a.Enabled == nil || *a.Enabled, NotBefore: seconds(a.NotBefore), Expires: seconds(a.Expires)}
}

func (s *Server) keyOf(v directory.Vault, k objects.Item[keys.Key], whole bool) Key {
	id := s.vaultURI(v.Name) + "/keys/" + k.Name + "/" + k.Version
	out := Key{Attributes: attributesOf(v, k), Managed: k.Managed, Name: k.Name, Tags: k.Tags}
	if !whole {
		out.KID = id
		return out
	}
	public := k.Content.Public()
	out.Key = &WebKey{KID: id, Kty: public.Kty, Crv: public.Crv, KeyOps: public.Ops, N: public.N, E: public.E, X: public.X, Y: public.Y}
	return out
}

func (s *Server) keyRoutes() map[string]handlerFunc {
	const path = "/vaults/{vault}/keys/{name}"
	return map[string]handlerFunc{
		"GET /vaults/{vault}/keys":  s.listKeys,
		"GET " + path:               s.showKey,
		"GET " + path + "/versions": s.listKeyVersions,
		"POST " + path:              s.createKey,
		"POST " + path + "/rotate":  s.newKeyVersion,
		"PATCH " + path:             s.updateKey,
		"DELETE " + path:            s.deleteKey,
	}
}

func (s *Server) listKeys(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	list := []Key{}
	found, _ := v.Keys.List("", everything)
	for _, k := range found {
		list = append(list, s.keyOf(v, k, false))
	}
	return list, nil
}

func (s *Server) listKeyVersions(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	list := []Key{}
	found, _ := v.Keys.Versions(r.PathValue("name"), "", everything)
	for _, k := range found {
		list = append(list, s.keyOf(v, k, false))
	}
	return list, nil
}

func (s *Server) showKey(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	k, err := v.Keys.Get(r.PathValue("name"), r.URL.Query().Get("version"))
	return s.keyOf(v, k, true), named(r, "key", err)
}

func (s *Server) createKey(r *http.Request) (any, error) {
	var req KeyRequest
	v, err := s.objectRequest(r, &req, &req.AttributesRequest)
	if err != nil {
		return nil, err
	}
	var key keys.Key
	if req.PEM != "" {
		key, err = keys.FromPEM([]byte(req.PEM), req.Ops)
	} else {
		key, err = keys.Generate(keys.Spec{Type: req.Kty, Curve: req.Curve, Size: req.Size, Ops: req.Ops})
	}
	if err != nil {
		return nil, named(r, "key", err)
	}
	return s.putKey(r, v, key, req.of())
}

// newKeyVersion rotates.
func (s *Server) newKeyVersion(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	latest, err := v.Keys.Get(r.PathValue("name"), "")
	if err != nil {
		return nil, named(r, "key", err)
	}
	key, err := keys.Generate(latest.Content.Spec())
	if err != nil {
		return nil, err
	}
	return s.putKey(r, v, key, objects.Attributes{Tags: latest.Tags, Enabled: true})
}

func (s *Server) putKey(r *http.Request, v directory.Vault, key keys.Key, a objects.Attributes) (any, error) {
	k, err := v.Keys.Put(r.PathValue("name"), objects.Draft[keys.Key]{Content: key, Attributes: a, Inherit: keys.Inherit})
	if err != nil {
		return nil, named(r, "key", err)
	}
	return s.keyOf(v, k, true), nil
}

func (s *Server) updateKey(r *http.Request) (any, error) {
	var req KeyRequest
	v, err := s.objectRequest(r, &req, &req.AttributesRequest)
	if err != nil {
		return nil, err
	}
	k, err := v.Keys.Update(r.PathValue("name"), req.Version, change[keys.Key](req.AttributesRequest))
	if err != nil {
		return nil, named(r, "key", err)
	}
	return s.keyOf(v, k, true), nil
}

func (s *Server) deleteKey(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	d, err := v.Keys.Delete(r.PathValue("name"))
	if err != nil {
		return nil, named(r, "key", err)
	}
	return s.keyOf(v, d.Item, true), nil
}

func change[T any](a AttributesRequest) objects.Change[T] {
	return objects.Change[T]{Tags: a.Tags, Enabled: a.Enabled, NotBefore: seconds(a.NotBefore), Expires: seconds(a.Expires)}
}

// objectRequest reads a request about an object and checks what all kinds have.
func (s *Server) objectRequest(r *http.Request, req any, a *AttributesRequest) (directory.Vault, error) {
	v, err := s.vault(r)
	if err != nil {
		return v, err
	}
	if name := r.PathValue("name"); !state.ValidObjectName(name) {
		return v, directory.Refuse(directory.ErrInvalid, "the name %q must have 1 to 127 letters, digits and hyphens", name)
	}
	if err := decode(r, req); err != nil {
		return v, err
	}
	if field, text := state.CheckTags(a.Tags); text != "" {
		return v, directory.Refuse(directory.ErrInvalid, "%s %s", field, text)
	}
	return v, nil
}
