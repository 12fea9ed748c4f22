// SPDX-License-Identifier: Apache-2.0

// Package imds is the part of the Azure Instance Metadata Service that hands
// out the tokens of the managed identities that are assigned to a machine, and
// the endpoint of App Service that does the same.
package imds

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/entra"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
)

// Address is where the service is in Azure, on every machine.
const Address = "169.254.169.254"

// Paths of the two forms.
const (
	TokenPath      = "/metadata/identity/oauth2/token"
	AppServicePath = "/msi/token"
)

// operation is the name of a token request in counters and faults.
const operation = "ManagedIdentityToken"

// Config is what the service is made of.
type Config struct {
	Directory *directory.Directory
	Entra     *entra.Handler
	Faults    *fault.Set
	Counters  *record.Counters
	// Stop ends all waiting when it is closed.
	Stop <-chan struct{}
}

// A Handler answers requests to the metadata service.
type Handler struct{ cfg Config }

// New returns a handler.
func New(cfg Config) *Handler { return &Handler{cfg} }

// answer is what a request gets.
type answer struct {
	status int
	body   any
	client directory.Principal
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var respond func(*http.Request) answer
	switch strings.TrimSuffix(strings.ToLower(r.URL.Path), "/") {
	case TokenPath:
		respond = h.metadata
	case AppServicePath:
		respond = h.appService
	default:
		http.NotFound(w, r)
		return
	}
	a := respond(r)
	w, a, open := h.inject(w, r, a)
	h.cfg.Counters.Add(record.Key{Service: fault.IMDS, Operation: operation, Identity: a.client.Name, AppID: a.client.ClientID, Status: a.status})
	if !open {
		return
	}
	data, _ := json.Marshal(a.body)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("x-ms-request-id", guid.New())
	w.WriteHeader(a.status)
	w.Write(data) //nolint:errcheck // the client is gone
}

// inject lets a fault happen. It returns false if the connection is gone.
func (h *Handler) inject(w http.ResponseWriter, r *http.Request, a answer) (http.ResponseWriter, answer, bool) {
	f, ok := h.cfg.Faults.Match(fault.Request{Service: fault.IMDS, Operation: operation, Identity: a.client.Name, AppID: a.client.ClientID, Path: r.URL.Path})
	if !ok {
		return w, a, true
	}
	if !fault.Inject(w, r, f, h.cfg.Stop) {
		a.status = 0
		return w, a, false
	}
	if f.Status != 0 {
		a.status, a.body = f.Status, failure("unknown", "Failed to retrieve token from the Active directory. For details see logs")
	}
	return fault.Shape(w, f), a, true
}

func failure(code, description string) map[string]string {
	return map[string]string{"error": code, "error_description": description}
}

var apiVersion = regexp.MustCompile(`^20\d\d-[01]\d-[0-3]\d$`)

// metadata is the form of virtual machines ("How to use managed identities to
// acquire an access token", HTTP).
func (h *Handler) metadata(r *http.Request) answer {
	query := r.URL.Query()
	refuse := func(code, description string) answer {
		return answer{status: http.StatusBadRequest, body: failure(code, description)}
	}
	switch {
	case !strings.EqualFold(r.Header.Get("Metadata"), "true"):
		return refuse("bad_request_102", "Required metadata header not specified")
	case r.Method != http.MethodGet:
		return answer{status: http.StatusMethodNotAllowed, body: failure("invalid_request", "The HTTP method is not allowed")}
	case !apiVersion.MatchString(query.Get("api-version")):
		return refuse("invalid_request", "Required query variable 'api-version' is missing")
	case query.Get("resource") == "":
		return refuse("invalid_request", "Required query variable 'resource' is missing")
	}
	client, problem := h.choose(query)
	if problem != "" {
		return refuse("invalid_request", problem)
	}
	issued, e := h.cfg.Entra.ForManagedIdentity(r, client, query.Get("resource"))
	if e != nil {
		return answer{status: http.StatusBadRequest, body: failure(e.Name, e.Error()), client: client}
	}
	seconds := strconv.Itoa(issued.Seconds())
	return answer{status: http.StatusOK, client: client, body: map[string]string{
		"access_token": issued.Token, "client_id": client.ClientID, "refresh_token": "", "expires_in": seconds, "ext_expires_in": seconds,
		"expires_on": strconv.FormatInt(issued.Claims.Expires, 10), "not_before": strconv.FormatInt(issued.Claims.NotBefore, 10),
		"resource": query.Get("resource"), "token_type": "Bearer",
	}}
}

