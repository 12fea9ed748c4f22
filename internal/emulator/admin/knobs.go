// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"
	"strconv"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/limit"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
)

// Clock is the emulator's clock.
type Clock interface {
	// Now is the time with the offset.
	Now() time.Time
	Offset() time.Duration
	SetOffset(time.Duration)
}

// Propagation is how long changes take to count. A field that is null stays as
// it is.
type Propagation struct {
	RoleAssignments      *fault.Duration `json:"roleAssignments"`
	FederatedCredentials *fault.Duration `json:"federatedCredentials"`
	Deletes              *fault.Duration `json:"deletes"`
}

func (s *Server) propagation(*http.Request) (any, error) {
	p := s.cfg.Directory.Settings().Propagation
	text := func(d time.Duration) *fault.Duration { return (*fault.Duration)(&d) }
	return Propagation{text(p.RoleAssignments), text(p.FederatedCredentials), text(p.Deletes)}, nil
}

func (s *Server) setPropagation(r *http.Request) (any, error) {
	var req Propagation
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	p := s.cfg.Directory.Settings().Propagation
	for to, from := range map[*time.Duration]*fault.Duration{
		&p.RoleAssignments: req.RoleAssignments, &p.FederatedCredentials: req.FederatedCredentials, &p.Deletes: req.Deletes,
	} {
		if from != nil {
			*to = time.Duration(*from)
		}
	}
	if err := s.cfg.Directory.SetPropagation(p); err != nil {
		return nil, err
	}
	return s.propagation(r)
}

func (s *Server) listLimits(*http.Request) (any, error) { return s.cfg.Limits.List(), nil }

func (s *Server) setLimit(r *http.Request) (any, error) {
	var l limit.Limit
	if err := decode(r, &l); err != nil {
		return nil, err
	}
	if err := s.cfg.Limits.Put(l); err != nil {
		return nil, err
	}
	return l, nil
}

func (s *Server) clearLimits(r *http.Request) (any, error) {
	vault := r.URL.Query().Get("vault")
	if s.cfg.Limits.Clear(vault) == 0 && vault != "" {
		return nil, directory.Refuse(directory.ErrNotFound, "vault %q has no limit of its own", vault)
	}
	return nil, nil
}

// ClockState is what the emulator believes the time to be.
type ClockState struct {
	Now time.Time `json:"now"`
	// Offset is how far the clock is ahead of the machine's.
	Offset fault.Duration `json:"offset"`
}

// ClockRequest sets the clock.
type ClockRequest struct {
	Offset fault.Duration `json:"offset"`
}

func (s *Server) clock(*http.Request) (any, error) {
	return ClockState{s.cfg.Clock.Now().UTC(), fault.Duration(s.cfg.Clock.Offset())}, nil
}

func (s *Server) setClock(r *http.Request) (any, error) {
	var req ClockRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	s.cfg.Clock.SetOffset(time.Duration(req.Offset))
	return s.clock(r)
}

// counters answers with the totals by caller, vault and operation of the
// requests that the query parameters select.
func (s *Server) counters(r *http.Request) (any, error) {
	query := r.URL.Query()
	f := record.Filter{Service: query.Get("service"), Vault: query.Get("vault"), Operation: query.Get("operation"), Identity: query.Get("identity")}
	if text := query.Get("status"); text != "" {
		status, err := strconv.Atoi(text)
		if err != nil {
			return nil, directory.Refuse(directory.ErrInvalid, "the status %q is not a number", text)
		}
		f.Status = status
	}
	return record.Totals(s.cfg.Counters.Select(f)), nil
}
