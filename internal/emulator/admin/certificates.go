// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"crypto/sha1" //nolint:gosec // the thumbprint of a certificate is defined with it
	"fmt"
	"net/http"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// Certificate is what `az keyvault certificate show` prints; lists leave out
// the certificate itself and its policy.
type Certificate struct {
	Attributes        ObjectAttributes  `json:"attributes"`
	CER               []byte            `json:"cer,omitempty"`
	ContentType       string            `json:"contentType,omitempty"`
	ID                string            `json:"id"`
	KID               string            `json:"kid,omitempty"`
	Name              string            `json:"name"`
	Policy            *Policy           `json:"policy,omitempty"`
	SID               string            `json:"sid,omitempty"`
	Status            string            `json:"status,omitempty"`
	Tags              map[string]string `json:"tags"`
	X509ThumbprintHex string            `json:"x509ThumbprintHex"`
}

// CertificateRequest makes a certificate, imports one, or changes attributes.
type CertificateRequest struct {
	Policy *Policy `json:"policy,omitempty"`
	// Value is PEM, or PKCS#12 in base64, with Password if it has one.
	Value    string `json:"value,omitempty"`
	Password string `json:"password,omitempty"`
	// PreserveOrder keeps the order of the certificates in a PEM secret.
	PreserveOrder bool `json:"preserveCertOrder,omitempty"`
	AttributesRequest
}

// Issuer is what `az keyvault certificate issuer show` prints, with the test
// CA's certificates in PEM.
type Issuer struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Provider     string `json:"provider"`
	Root         string `json:"root"`
	Intermediate string `json:"intermediate"`
}

// IssuerRequest makes an issuer.
type IssuerRequest struct {
	Provider string `json:"provider,omitempty"`
}

func (s *Server) certificateOf(v directory.Vault, c certs.Item, whole bool) Certificate {
	uri := s.vaultURI(v.Name)
	out := Certificate{
		Attributes: attributesOf(v, c), ID: uri + "/certificates/" + c.Name + "/" + c.Version, Name: c.Name, Tags: c.Tags,
	}
	if len(c.Content.Leaf) > 0 {
		out.X509ThumbprintHex = fmt.Sprintf("%X", sha1.Sum(c.Content.Leaf)) //nolint:gosec // see import
	}
	if !whole {
		return out
	}
	policy := policyOf(c.Content.Policy)
	out.CER, out.ContentType, out.Policy = c.Content.Leaf, c.Content.Secret.ContentType, &policy
	out.KID, out.SID = uri+"/keys/"+c.Name+"/"+c.Version, uri+"/secrets/"+c.Name+"/"+c.Version
	if c.Content.Operation != nil {
		out.Status = c.Content.Operation.Status
	}
	return out
}

func (s *Server) certificateRoutes() map[string]handlerFunc {
	const path, issuer = "/vaults/{vault}/certificates/{name}", "/vaults/{vault}/certificate-issuers"
	return map[string]handlerFunc{
		"GET /vaults/{vault}/certificates": s.listCertificates,
		"GET " + path:                      s.showCertificate,
		"GET " + path + "/versions":        s.listCertificateVersions,
		"POST " + path:                     s.createCertificate,
		"POST " + path + "/import":         s.importCertificate,
		"PATCH " + path:                    s.updateCertificate,
		"DELETE " + path:                   s.deleteCertificate,
		"GET " + issuer:                    s.listIssuers,
		"GET " + issuer + "/{name}":        s.showIssuer,
		"PUT " + issuer + "/{name}":        s.setIssuer,
		"GET /certificate-policy":          func(*http.Request) (any, error) { return DefaultPolicy(), nil },
	}
}

func (s *Server) listCertificates(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	list := []Certificate{}
	found, _ := v.Certificates.List("", everything)
	for _, c := range found {
		list = append(list, s.certificateOf(v, c, false))
	}
	return list, nil
}

