// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"encoding/json"
	"maps"
	"strings"
	"time"
)

// State is what a workload's pods are known to have read, in hashes: recorded when the workload is first seen, and with every restart, in the
// same write. It stands in [StateAnnotation], so that neither a restart of the controller nor a change while it is down is missed or repeated.
type State struct {
	// Key names the key of the hashes. Hashes of another key say nothing.
	Key string `json:"key"`
	// Sources is by kind and name, such as "Secret/app-db".
	Sources map[string]Seen `json:"sources,omitempty"`
}

// Seen is what is recorded of one source: only what the workload reads of it.
type Seen struct {
	// Absent says that the source was not there.
	Absent bool `json:"absent,omitempty"`
	// Hash is that of the whole, Parts are those of keys; a key that was not there has the hash "".
	Hash  string            `json:"hash,omitempty"`
	Parts map[string]string `json:"keys,omitempty"`
	// At is when the content of a class changed.
	At *time.Time `json:"at,omitempty"`
}

func stateKey(s Source) string { return string(s.Kind) + "/" + s.Name }

// ParseState reads [StateAnnotation]. What is not readable, or was made with another key, is as good as nothing: the workload is seen for
// the first time.
func ParseState(text, key string) State {
	var s State
	if json.Unmarshal([]byte(text), &s) != nil || s.Key != key {
		s = State{Key: key}
	}
	return s
}

// String returns the text of the annotation.
func (s State) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return "" // maps of strings and times of this century have no error
	}
	return string(text)
}

// List returns the sources that are recorded.
func (s State) List() []Source {
	list := make([]Source, 0, len(s.Sources))
	for key := range s.Sources {
		kind, name, _ := strings.Cut(key, "/")
		list = append(list, Source{SourceKind(kind), name})
	}
	return list
}

// equal compares two states.
func (s State) equal(other State) bool { return s.String() == other.String() }

// Assessment is what a source's content means against what is recorded.
type Assessment struct {
	// Next is what to record.
	Next Seen
	// Changed says that the pods have read something else.
	Changed bool
	// Deleted says that the change is that the source is gone.
	Deleted bool
}

// assess compares content with what is recorded. What is not recorded is seen for the first time: it is recorded, and no change, unless
// the pod template carries a hash of Reloader's that is of other content. Of a class only the mounts are seen: that there are none, or some again, is what
// its pods do, and neither its deletion nor its creation.
func assess(w *Workload, s Source, d Decision, c Content, seen Seen, known bool, o Options) Assessment {
	switch {
	case !known && !c.Present:
		return Assessment{Next: Seen{Absent: true}}
	case !known:
		hash, carries := w.Hashes[VariableName(s)]
		return Assessment{Next: newSeen(d, c), Changed: carries && c.SHA1 != "" && hash != c.SHA1}
	case !c.Present && (seen.Absent || !o.OnDelete || s.Kind == Class):
		// What is recorded stays: if the source comes back as it was, nothing has changed.
		return Assessment{Next: seen}
	case !c.Present:
		return Assessment{Next: Seen{Absent: true}, Changed: true, Deleted: true}
	case seen.Absent:
		return Assessment{Next: newSeen(d, c), Changed: o.OnCreate && s.Kind != Class}
	}
	return compare(seen, newSeen(d, c), c)
}

// compare holds what the workload reads now against what is recorded of it.
func compare(seen, next Seen, c Content) Assessment {
	changed := next.Hash != "" && seen.Hash != "" && next.Hash != seen.Hash
	for key, hash := range next.Parts {
		if was, recorded := seen.Parts[key]; recorded && was != hash {
			changed = true
		}
	}
	if changed && seen.At != nil && !c.At.After(*seen.At) {
		// A node that lags behind shows what was there before.
		return Assessment{Next: seen}
	}
	if !changed && seen.At != nil && next.Hash == seen.Hash {
		next.At = seen.At
	}
	return Assessment{Next: next, Changed: changed && !c.Fresh}
}

// newSeen returns the record of what the workload reads of a source.
func newSeen(d Decision, c Content) Seen {
	var seen Seen
	if !c.At.IsZero() {
		at := c.At.UTC()
		seen.At = &at
	}
	if d.Keys == nil {
		seen.Hash = c.Hash
		return seen
	}
	seen.Parts = make(map[string]string, len(d.Keys))
	for _, key := range d.Keys {
		seen.Parts[key] = c.Parts[key]
	}
	return seen
}

// Change is one source whose content the pods of a workload have not read.
type Change struct {
	Source   Source
	Decision Decision
	Content  Content
	Deleted  bool
}

// Plan is what is to be done with a workload now.
type Plan struct {
	// Changes are the sources that changed, in the order of their kinds and names. Empty: at most the state is to be recorded.
	Changes []Change
	// State is what to record, and Record whether it differs from what is recorded.
	State  State
	Record bool
	// Skipped counts the sources that the workload refers to and that do not restart it.
	Skipped map[Skip]int
}

// Effect is the strongest effect of the changes.
func (p Plan) Effect() Effect {
	effect := Nothing
	for _, c := range p.Changes {
		if c.Decision.Effect == Restart {
			return Restart
		}
		effect = c.Decision.Effect
	}
	return effect
}

// Known returns the content of a source of the workload's namespace. known is false where the controller cannot tell, since it may not
// see that kind: such sources are left as they are recorded.
type Known func(Source) (content Content, known bool)

// NewPlan compares what the pods of w have read, as recorded, with what is there. sources are those that w may reload for.
func NewPlan(w *Workload, sources []Source, recorded State, content Known, o Options) Plan {
	p := Plan{State: State{Key: recorded.Key, Sources: map[string]Seen{}}, Skipped: map[Skip]int{}}
	for _, s := range sources {
		seen, recordedBefore := recorded.Sources[stateKey(s)]
		c, known := content(s)
		if !known {
			if recordedBefore {
				p.State.Sources[stateKey(s)] = seen
			}
			continue
		}
		d := Decide(w, s, c, o)
		if d.Effect == Nothing {
			p.Skipped[d.Skip]++
			continue
		}
		a := assess(w, s, d, c, seen, recordedBefore, o)
		p.State.Sources[stateKey(s)] = a.Next
		if a.Changed {
			p.Changes = append(p.Changes, Change{Source: s, Decision: d, Content: c, Deleted: a.Deleted})
		}
	}
	if len(p.State.Sources) == 0 {
		p.State.Sources = nil
	}
	before := State{Key: recorded.Key, Sources: maps.Clone(recorded.Sources)}
	if len(before.Sources) == 0 {
		before.Sources = nil
	}
	p.Record = !p.State.equal(before)
	return p
}
