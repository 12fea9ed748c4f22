// SPDX-License-Identifier: Apache-2.0

// Package entra is the Entra ID side of the emulator: instance discovery,
// OpenID configuration, signing keys and the token endpoint for client secrets
// and federated assertions.
package entra

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
	"github.com/vaultferry/vaultferry/internal/emulator/token"
)

// maxForm bounds the body of a token request, in bytes.
const maxForm = 256 << 10

// Config is what the Entra side is made of.
type Config struct {
	Directory *directory.Directory
	Keys      *token.Keys
	Issuers   IssuerConfig
	Faults    *fault.Set
	Counters  *record.Counters
	// SignIns gets one record per token request.
	SignIns *record.Log
	Log     *slog.Logger
	Now     func() time.Time
	// Stop ends all waiting when it is closed.
	Stop <-chan struct{}
}

// A Handler answers requests to Entra names.
type Handler struct {
	cfg     Config
	issuers *issuers
}

// New returns a handler.
func New(cfg Config) *Handler { return &Handler{cfg: cfg, issuers: newIssuers(cfg.Issuers)} }

// call is one request.
type call struct {
	w   http.ResponseWriter
	r   *http.Request
	now time.Time
	// traceID and correlationID are those of the answer.
	traceID, correlationID string
	status                 int
	body                   []byte
	result                 *Error
	// client is set once it is known; signIn for token requests.
	client directory.Principal
	signIn *signIn
}

// Operations as faults and counters name them.
const (
	opDiscovery     = "InstanceDiscovery"
	opConfiguration = "OpenIDConfiguration"
	opKeys          = "Keys"
	opToken         = "TokenRequest"
	opBinding       = "BindingTokenRequest"
)

func (h *Handler) newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{w: w, r: r, now: h.cfg.Now(), traceID: guid.New(), correlationID: r.Header.Get("client-request-id")}
	if !guid.Valid(c.correlationID) {
		c.correlationID = guid.New()
	}
	header := w.Header()
	header.Set("x-ms-request-id", c.traceID)
	header.Set("Cache-Control", "no-store, no-cache")
	header.Set("Pragma", "no-cache")
	header.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	header.Set("X-Content-Type-Options", "nosniff")
	if strings.EqualFold(r.Header.Get("return-client-request-id"), "true") {
		header.Set("client-request-id", c.correlationID)
	}
	return c
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := h.newCall(w, r)
	operation, answer := h.route(r)
	if operation == "" {
		http.NotFound(w, r)
		return
	}
	// A token request is matched with faults once the client is known.
	if operation == opToken || h.inject(c, operation) {
		answer(c)
	}
	h.count(c, operation)
	c.send()
}

func (h *Handler) route(r *http.Request) (operation string, answer func(*call)) {
	parts := pathParts(r.URL.Path)
	if len(parts) < 2 {
		return "", nil
	}
	tenant, rest := parts[0], strings.ToLower(strings.Join(parts[1:], "/"))
	post := r.Method == http.MethodPost
	switch {
	case rest == "discovery/instance" && !post:
		return opDiscovery, h.instanceDiscovery
	case rest == "v2.0/.well-known/openid-configuration" && !post:
		return opConfiguration, func(c *call) { h.openIDConfiguration(c, tenant, true) }
	case rest == ".well-known/openid-configuration" && !post:
		return opConfiguration, func(c *call) { h.openIDConfiguration(c, tenant, false) }
	case (rest == "discovery/v2.0/keys" || rest == "discovery/keys") && !post:
		return opKeys, func(c *call) { c.reply(http.StatusOK, h.cfg.Keys.Set()) }
	case rest == "oauth2/v2.0/token" && post:
		return opToken, func(c *call) { h.token(c, tenant, true) }
	case rest == "oauth2/token" && post:
		return opToken, func(c *call) { h.token(c, tenant, false) }
	}
	return "", nil
}

// pathParts splits a path and forgives doubled slashes, as Entra ID does.
func pathParts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// inject lets a fault happen. It returns false if the request is dealt with.
func (h *Handler) inject(c *call, operation string) bool {
	f, ok := h.cfg.Faults.Match(fault.Request{
		Service: serviceOf(operation), Operation: operation, Identity: c.client.Name, AppID: c.client.ClientID, Path: c.r.URL.Path,
	})
	if !ok {
		return true
	}
	if !fault.Inject(c.w, c.r, f, h.cfg.Stop) {
		return false
	}
	c.w = fault.Shape(c.w, f)
	if f.Status == 0 {
		return true
	}
	e := &Error{Code: 90033, Status: f.Status, Name: "temporarily_unavailable", Text: "A transient error has occurred. Please try again."}
	if f.Status == http.StatusTooManyRequests {
		e.Code, e.Text = 90055, "There are too many incoming requests."
	}
	c.fail(e)
	return false
}

func (h *Handler) count(c *call, operation string) {
	h.cfg.Counters.Add(record.Key{Service: serviceOf(operation), Operation: operation, Identity: c.client.Name, AppID: c.client.ClientID, Status: c.status})
}

func serviceOf(operation string) string {
	if operation == opBinding {
		return fault.Binding
	}
	return fault.Entra
}

func (c *call) callerIP() string {
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		return c.r.RemoteAddr
	}
	return host
}
