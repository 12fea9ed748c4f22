// SPDX-License-Identifier: Apache-2.0

// Package keyvault is the data plane of Azure Key Vault: the secrets, keys and
// certificates APIs of every declared vault, with challenge, token verification,
// role-based access and audit records.
package keyvault

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
	"github.com/vaultferry/vaultferry/internal/emulator/limit"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
	"github.com/vaultferry/vaultferry/internal/emulator/token"
)

const (
	// maxBody bounds a request's body, in bytes; backups are the largest.
	maxBody = 32 << 20
	// serviceVersion is what the service says about itself.
	serviceVersion = "1.9.1720.1"
)

// Config is what the Key Vault side is made of.
type Config struct {
	Directory *directory.Directory
	Keys      *token.Keys
	Faults    *fault.Set
	Counters  *record.Counters
	Limits    *limit.Set
	// Audit gets one record per request.
	Audit *record.Log
	Log   *slog.Logger
	Now   func() time.Time
	// Stop ends all waiting when it is closed.
	Stop <-chan struct{}
}

// A Handler answers requests to vaults.
type Handler struct {
	cfg Config
	// backupKey seals backups for as long as the process lives.
	backupKey [32]byte
	// changes are the deletes, recoveries and purges on their way.
	changes changes
}

// New returns a handler.
func New(cfg Config) *Handler {
	h := &Handler{cfg: cfg}
	rand.Read(h.backupKey[:])
	return h
}

// call is one request to a vault.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	start time.Time
	vault directory.Vault
	names hosts.Match
	// host is what ids start with: the host the client used, with its port
	// unless that is 443.
	host  string
	route route

	// claims are those of a valid token; nil before and without.
	claims *token.Claims
	// identity is the name of the caller.
	identity   string
	assignment string
	authorized bool
	// byPolicy is set when an access policy matched, refusedAddress when the
	// network rules did not.
	byPolicy, refusedAddress bool
	// objectID is the id of the object in the answer, for the audit record.
	objectID  string
	requestID string
	status    int
	body      []byte
	failure   *apiError
}

// Serve answers a request to the vault that the host name stands for.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, names hosts.Match) {
	c := &call{w: w, r: r, start: h.cfg.Now(), names: names, host: strings.TrimSuffix(r.Host, ":443"), requestID: guid.New()}
	vault, ok := h.cfg.Directory.Vault(names.Vault)
	if !ok {
		c.vault = directory.Vault{Name: names.Vault}
		c.fail(&apiError{http.StatusNotFound, "VaultNotFound",
			"There is no vault of this name. In Azure the name would not even resolve; the emulator says so because the connection is older than the vault's end.", ""})
		c.send()
		return
	}
	c.vault = vault
	c.setHeaders()
	c.route = parseRoute(r.Method, r.URL.Path)
	refused := h.authenticate(c)
	if h.inject(c) {
		h.answer(c, refused)
	}
	h.record(c)
	c.send()
}

func (h *Handler) answer(c *call, refused *apiError) {
	if refused != nil {
		c.w.Header().Set("WWW-Authenticate", c.challenge())
		c.fail(refused)
		return
	}
	if c.route.refuse != nil {
		c.fail(c.route.refuse)
		return
	}
	if e := checkAPIVersion(c.r.URL.Query().Get("api-version")); e != nil {
		c.fail(e)
		return
	}
	for _, gate := range []func(*call) *apiError{h.checkNetwork, h.throttle, h.authorize, h.checkPending} {
		if e := gate(c); e != nil {
			c.fail(e)
			return
		}
	}
	c.vault.Certificates.Settle()
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxBody)
	if e := c.route.serve(h, c); e != nil {
		c.fail(e)
		return
	}
	h.startChange(c)
}

// operation is the name of the request in audit records, counters and faults.
func (c *call) operation() string {
	if c.claims == nil {
		return "Authentication"
	}
	return c.route.operation
}

func (h *Handler) inject(c *call) bool {
	request := fault.Request{Service: fault.Vault, Vault: c.vault.Name, Operation: c.operation(), Identity: c.identity, Object: c.route.object, Path: c.r.URL.Path}
	if c.claims != nil {
		request.AppID = c.claims.AppID
	}
	f, ok := h.cfg.Faults.Match(request)
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
	c.fail(faultError(f.Status))
	return false
}

func (c *call) setHeaders() {
	header := c.w.Header()
	header.Set("Cache-Control", "no-cache")
	header.Set("Pragma", "no-cache")
	header.Set("Expires", "-1")
	header.Set("x-ms-request-id", c.requestID)
	if id := c.r.Header.Get("x-ms-client-request-id"); id != "" {
		header.Set("x-ms-client-request-id", id)
	}
	header.Set("x-ms-keyvault-region", c.vault.Location)
	header.Set("x-ms-keyvault-service-version", serviceVersion)
	header.Set("x-ms-keyvault-network-info", "conn_type=Ipv4;addr="+c.callerIP()+";act_addr_fam=InterNetwork;")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Strict-Transport-Security", "max-age=31536000;includeSubDomains")
}

func (c *call) callerIP() string {
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		return c.r.RemoteAddr
	}
	return host
}

// reply keeps the answer; send sends it once the request is on record, so that
// whoever has the answer finds the record.
func (c *call) reply(status int, v any) {
	c.status = status
	if v == nil {
		return
	}
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.body, _ = json.Marshal(v)
}

func (c *call) send() {
	if c.status == 0 {
		return
	}
	c.w.WriteHeader(c.status)
	c.w.Write(c.body) //nolint:errcheck // the client is gone
}

func (c *call) fail(e *apiError) {
	c.failure = e
	body := map[string]any{"code": e.code, "message": e.message}
	if e.inner != "" {
		body["innererror"] = map[string]string{"code": e.inner}
	}
	c.reply(e.status, map[string]any{"error": body})
}