const (
	identityNotFound = "Identity not found"
	severalExist     = "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"
)

// choose finds the identity that a request is for, or says why there is none.
func (h *Handler) choose(query url.Values) (directory.Principal, string) {
	assigned := h.cfg.Directory.NodeIdentities()
	all := assigned.User
	if assigned.System != nil {
		all = append(all, *assigned.System)
	}
	if selects(query) {
		for _, p := range all {
			if isSelected(p, query) {
				return p, ""
			}
		}
		return directory.Principal{}, identityNotFound
	}
	switch {
	case assigned.System != nil:
		return *assigned.System, ""
	case len(assigned.User) == 1:
		return assigned.User[0], ""
	case len(assigned.User) > 1:
		return directory.Principal{}, severalExist
	}
	return directory.Principal{}, identityNotFound
}

// selectors are the parameters that name an identity. The resource id and the
// object id go by two names each, one of virtual machines and one of App Service.
func selectors(p directory.Principal) map[string]string {
	return map[string]string{
		"client_id": p.ClientID, "object_id": p.ObjectID, "principal_id": p.ObjectID, "msi_res_id": p.ResourceID, "mi_res_id": p.ResourceID,
	}
}

func selects(query url.Values) bool {
	for name := range selectors(directory.Principal{}) {
		if query.Get(name) != "" {
			return true
		}
	}
	return false
}

func isSelected(p directory.Principal, query url.Values) bool {
	for name, value := range selectors(p) {
		if want := query.Get(name); want != "" && !strings.EqualFold(want, value) {
			return false
		}
	}
	return true
}

// appService is the form of App Service and Functions ("REST endpoint
// reference", api-version 2019-08-01).
func (h *Handler) appService(r *http.Request) answer {
	query := r.URL.Query()
	refuse := func(status int, text string) answer {
		return answer{status: status, body: map[string]any{"statusCode": status, "message": text, "correlationId": guid.New()}}
	}
	header := h.cfg.Directory.Settings().IdentityHeader
	switch {
	case subtle.ConstantTimeCompare([]byte(r.Header.Get("X-IDENTITY-HEADER")), []byte(header)) != 1:
		return refuse(http.StatusUnauthorized, "Invalid secret token header.")
	case r.Method != http.MethodGet:
		return refuse(http.StatusMethodNotAllowed, "The HTTP method is not allowed.")
	case query.Get("api-version") != "2019-08-01":
		return refuse(http.StatusBadRequest, "Unsupported api-version; use 2019-08-01.")
	case query.Get("resource") == "":
		return refuse(http.StatusBadRequest, "The parameter resource is missing.")
	}
	client, problem := h.choose(query)
	if problem != "" {
		return refuse(http.StatusBadRequest, "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.")
	}
	issued, e := h.cfg.Entra.ForManagedIdentity(r, client, query.Get("resource"))
	if e != nil {
		a := refuse(http.StatusBadRequest, e.Error())
		a.client = client
		return a
	}
	return answer{status: http.StatusOK, client: client, body: map[string]string{
		"access_token": issued.Token, "client_id": client.ClientID, "expires_on": strconv.FormatInt(issued.Claims.Expires, 10),
		"resource": query.Get("resource"), "token_type": "Bearer",
	}}
}
