// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"slices"
	"time"
)

// Propagation is how long changes made while the emulator runs take to count.
type Propagation struct {
	RoleAssignments, FederatedCredentials, Deletes time.Duration
}

// knob is a setting that a state file declares and that can be changed at run
// time. A reload overrides the change only if the file says something new.
type knob[T comparable] struct{ declared, current T }

func (k *knob[T]) declare(value T) {
	if value != k.declared {
		k.current = value
	}
	k.declared = value
}

// SetPropagation changes how long changes take to count. Changes that were made
// before keep their times.
func (d *Directory) SetPropagation(p Propagation) error {
	if p.RoleAssignments < 0 || p.FederatedCredentials < 0 || p.Deletes < 0 {
		return Refuse(ErrInvalid, "propagation times must not be negative")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.propagation.current = p
	return nil
}

// grants are what a state declared.
type grants struct {
	assignments []Assignment
	credentials map[string]FederatedCredential
}

func (f FederatedCredential) key(p *Principal) string {
	return p.ObjectID + "\x00" + f.Name + "\x00" + f.Issuer + "\x00" + f.Subject + "\x00" + f.Audience
}

// settle sets from when on the declared grants count: at once for those of the
// first state, as before for those that were there before, and later for new
// ones. Those that are gone count a while longer.
func (d *Directory) settle(before grants) {
	if !d.started {
		return
	}
	now := d.now()
	for i := range d.assignments {
		a := &d.assignments[i]
		at := slices.IndexFunc(before.assignments, func(old Assignment) bool { return old.Name == a.Name })
		switch {
		case at >= 0:
			a.Created, a.effective = before.assignments[at].Created, before.assignments[at].effective
			before.assignments = slices.Delete(before.assignments, at, at+1)
		case a.declared:
			a.effective = now.Add(d.propagation.current.RoleAssignments)
		}
	}
	for _, gone := range before.assignments {
		d.fade(gone)
	}
	for _, p := range d.principals {
		for i := range p.Credentials {
			f := &p.Credentials[i]
			if !f.declared {
				continue
			}
			if old, ok := before.credentials[f.key(p)]; ok {
				f.Effective = old.Effective
			} else {
				f.Effective = now.Add(d.propagation.current.FederatedCredentials)
			}
		}
	}
}

// fade keeps a withdrawn assignment for as long as the withdrawal takes.
func (d *Directory) fade(a Assignment) {
	now := d.now()
	d.fading = slices.DeleteFunc(d.fading, func(old Assignment) bool { return !now.Before(old.ended) })
	if delay := d.propagation.current.RoleAssignments; delay > 0 {
		a.ended = now.Add(delay)
		d.fading = append(d.fading, a)
	}
}

func (a Assignment) counts(now time.Time) bool {
	return !now.Before(a.effective) && (a.ended.IsZero() || now.Before(a.ended))
}
