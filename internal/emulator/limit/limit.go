// SPDX-License-Identifier: Apache-2.0

// Package limit throttles requests to vaults as Key Vault does: each kind of
// request has a number that a vault takes in ten seconds, and what matters is
// the sum of the fractions used ("Azure Key Vault service limits").
package limit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultWindow is the time that Azure's numbers are for.
const DefaultWindow = 10 * time.Second

// steps is how finely a window moves.
const steps = 10

// ErrInvalid is the kind of error for a limit that makes no sense.
var ErrInvalid = errors.New("invalid limit")

// A Class is a kind of request with a limit of its own.
type Class string

// The classes.
const (
	// Transactions are all requests that are of no other class.
	Transactions Class = "transactions"
	// Writes make secrets and import certificates and keys.
	Writes Class = "writes"
	// KeyCreate makes, rotates and releases keys.
	KeyCreate Class = "keyCreate"
	// The others are operations with keys of their kinds.
	RSA2048 Class = "rsa2048"
	RSA3072 Class = "rsa3072"
	RSA4096 Class = "rsa4096"
	EC      Class = "ec"
)

// A Limit bounds what one vault, or each vault, takes in a window. A class with
// 0 is not bounded, unless Azure is set.
type Limit struct {
	// Vault is a vault's name, or empty for all that have no limit of their own.
	Vault string `json:"vault,omitempty"`
	// Azure fills in Azure's numbers, those for software-protected keys, for
	// classes with 0.
	Azure bool `json:"azure,omitempty"`
	// Window is DefaultWindow if it is 0.
	Window Duration `json:"window,omitempty"`
	// RetryAfter is sent with a refusal, in whole seconds. Azure promises no
	// such header, and 0 sends none.
	RetryAfter Duration `json:"retryAfter,omitempty"`

	Transactions int `json:"transactions,omitempty"`
	Writes       int `json:"writes,omitempty"`
	KeyCreate    int `json:"keyCreate,omitempty"`
	RSA2048      int `json:"rsa2048,omitempty"`
	RSA3072      int `json:"rsa3072,omitempty"`
	RSA4096      int `json:"rsa4096,omitempty"`
	EC           int `json:"ec,omitempty"`
}

// Duration is a time.Duration whose JSON form is text such as "10s".
type Duration time.Duration

// MarshalText writes a Go duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a Go duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w: %q is not a duration such as 10s", ErrInvalid, text)
	}
	*d = Duration(v)
	return nil
}

// Check says what makes no sense.
func (l Limit) Check() error {
	bounded := l.Azure
	for _, n := range l.numbers() {
		if n < 0 {
			return fmt.Errorf("%w: numbers must not be negative", ErrInvalid)
		}
		bounded = bounded || n > 0
	}
	switch {
	case !bounded:
		return fmt.Errorf("%w: set azure, or how many requests of a class are allowed", ErrInvalid)
	case l.Window < 0 || l.RetryAfter < 0:
		return fmt.Errorf("%w: window and retryAfter must not be negative", ErrInvalid)
	case l.Window != 0 && time.Duration(l.Window) < steps*time.Millisecond:
		return fmt.Errorf("%w: window must be at least %s", ErrInvalid, steps*time.Millisecond)
	}
	return nil
}

func (l Limit) numbers() map[Class]int {
	return map[Class]int{
		Transactions: l.Transactions, Writes: l.Writes, KeyCreate: l.KeyCreate,
		RSA2048: l.RSA2048, RSA3072: l.RSA3072, RSA4096: l.RSA4096, EC: l.EC,
	}
}

func azure() map[Class]int {
	return map[Class]int{Transactions: 4000, Writes: 300, KeyCreate: 20, RSA2048: 4000, RSA3072: 1000, RSA4096: 500, EC: 4000}
}

// allowed is how many requests of a class alone fill a window; 0 for no bound.
func (l Limit) allowed(c Class) int {
	n := l.numbers()[c]
	if n == 0 && l.Azure {
		n = azure()[c]
	}
	return n
}

func (l Limit) window() time.Duration {
	if l.Window == 0 {
		return DefaultWindow
	}
	return time.Duration(l.Window)
}

// A Set holds the limits in force and what was used of them. It is safe for
// concurrent use.
type Set struct {
	now func() time.Time

	mu   sync.Mutex
	list []entry
	used map[string]*usage
}

type entry struct {
	Limit
	declared bool
}

// NewSet returns a set without limits.
func NewSet(now func() time.Time) *Set { return &Set{now: now, used: map[string]*usage{}} }

// Declare replaces the limits that the last call of Declare put in force. Those
// that were set at run time stay and come first. The limits must have passed
// Check.
func (s *Set) Declare(list []Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(e entry) bool { return e.declared })
	for _, l := range list {
		s.list = append(s.list, entry{l, true})
	}
}

// Put puts a limit in force in the place of those of the same vault, and
// forgets what was used.
func (s *Set) Put(l Limit) error {
	if err := l.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(l.Vault)
	s.list = append([]entry{{Limit: l}}, s.list...)
	return nil
}

// Clear ends the limit of a vault, or all limits for "", and returns how many
// those were.
func (s *Set) Clear(vault string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.list)
	if vault == "" {
		s.list = nil
		clear(s.used)
	} else {
		s.remove(vault)
	}
	return before - len(s.list)
}

func (s *Set) remove(vault string) {
	s.list = slices.DeleteFunc(s.list, func(e entry) bool { return strings.EqualFold(e.Vault, vault) })
	if vault == "" {
		clear(s.used)
	}
	delete(s.used, strings.ToLower(vault))
}

// List returns the limits in force.
func (s *Set) List() []Limit {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Limit{}
	for _, e := range s.list {
		all = append(all, e.Limit)
	}
	return all
}

// Take counts a request. If there is no room for it, ok is false, the request
// is not counted, and retryAfter is what to tell the client, 0 for nothing.
func (s *Set) Take(vault string, c Class) (ok bool, retryAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, found := s.find(vault)
	allowed := l.allowed(c)
	if !found || allowed == 0 {
		return true, 0
	}
	key := strings.ToLower(vault)
	u := s.used[key]
	if u == nil {
		u = &usage{}
		s.used[key] = u
	}
	if !u.take(s.now(), l.window(), 1/float64(allowed)) {
		return false, time.Duration(l.RetryAfter)
	}
	return true, 0
}

// find prefers a limit of the vault's own.
func (s *Set) find(vault string) (Limit, bool) {
	for _, want := range []string{vault, ""} {
		for _, e := range s.list {
			if strings.EqualFold(e.Vault, want) {
				return e.Limit, true
			}
		}
	}
	return Limit{}, false
}
