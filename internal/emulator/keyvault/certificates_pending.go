// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"net/http"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// certificateOperation is the JSON form of how a version is being made.
type certificateOperation struct {
	ID            string                 `json:"id"`
	Issuer        certs.IssuerParameters `json:"issuer"`
	CSR           []byte                 `json:"csr"`
	Cancel        bool                   `json:"cancellation_requested"`
	Status        string                 `json:"status"`
	StatusDetails string                 `json:"status_details,omitempty"`
	Target        string                 `json:"target,omitempty"`
	Error         *operationError        `json:"error,omitempty"`
	RequestID     string                 `json:"request_id"`
}

type operationError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (c *call) operationOf(it certs.Item) certificateOperation {
	op := it.Content.Operation
	id := c.id(certificateKind(), it.Name, "")
	o := certificateOperation{
		ID: id + "/pending", Issuer: it.Content.Policy.Issuer, CSR: op.CSR, Cancel: op.Cancel, Status: op.Status, RequestID: op.RequestID,
	}
	switch op.Status {
	case certs.InProgress:
		o.StatusDetails = "Pending certificate created. Certificate request is in progress. This may take some time based on the issuer provider. Please check again later."
		if it.Content.Policy.Issuer.Name == certs.Unknown {
			o.StatusDetails = "Pending certificate created. Please Perform Merge to complete the request."
		}
	case certs.Completed:
		o.Target = id
	case certs.Failed:
		o.Error = &operationError{"CertificateOperationFailed", "The issuer refused the request, or is gone."}
	}
	return o
}

func (c *call) replyOperation(it certs.Item, err error) *apiError {
	if err != nil {
		return c.storeError(err)
	}
	c.objectID = c.id(certificateKind(), it.Name, it.Version)
	c.reply(http.StatusOK, c.operationOf(it))
	return nil
}

func (h *Handler) getPending(c *call) *apiError {
	it, err := c.vault.Certificates.Pending(c.route.object)
	if err == nil && it.Content.Operation.Status == certs.InProgress {
		c.w.Header().Set("Retry-After", "10")
	}
	return c.replyOperation(it, err)
}

func (h *Handler) updatePending(c *call) *apiError {
	var body struct {
		Cancel *bool `json:"cancellation_requested"`
	}
	if e := c.decode(&body); e != nil {
		return e
	}
	if body.Cancel == nil {
		return badProperty("cancellation_requested", "it is required")
	}
	return c.replyOperation(c.vault.Certificates.Cancel(c.route.object, *body.Cancel))
}

func (h *Handler) deletePending(c *call) *apiError {
	return c.replyOperation(c.vault.Certificates.DropOperation(c.route.object))
}

func (h *Handler) mergePending(c *call) *apiError {
	var body struct {
		X5C  [][]byte          `json:"x5c"`
		Tags map[string]string `json:"tags"`
	}
	if e := c.decode(&body); e != nil {
		return e
	}
	if field, text := state.CheckTags(body.Tags); text != "" {
		return badProperty(field, text)
	}
	it, err := c.vault.Certificates.Merge(c.route.object, body.X5C, body.Tags)
	if err != nil {
		return c.storeError(err)
	}
	certificateFace().reply(c, http.StatusCreated, it, form{versioned: true, whole: true})
	return nil
}
