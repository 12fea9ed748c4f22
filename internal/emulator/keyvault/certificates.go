// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"crypto/sha1" //nolint:gosec // x5t is defined with it (RFC 7517)
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// certificateRequest is the body of create, import and update.
type certificateRequest struct {
	Value         string            `json:"value"`
	Password      string            `json:"pwd"`
	Policy        json.RawMessage   `json:"policy"`
	PreserveOrder bool              `json:"preserveCertOrder"`
	Tags          map[string]string `json:"tags"`
	Attributes    attributesRequest `json:"attributes"`
}

func (c *call) certificateRequest() (certificateRequest, *certs.Policy, *apiError) {
	var body certificateRequest
	if e := c.decode(&body); e != nil {
		return body, nil, e
	}
	if field, text := state.CheckTags(body.Tags); text != "" {
		return body, nil, badProperty(field, text)
	}
	if len(body.Policy) == 0 || string(body.Policy) == "null" {
		return body, nil, nil
	}
	var p certs.Policy
	if err := json.Unmarshal(body.Policy, &p); err != nil {
		return body, nil, badProperty("policy", "a member has the wrong type")
	}
	return body, &p, nil
}

func (b certificateRequest) request(p *certs.Policy) certs.Request {
	return certs.Request{Policy: p, Attributes: b.Attributes.of(b.Tags), PreserveOrder: b.PreserveOrder}
}

func (h *Handler) createCertificate(c *call) *apiError {
	body, policy, e := c.certificateRequest()
	if e != nil {
		return e
	}
	it, err := c.vault.Certificates.Create(c.route.object, body.request(policy))
	if err != nil {
		return c.storeError(err)
	}
	operation := c.operationOf(it)
	header := c.w.Header()
	header.Set("Location", operation.ID+"?api-version="+c.r.URL.Query().Get("api-version")+"&request_id="+operation.RequestID)
	header.Set("Retry-After", "10")
	c.objectID = c.id(certificateKind(), it.Name, it.Version)
	c.reply(http.StatusAccepted, operation)
	return nil
}

func (h *Handler) importCertificate(c *call) *apiError {
	body, policy, e := c.certificateRequest()
	if e != nil {
		return e
	}
	if body.Value == "" {
		return badProperty("value", "it is required")
	}
	bundle, err := certs.Parse(body.Value, body.Password)
	if err != nil {
		return c.storeError(err)
	}
	it, err := c.vault.Certificates.Import(c.route.object, bundle, body.request(policy))
	if err != nil {
		return c.storeError(err)
	}
	certificateFace().reply(c, http.StatusOK, it, form{versioned: true, whole: true})
	return nil
}

func (h *Handler) updateCertificate(c *call) *apiError {
	body, policy, e := c.certificateRequest()
	if e != nil {
		return e
	}
	if policy != nil {
		if _, err := c.vault.Certificates.EditPolicy(c.route.object, mergePolicy(body.Policy)); err != nil {
			return c.storeError(err)
		}
	}
	it, err := c.vault.Certificates.Update(c.route.object, c.route.version, objects.Change[certs.Certificate]{
		Tags: body.Tags, Enabled: body.Attributes.Enabled, NotBefore: body.Attributes.NotBefore, Expires: body.Attributes.Expires,
	})
	if err != nil {
		return c.storeError(err)
	}
	certificateFace().reply(c, http.StatusOK, it, form{versioned: true, whole: true})
	return nil
}

// mergePolicy changes what a request has and leaves the rest.
func mergePolicy(data json.RawMessage) func(*certs.Policy) error {
	return func(p *certs.Policy) error { return json.Unmarshal(data, p) }
}

func (h *Handler) getPolicy(c *call) *apiError {
	it, err := c.vault.Certificates.Get(c.route.object, "")
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.policyOf(it.Name, it.Content.Policy))
	return nil
}

func (h *Handler) updatePolicy(c *call) *apiError {
	var raw json.RawMessage
	if e := c.decode(&raw); e != nil {
		return e
	}
	var wish certs.Policy
	if json.Unmarshal(raw, &wish) != nil {
		return badProperty("policy", "a member has the wrong type")
	}
	p, err := c.vault.Certificates.EditPolicy(c.route.object, mergePolicy(raw))
	if err != nil {
		return c.storeError(err)
	}
	c.reply(http.StatusOK, c.policyOf(c.route.object, p))
	return nil
}

func (c *call) policyOf(name string, p certs.Policy) certs.Policy {
	p.ID = c.id(certificateKind(), name, "") + "/policy"
	return p
}

// certificateBundle is the JSON form of a certificate; certificateItem that of
// an entry of a list.
type certificateBundle struct {
	ID            string            `json:"id"`
	KID           string            `json:"kid,omitempty"`
	SID           string            `json:"sid,omitempty"`
	X5T           string            `json:"x5t,omitempty"`
	CER           []byte            `json:"cer,omitempty"`
	ContentType   string            `json:"contentType,omitempty"`
	Attributes    attributes        `json:"attributes"`
	Tags          map[string]string `json:"tags,omitempty"`
	Policy        certs.Policy      `json:"policy"`
	Pending       *pendingID        `json:"pending,omitempty"`
	PreserveOrder bool              `json:"preserveCertOrder,omitempty"`
	recovery
}

type pendingID struct {
	ID string `json:"id"`
}

type certificateItem struct {
	ID         string            `json:"id"`
	X5T        string            `json:"x5t,omitempty"`
	Attributes attributes        `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	recovery
}

func certificateFace() face[certs.Certificate] {
	return face[certs.Certificate]{
		kind:  certificateKind(),
		store: func(c *call) *objects.Store[certs.Certificate] { return c.vault.Certificates.Store },
		write: func(c *call, it certs.Item, f form) any {
			if f.whole {
				return c.certificateBundle(it, f)
			}
			version := ""
			if f.versioned {
				version = it.Version
			}
			return certificateItem{c.id(certificateKind(), it.Name, version), x5t(it.Content.Leaf), attributesOf(c, it), it.Tags, f.recovery}
		},
		// A list leaves out what was never finished, unless it is asked for.
		listed: func(c *call, it certs.Item) bool {
			return len(it.Content.Leaf) > 0 || c.r.URL.Query().Get("includePending") == "true"
		},
		restoreTo: func(c *call, versions []certs.Item) (certs.Item, error) {
			return c.vault.Certificates.Restore(versions)
		},
	}
}

func (c *call) certificateBundle(it certs.Item, f form) certificateBundle {
	b := certificateBundle{
		ID: c.id(certificateKind(), it.Name, it.Version), Attributes: attributesOf(c, it), Tags: it.Tags,
		Policy: c.policyOf(it.Name, it.Content.Policy), recovery: f.recovery,
	}
	if op := it.Content.Operation; op != nil && op.Status == certs.InProgress {
		b.Pending = &pendingID{c.id(certificateKind(), it.Name, "") + "/pending"}
	}
	if len(it.Content.Leaf) == 0 {
		return b
	}
	b.KID, b.SID = c.id(keyKind(), it.Name, it.Version), c.id(secretKind(), it.Name, it.Version)
	b.X5T, b.CER, b.ContentType = x5t(it.Content.Leaf), it.Content.Leaf, it.Content.Secret.ContentType
	b.PreserveOrder = len(it.Content.Order) > 0
	return b
}

// x5t is the thumbprint of a certificate, "" while there is none.
func x5t(leaf []byte) string {
	if len(leaf) == 0 {
		return ""
	}
	sum := sha1.Sum(leaf) //nolint:gosec // see import
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
