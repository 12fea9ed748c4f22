// SPDX-License-Identifier: Apache-2.0

// Package management is the reading half of Azure Resource Manager, as far as
// somebody needs it who asks why a pod gets no secret: subscriptions, managed
// identities with their federated credentials, vaults, role assignments and
// role definitions. What is written is written through the admin API.
package management

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
	"github.com/vaultferry/vaultferry/internal/emulator/token"
)

// Config is what the management side is made of.
type Config struct {
	Directory *directory.Directory
	Keys      *token.Keys
	Faults    *fault.Set
	Counters  *record.Counters
	Now       func() time.Time
	// Stop ends all waiting when it is closed.
	Stop <-chan struct{}
}

// A Handler answers requests to management.azure.com and its like.
type Handler struct{ cfg Config }

// New returns a handler.
func New(cfg Config) *Handler { return &Handler{cfg} }

// call is one request.
type call struct {
	w        http.ResponseWriter
	r        *http.Request
	settings directory.Settings
	claims   token.Claims
	identity string
	route    route
	status   int
	body     []byte
}

// apiError is an answer that refuses ("Common Azure Resource Manager errors").
type apiError struct {
	status        int
	code, message string
}

// apiVersion accepts every date, with or without a preview suffix.
var apiVersion = regexp.MustCompile(`^20\d\d-[01]\d-[0-3]\d(-preview)?$`)

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r, settings: h.cfg.Directory.Settings()}
	header := w.Header()
	header.Set("Cache-Control", "no-cache")
	header.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	header.Set("X-Content-Type-Options", "nosniff")
	id := guid.New()
	header.Set("x-ms-request-id", id)
	header.Set("x-ms-correlation-request-id", id)
	c.route = h.parse(r.URL.Path)
	refused := h.authenticate(c)
	if !h.inject(c) {
		return
	}
	if c.status == 0 {
		h.answer(c, refused)
	}
	h.cfg.Counters.Add(record.Key{
		Service: fault.Management, Operation: c.route.action, Identity: c.identity, AppID: c.claims.AppID, Status: c.status,
	})
	w.WriteHeader(c.status)
	c.w.Write(c.body) //nolint:errcheck // the client is gone
}

func (h *Handler) answer(c *call, refused *apiError) {
	version := c.r.URL.Query().Get("api-version")
	switch {
	case refused != nil:
		c.fail(refused)
	case version == "":
		c.fail(&apiError{http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."})
	case !apiVersion.MatchString(version):
		c.fail(&apiError{http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version '" + version + "' is invalid. " +
			"The supported versions are dates such as '2024-11-30'."})
	case c.r.Method != http.MethodGet:
		c.fail(&apiError{http.StatusNotImplemented, "NotImplemented", "The emulator's Azure Resource Manager only reads. Write through the admin API (azure-emulator identity, role, keyvault)."})
	case c.route.serve == nil:
		c.fail(&apiError{http.StatusNotFound, "InvalidResourceType", "The resource type could not be found: the emulator does not know the path " + c.r.URL.Path + "."})
	default:
		if e := h.authorize(c); e != nil {
			c.fail(e)
			return
		}
		if e := c.route.serve(c); e != nil {
			c.fail(e)
		}
	}
}

// authorize asks whether the caller may read at the scope, before anybody looks
// whether something is there. Everybody may list subscriptions: those that they
// cannot see are left out.
func (h *Handler) authorize(c *call) *apiError {
	if c.route.scope == "" || h.cfg.Directory.MayManage(c.claims.ObjectID, c.route.action, c.route.scope) {
		return nil
	}
	return &apiError{http.StatusForbidden, "AuthorizationFailed", "The client '" + c.claims.AppID + "' with object id '" + c.claims.ObjectID +
		"' does not have authorization to perform action '" + c.route.action + "' over scope '" + c.route.scope +
		"' or the scope is invalid. If access was recently granted, please refresh your credentials."}
}

func (h *Handler) inject(c *call) bool {
	f, ok := h.cfg.Faults.Match(fault.Request{
		Service: fault.Management, Operation: c.route.action, Identity: c.identity, AppID: c.claims.AppID, Path: c.r.URL.Path,
	})
	if !ok {
		return true
	}
	if !fault.Inject(c.w, c.r, f, h.cfg.Stop) {
		return false
	}
	c.w = fault.Shape(c.w, f)
	switch f.Status {
	case 0:
	case http.StatusTooManyRequests:
		c.fail(&apiError{f.Status, "SubscriptionRequestsThrottled", "Number of requests for subscription '" + c.settings.SubscriptionID +
			"' and operation 'GET' exceeded the backend storage limit. Please try again later."})
	default:
		c.fail(&apiError{f.Status, "ServiceUnavailable", http.StatusText(f.Status)})
	}
	return true
}

func (c *call) reply(status int, v any) {
	c.status = status
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.body, _ = json.Marshal(v)
}

func (c *call) fail(e *apiError) {
	if e.status == http.StatusUnauthorized {
		tenant := strings.ToLower(c.settings.Tenants[0].ID)
		c.w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="https://login.windows.net/`+tenant+`", error="invalid_token", error_description="`+e.message+`"`)
	}
	c.reply(e.status, map[string]any{"error": map[string]string{"code": e.code, "message": e.message}})
}
