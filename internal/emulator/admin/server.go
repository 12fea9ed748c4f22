// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/certs"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/eventgrid"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/keys"
	"github.com/vaultferry/vaultferry/internal/emulator/limit"
	"github.com/vaultferry/vaultferry/internal/emulator/objects"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 1 << 20

// Config is what the API manages.
type Config struct {
	Directory *directory.Directory
	Events    *eventgrid.Broker
	Faults    *fault.Set
	Limits    *limit.Set
	Clock     Clock
	Counters  *record.Counters
	Audit     *record.Log
	// CA is the root certificate in PEM.
	CA []byte
	// BindingCA is that of the token proxy.
	BindingCA []byte
	// Reload reads the state file again.
	Reload func() error
	// RotateKey makes a new token signing key and forgets the others if asked.
	RotateKey func(forget bool) error
	// Status fills in what the API does not know.
	Status func() Status
	// TokenFile holds the bearer token that callers must present, read at
	// each request. Empty: none, which is for a loopback listener only.
	TokenFile string
	// Stop ends streams when it is closed.
	Stop <-chan struct{}
	Log  *slog.Logger
}

// A Server is the API.
type Server struct {
	cfg Config
	mux *http.ServeMux
}

// New returns the API's handler.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	s.routes()
	return s
}

// handlerFunc answers a request; a nil answer means 204.
type handlerFunc func(r *http.Request) (any, error)

func (s *Server) routes() {
	for _, more := range []map[string]handlerFunc{s.keyRoutes(), s.certificateRoutes()} {
		for pattern, handle := range more {
			s.mux.Handle(pattern, s.json(handle))
		}
	}
	for pattern, handle := range map[string]handlerFunc{
		"GET /status":               s.status,
		"POST /reload":              s.reload,
		"POST /keys/rotate":         s.rotateKey,
		"GET /identities":           s.listIdentities,
		"POST /identities":          s.createIdentity,
		"GET /identities/{name}":    s.showIdentity,
		"DELETE /identities/{name}": s.deleteIdentity,
		"GET /identities/{name}/federated-credentials":           s.listCredentials,
		"POST /identities/{name}/federated-credentials":          s.createCredential,
		"DELETE /identities/{name}/federated-credentials/{cred}": s.deleteCredential,
		"GET /role-assignments":                                  s.listAssignments,
		"POST /role-assignments":                                 s.createAssignment,
		"DELETE /role-assignments":                               s.deleteAssignments,
		"GET /vaults":                                            s.listVaults,
		"POST /vaults":                                           s.createVault,
		"GET /vaults/{vault}":                                    s.showVault,
		"GET /vaults/{vault}/secrets":                            s.listSecrets,
		"GET /vaults/{vault}/secrets/{name}":                     s.showSecret,
		"PUT /vaults/{vault}/secrets/{name}":                     s.setSecret,
		"PATCH /vaults/{vault}/secrets/{name}":                   s.updateSecret,
		"DELETE /vaults/{vault}/secrets/{name}":                  s.deleteSecret,
		"GET /faults":                                            s.listFaults,
		"POST /faults":                                           s.setFault,
		"DELETE /faults":                                         s.clearFaults,
		"GET /requests":                                          s.listRequests,
		"DELETE /requests":                                       s.resetRequests,
		"GET /event-subscriptions":                               s.listEventSubscriptions,
	} {
		s.mux.Handle(pattern, s.json(handle))
	}
	for pattern, handle := range s.accessRoutes() {
		s.mux.Handle(pattern, s.json(handle))
	}
	s.mux.HandleFunc("GET /audit", s.audit)
	s.mux.HandleFunc("GET /ca", certificate(s.cfg.CA))
	s.mux.HandleFunc("GET /identity-bindings/ca", certificate(s.cfg.BindingCA))
}

func certificate(pem []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Write(pem) //nolint:errcheck // the client is gone
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status, text := s.admit(r); status != 0 {
		writeJSON(w, status, errorBody("AdminRefused", text))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// admit keeps out whoever may not manage the emulator, above all web pages that
// a browser on the same machine shows: they send an Origin, or reach a loopback
// address under a name of their own.
func (s *Server) admit(r *http.Request) (status int, text string) {
	if r.Header.Get("Origin") != "" {
		return http.StatusForbidden, "browsers may not use the admin API"
	}
	if s.cfg.TokenFile == "" {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil {
			return http.StatusForbidden, "use the admin API by its address, such as 127.0.0.1, not by a name"
		}
		return 0, ""
	}
	want, err := os.ReadFile(s.cfg.TokenFile)
	if err != nil {
		s.cfg.Log.Error("reading the admin token", "error", err)
		return http.StatusInternalServerError, "the admin token cannot be read"
	}
	got, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	token := strings.TrimSpace(string(want))
	if token == "" || subtle.ConstantTimeCompare([]byte(got), []byte(token)) != 1 {
		return http.StatusUnauthorized, "the admin API needs its token; give the client --admin-token-file"
	}
	return 0, ""
}

func (s *Server) json(handle handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := handle(r)
		if err != nil {
			status, code, text := explain(err)
			writeJSON(w, status, errorBody(code, text))
			return
		}
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// explain maps an error to a status, a code and a text without the sentinel's
// own words.
func explain(err error) (status int, code, text string) {
	for _, known := range []struct {
		err    error
		status int
		code   string
	}{
		{directory.ErrNotFound, http.StatusNotFound, "ResourceNotFound"},
		{directory.ErrConflict, http.StatusConflict, "Conflict"},
		{directory.ErrInvalid, http.StatusBadRequest, "BadRequest"},
		{fault.ErrInvalid, http.StatusBadRequest, "BadRequest"},
		{limit.ErrInvalid, http.StatusBadRequest, "BadRequest"},
		{objects.ErrNotFound, http.StatusNotFound, "ObjectNotFound"},
		{objects.ErrDeleted, http.StatusConflict, "ObjectIsDeletedButRecoverable"},
		{objects.ErrExists, http.StatusConflict, "Conflict"},
		{objects.ErrManaged, http.StatusForbidden, "ObjectManagedByKeyVault"},
		{certs.ErrPending, http.StatusConflict, "Conflict"},
		{certs.ErrNoIssuer, http.StatusNotFound, "IssuerNotFound"},
		{keys.ErrNotSupported, http.StatusNotImplemented, "NotImplemented"},
	} {
		if errors.Is(err, known.err) {
			return known.status, known.code, strings.TrimPrefix(err.Error(), known.err.Error()+": ")
		}
	}
	var invalid *keys.Invalid
	if errors.As(err, &invalid) {
		return http.StatusBadRequest, "BadParameter", err.Error()
	}
	return http.StatusInternalServerError, "InternalError", err.Error()
}

func errorBody(code, text string) any {
	return map[string]any{"error": map[string]string{"code": code, "message": text}}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client is gone
}
