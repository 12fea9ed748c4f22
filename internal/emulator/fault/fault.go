// SPDX-License-Identifier: Apache-2.0

// Package fault makes requests fail on purpose: with a status, late, with a cut
// connection, with half a body or nonsense in its place, or never.
package fault

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Services that a fault can be meant for.
const (
	Entra = "entra"
	Vault = "vault"
	// IMDS is the instance metadata service, Binding the token proxy of
	// identity bindings.
	IMDS    = "imds"
	Binding = "identity-binding"
	// Management is Azure Resource Manager.
	Management = "management"
	// EventGrid is the data plane of Event Grid namespaces.
	EventGrid = "eventgrid"
)

// maxHuge bounds Huge, in bytes.
const maxHuge = 1 << 30

// ErrInvalid is the kind of error for a fault that makes no sense.
var ErrInvalid = errors.New("invalid fault")

// A Fault says which requests fail and how. Empty selectors match everything.
type Fault struct {
	// ID is given by Add.
	ID string `json:"id"`
	// Service is one of the constants above, or empty for all.
	Service string `json:"service,omitempty"`
	// Vault is a vault's name; it implies Service "vault".
	Vault string `json:"vault,omitempty"`
	// Operation is an operationName of the audit log, e.g. SecretGet,
	// Authentication (a request without a valid token) or TokenRequest.
	Operation string `json:"operation,omitempty"`
	// Identity is the caller's name or client id.
	Identity string `json:"identity,omitempty"`
	// Object is a secret's name.
	Object string `json:"object,omitempty"`
	// Path is a regular expression (RE2) that the URL's path has to match.
	Path string `json:"path,omitempty"`

	// Status is the HTTP status to answer with; 0 leaves the answer as it is.
	Status int `json:"status,omitempty"`
	// RetryAfter is sent as the Retry-After header, in whole seconds.
	RetryAfter Duration `json:"retryAfter,omitempty"`
	// Latency is added before anything else happens.
	Latency Duration `json:"latency,omitempty"`
	// Reset cuts the connection with a TCP reset.
	Reset bool `json:"reset,omitempty"`
	// Blackhole never answers and keeps the connection open.
	Blackhole bool `json:"blackhole,omitempty"`
	// Truncate ends the connection after so many bytes of the answer's body.
	Truncate int `json:"truncate,omitempty"`
	// Garbage sends a body that is not what its content type says.
	Garbage bool `json:"garbage,omitempty"`
	// Huge sends a body of valid JSON of so many bytes.
	Huge int `json:"huge,omitempty"`
	// Count is how many requests are still to fail; 0 means all of them until
	// the fault is cleared.
	Count int `json:"count,omitempty"`
}

// Duration is a time.Duration whose JSON form is text such as "1.5s".
type Duration time.Duration

// MarshalText writes a Go duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a Go duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w: %q is not a duration such as 30s", ErrInvalid, text)
	}
	*d = Duration(v)
	return nil
}

// Check says what makes no sense.
func (f Fault) Check() error {
	services := []string{"", Entra, Vault, IMDS, Binding, Management, EventGrid}
	_, badPath := regexp.Compile(f.Path)
	switch {
	case !slices.Contains(services, f.Service):
		return fmt.Errorf("%w: service must be one of %s", ErrInvalid, strings.Join(services[1:], ", "))
	case f.Service != "" && f.Service != Vault && (f.Vault != "" || f.Object != ""):
		return fmt.Errorf("%w: service %s has no vaults and no objects", ErrInvalid, f.Service)
	case badPath != nil:
		return fmt.Errorf("%w: path must be a regular expression: %w", ErrInvalid, badPath)
	case f.RetryAfter < 0 || f.Latency < 0 || f.Count < 0 || f.Truncate < 0:
		return fmt.Errorf("%w: retryAfter, latency, truncate and count must not be negative", ErrInvalid)
	case f.Huge < 0 || f.Huge > maxHuge:
		return fmt.Errorf("%w: huge must be between 0 and %d bytes", ErrInvalid, maxHuge)
	}
	return f.checkEffect()
}

func (f Fault) checkEffect() error {
	bodies := count(f.Truncate != 0, f.Garbage, f.Huge != 0)
	gone := count(f.Reset, f.Blackhole)
	switch {
	case gone > 1 || gone == 1 && (f.Status != 0 || bodies > 0):
		return fmt.Errorf("%w: reset and blackhole leave no answer: set nothing but latency beside one of them", ErrInvalid)
	case bodies > 1:
		return fmt.Errorf("%w: set only one of truncate, garbage and huge", ErrInvalid)
	case f.Status == 0 && bodies == 0 && gone == 0 && f.Latency == 0:
		return fmt.Errorf("%w: set status, latency, truncate, garbage, huge, reset or blackhole", ErrInvalid)
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("%w: status must be between 400 and 599", ErrInvalid)
	case f.RetryAfter != 0 && f.Status == 0:
		return fmt.Errorf("%w: retryAfter needs a status", ErrInvalid)
	}
	return nil
}

func count(set ...bool) int {
	n := 0
	for _, one := range set {
		if one {
			n++
		}
	}
	return n
}

// A Request is what a fault is matched with.
type Request struct {
	Service, Vault, Operation, Identity, AppID, Object, Path string
}

func (f Fault) matches(r Request) bool {
	return (f.Service == "" || f.Service == r.Service) &&
		(f.Vault == "" || strings.EqualFold(f.Vault, r.Vault)) &&
		(f.Operation == "" || strings.EqualFold(f.Operation, r.Operation)) &&
		(f.Identity == "" || strings.EqualFold(f.Identity, r.Identity) || strings.EqualFold(f.Identity, r.AppID)) &&
		(f.Object == "" || strings.EqualFold(f.Object, r.Object)) &&
		(f.Path == "" || matchesPath(f.Path, r.Path))
}

func matchesPath(pattern, path string) bool {
	ok, err := regexp.MatchString(pattern, path)
	return err == nil && ok
}

// A Set holds the faults in force. It is safe for concurrent use.
type Set struct {
	mu   sync.Mutex
	next int
	list []Fault
	// declared are the ids of the faults that came from the state file.
	declared []string
}

// Add puts a fault in force.
func (s *Set) Add(f Fault) (Fault, error) {
	if err := f.Check(); err != nil {
		return Fault{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(f), nil
}

func (s *Set) add(f Fault) Fault {
	if f.Vault != "" {
		f.Service = Vault
	}
	s.next++
	f.ID = strconv.Itoa(s.next)
	s.list = append(s.list, f)
	return f
}

// Declare replaces the faults that the last call of Declare put in force. The
// faults must have passed Check.
func (s *Set) Declare(list []Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(f Fault) bool { return slices.Contains(s.declared, f.ID) })
	s.declared = nil
	for _, f := range list {
		s.declared = append(s.declared, s.add(f).ID)
	}
}

// List returns the faults in force, oldest first.
func (s *Set) List() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Fault{}, s.list...)
}

// Clear ends one fault, or all of them if id is empty, and returns how many
// those were.
func (s *Set) Clear(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.list)
	s.list = slices.DeleteFunc(s.list, func(f Fault) bool { return id == "" || f.ID == id })
	return before - len(s.list)
}

// Match finds the oldest fault for a request and counts it as used.
func (s *Set) Match(r Request) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.list {
		if !f.matches(r) {
			continue
		}
		if f.Count == 1 {
			s.list = slices.Delete(s.list, i, i+1)
		} else if f.Count > 1 {
			s.list[i].Count--
		}
		return f, true
	}
	return Fault{}, false
}
