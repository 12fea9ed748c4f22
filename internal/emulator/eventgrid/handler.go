// SPDX-License-Identifier: Apache-2.0

// Package eventgrid is the data plane of Event Grid namespaces with pull
// delivery: topics that get the events of vaults, and event subscriptions from
// which consumers receive them, with token verification and role-based access.
package eventgrid

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
	"github.com/vaultferry/vaultferry/internal/emulator/token"
)

// apiVersion is the one version of the API that is served.
const apiVersion = "2024-06-01"

// Config is what the Event Grid side is made of.
type Config struct {
	Broker    *Broker
	Directory *directory.Directory
	Keys      *token.Keys
	Faults    *fault.Set
	Counters  *record.Counters
	Now       func() time.Time
	// Stop ends all waiting when it is closed.
	Stop <-chan struct{}
}

// A Handler answers requests to namespaces.
type Handler struct{ cfg Config }

// New returns a handler.
func New(cfg Config) *Handler { return &Handler{cfg} }

// call is one request to a namespace.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	settings  directory.Settings
	namespace namespace
	route     route
	claims    token.Claims
	// identity is the name of the caller.
	identity string
	// status stays 0 when there is nobody to answer.
	status int
	body   []byte
}

// apiError is an answer that refuses.
type apiError struct {
	status        int
	code, message string
}

// Serve answers a request to the namespace that the host name stands for.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, names hosts.Match) {
	c := &call{w: w, r: r, settings: h.cfg.Directory.Settings()}
	header := w.Header()
	header.Set("x-ms-request-id", guid.New())
	header.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	n, ok := h.cfg.Broker.namespace(names.Namespace, names.Location)
	if !ok {
		c.fail(notFound("There is no Event Grid namespace of this name. In Azure the name would not even resolve; the emulator says so because the connection is older than the namespace's end."))
		c.send()
		return
	}
	c.namespace, c.route = n, parseRoute(r.URL.Path)
	refused := h.authenticate(c)
	if h.inject(c) {
		h.answer(c, refused)
	}
	h.cfg.Counters.Add(record.Key{
		Service: fault.EventGrid, Operation: c.route.operation, Identity: c.identity, AppID: c.claims.AppID, Status: c.status,
	})
	c.send()
}

func (h *Handler) answer(c *call, refused *apiError) {
	if refused != nil {
		c.w.Header().Set("WWW-Authenticate", "Bearer")
		c.fail(refused)
		return
	}
	for _, gate := range []func(*call) *apiError{checkRequest, h.authorize, c.route.find} {
		if e := gate(c); e != nil {
			c.fail(e)
			return
		}
	}
	if e := c.route.serve(h, c); e != nil {
		c.fail(e)
	}
}

// checkRequest looks at what all operations have in common.
func checkRequest(c *call) *apiError {
	switch version := c.r.URL.Query().Get("api-version"); {
	case c.route.serve == nil:
		return notFound("The path " + c.r.URL.Path + " is none of a namespace: there are /topics/{topic}:publish and /topics/{topic}/eventsubscriptions/{name}" +
			" with :receive, :acknowledge, :release, :reject and :renewLock.")
	case c.r.Method != http.MethodPost:
		c.w.Header().Set("Allow", http.MethodPost)
		return &apiError{http.StatusMethodNotAllowed, "MethodNotAllowed", "The method " + c.r.Method + " is not allowed; use POST."}
	case version == "":
		return badRequest("The query parameter api-version is required.")
	case version != apiVersion:
		return badRequest("The api-version '%s' is not supported. The emulator supports '%s'.", version, apiVersion)
	}
	return nil
}

func (h *Handler) inject(c *call) bool {
	f, ok := h.cfg.Faults.Match(fault.Request{
		Service: fault.EventGrid, Operation: c.route.operation, Identity: c.identity, AppID: c.claims.AppID, Path: c.r.URL.Path,
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
	text := cmp.Or(http.StatusText(f.Status), "Error")
	c.fail(&apiError{f.Status, strings.ReplaceAll(text, " ", ""), text})
	return false
}

func (c *call) reply(status int, v any) {
	c.status = status
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.body, _ = json.Marshal(v)
}

// send sends the answer once the request is counted, so that whoever has the
// answer finds the count.
func (c *call) send() {
	if c.status == 0 {
		return
	}
	c.w.WriteHeader(c.status)
	c.w.Write(c.body) //nolint:errcheck // the client is gone
}

func (c *call) fail(e *apiError) {
	c.w.Header().Set("x-ms-error-code", e.code)
	c.reply(e.status, map[string]any{"error": map[string]string{"code": e.code, "message": e.message}})
}