func (s *Server) listCertificateVersions(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	list := []Certificate{}
	found, _ := v.Certificates.Versions(r.PathValue("name"), "", everything)
	for _, c := range found {
		list = append(list, s.certificateOf(v, c, false))
	}
	return list, nil
}

func (s *Server) showCertificate(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	return s.answerCertificate(r, v)(v.Certificates.Get(r.PathValue("name"), r.URL.Query().Get("version")))
}

// answerCertificate is for what the store returns.
func (s *Server) answerCertificate(r *http.Request, v directory.Vault) func(certs.Item, error) (any, error) {
	return func(c certs.Item, err error) (any, error) {
		if err != nil {
			return nil, named(r, "certificate", err)
		}
		return s.certificateOf(v, c, true), nil
	}
}

func (req CertificateRequest) of() certs.Request {
	out := certs.Request{Attributes: req.AttributesRequest.of(), PreserveOrder: req.PreserveOrder}
	if req.Policy != nil {
		policy := req.Policy.of()
		out.Policy = &policy
	}
	return out
}

func (s *Server) createCertificate(r *http.Request) (any, error) {
	var req CertificateRequest
	v, err := s.objectRequest(r, &req, &req.AttributesRequest)
	if err != nil {
		return nil, err
	}
	if _, err := v.Certificates.Create(r.PathValue("name"), req.of()); err != nil {
		return nil, named(r, "certificate", err)
	}
	v.Certificates.Settle()
	return s.answerCertificate(r, v)(v.Certificates.Get(r.PathValue("name"), ""))
}

func (s *Server) importCertificate(r *http.Request) (any, error) {
	var req CertificateRequest
	v, err := s.objectRequest(r, &req, &req.AttributesRequest)
	if err != nil {
		return nil, err
	}
	bundle, err := certs.Parse(req.Value, req.Password)
	if err != nil {
		return nil, named(r, "certificate", err)
	}
	return s.answerCertificate(r, v)(v.Certificates.Import(r.PathValue("name"), bundle, req.of()))
}

func (s *Server) updateCertificate(r *http.Request) (any, error) {
	var req CertificateRequest
	v, err := s.objectRequest(r, &req, &req.AttributesRequest)
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if req.Policy != nil {
		policy := req.Policy.of()
		if _, err := v.Certificates.EditPolicy(name, func(p *certs.Policy) error { *p = policy; return nil }); err != nil {
			return nil, named(r, "certificate", err)
		}
	}
	return s.answerCertificate(r, v)(v.Certificates.Update(name, req.Version, change[certs.Certificate](req.AttributesRequest)))
}

func (s *Server) deleteCertificate(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	d, err := v.Certificates.Delete(r.PathValue("name"))
	return s.answerCertificate(r, v)(d.Item, err)
}

func (s *Server) issuerOf(v directory.Vault, i certs.Issuer) Issuer {
	return Issuer{s.vaultURI(v.Name) + "/certificates/issuers/" + i.Name, i.Name, i.Provider, string(i.Root()), string(i.Intermediate())}
}

func (s *Server) listIssuers(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	list := []Issuer{}
	for _, i := range v.Certificates.Issuers() {
		list = append(list, s.issuerOf(v, i))
	}
	return list, nil
}

func (s *Server) showIssuer(r *http.Request) (any, error) {
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	i, err := v.Certificates.Issuer(r.PathValue("name"))
	if err != nil {
		return nil, named(r, "certificate issuer", err)
	}
	return s.issuerOf(v, i), nil
}

func (s *Server) setIssuer(r *http.Request) (any, error) {
	var req IssuerRequest
	v, err := s.vault(r)
	if err != nil {
		return nil, err
	}
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if !state.ValidObjectName(name) {
		return nil, directory.Refuse(directory.ErrInvalid, "the name %q must have 1 to 127 letters, digits and hyphens", name)
	}
	if req.Provider == "" {
		req.Provider = certs.DefaultProvider
	}
	i, err := v.Certificates.SetIssuer(name, req.Provider)
	if err != nil {
		return nil, named(r, "certificate issuer", err)
	}
	return s.issuerOf(v, i), nil
}
