// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"net/http"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
)

func (s *Server) status(*http.Request) (any, error) {
	st := s.cfg.Status()
	settings := s.cfg.Directory.Settings()
	st.Login = settings.Names.PreferredLogin()
	st.VaultSuffixes = settings.Names.VaultSuffixes()
	st.TenantID, st.SubscriptionID = settings.Tenants[0].ID, settings.SubscriptionID
	st.Vaults = len(s.cfg.Directory.Vaults())
	st.ManagedIdentities = len(s.cfg.Directory.Principals(directory.ManagedIdentity))
	st.Applications = len(s.cfg.Directory.Principals(directory.Application))
	st.RoleAssignments = len(s.cfg.Directory.Assignments(func(directory.Assignment) bool { return true }))
	st.Faults, st.Limits = len(s.cfg.Faults.List()), len(s.cfg.Limits.List())
	st.EventGridNamespaces = s.cfg.Events.Namespaces()
	st.ClockOffset = fault.Duration(s.cfg.Clock.Offset())
	return st, nil
}

func (s *Server) reload(*http.Request) (any, error) {
	if err := s.cfg.Reload(); err != nil {
		return nil, directory.Refuse(directory.ErrInvalid, "%v", err)
	}
	return nil, nil
}

func (s *Server) rotateKey(r *http.Request) (any, error) {
	return nil, s.cfg.RotateKey(r.URL.Query().Get("forget") == "true")
}

func (s *Server) listFaults(*http.Request) (any, error) { return s.cfg.Faults.List(), nil }

func (s *Server) setFault(r *http.Request) (any, error) {
	var f fault.Fault
	if err := decode(r, &f); err != nil {
		return nil, err
	}
	return s.cfg.Faults.Add(f)
}

func (s *Server) clearFaults(r *http.Request) (any, error) {
	id := r.URL.Query().Get("id")
	if s.cfg.Faults.Clear(id) == 0 && id != "" {
		return nil, directory.Refuse(directory.ErrNotFound, "there is no fault %q", id)
	}
	return nil, nil
}

func (s *Server) listRequests(*http.Request) (any, error) { return s.cfg.Counters.List(), nil }

func (s *Server) resetRequests(*http.Request) (any, error) {
	s.cfg.Counters.Reset()
	return nil, nil
}

// audit answers with the remembered audit and sign-in records as JSON lines,
// and goes on as they come if follow is asked for.
func (s *Server) audit(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.cfg.Stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := http.NewResponseController(w)
	for seen := 0; ; {
		lines, total := s.cfg.Audit.Since(seen)
		for _, line := range lines {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
		seen = total
		if err := out.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) || r.URL.Query().Get("follow") != "true" {
			return
		}
		if s.cfg.Audit.Wait(ctx, seen) != nil {
			return
		}
	}
}
