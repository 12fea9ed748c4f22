// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Options are what an installation decides for all workloads.
type Options struct {
	Keys Keys
	// AutoReloadAll reloads workloads that carry no annotation.
	AutoReloadAll bool
	// ExactAuto makes auto mean what it means to Reloader for classes and synced Secrets too: restart at every change.
	ExactAuto bool
	// IgnoredWorkloads and IgnoredSources are kinds that are left alone.
	IgnoredWorkloads map[WorkloadKind]bool
	IgnoredSources   map[SourceKind]bool
	// OnCreate and OnDelete make the creation and the deletion of a source changes.
	OnCreate, OnDelete bool
}

// Effect is what a change of a source does to a workload.
type Effect string

// The effects.
const (
	// Nothing: the workload does not reload for the source, or sees the change itself.
	Nothing Effect = "nothing"
	// Restart: the pods are replaced.
	Restart Effect = "restart"
	// Tell: the running pods are told.
	Tell Effect = "signal"
)

// Skip is why nothing happens, in one word: a metric label.
type Skip string

// The reasons.
const (
	SkipWorkloadKind Skip = "workload_kind_ignored"
	SkipSourceKind   Skip = "resource_kind_ignored"
	SkipIgnored      Skip = "resource_ignored"
	SkipExcluded     Skip = "resource_excluded"
	SkipNotAsked     Skip = "no_annotation"
	SkipNever        Skip = "never"
	SkipFollows      Skip = "follows_changes"
	SkipNotRunning   Skip = "not_running"
	SkipOwned        Skip = "owned_by_cronjob"
)

// Decision is what a change of one source does to one workload.
type Decision struct {
	Effect Effect
	// Keys are the keys whose change matters; nil means the whole.
	Keys []string
	// Container tells of the change in its environment, with the strategy env-vars.
	Container string
	// Skip is set where the effect is Nothing.
	Skip Skip
	// Why says in plain words why.
	Why string
}

func nothing(skip Skip, format string, args ...any) Decision {
	return Decision{Effect: Nothing, Skip: skip, Why: fmt.Sprintf(format, args...)}
}

// Decide says what a change of source s with content c does to workload w. It depends on nothing else. The order is Reloader's: kind of
// workload, source ignored, source excluded, named, searched, auto. Then the mode says whether the workload needs anything.
func Decide(w *Workload, s Source, c Content, o Options) Decision {
	switch {
	case o.IgnoredWorkloads[w.Kind]:
		return nothing(SkipWorkloadKind, "%ss are ignored by this controller", w.Kind)
	case o.IgnoredSources[s.Kind]:
		return nothing(SkipSourceKind, "%ss are ignored by this controller", s.Kind)
	case w.OwnedByCronJob:
		return nothing(SkipOwned, "the Job belongs to a CronJob, whose next Job reads the new content")
	case c.Ignored:
		return nothing(SkipIgnored, "%s carries %s=true", s, o.Keys.Ignore)
	}
	r := o.Keys.rulesFor(w, s.Kind)
	if slices.Contains(r.exclude, s.Name) {
		return nothing(SkipExcluded, "%s excludes %s", o.Keys.Exclude[s.Kind], s)
	}
	if r.mode == Never {
		return nothing(SkipNever, "%s is never", ModeAnnotation)
	}
	asked, keys := r.asks(w, s, c, o)
	if asked == "" {
		return nothing(SkipNotAsked, "no annotation asks for reloads at changes of %s", s)
	}
	return r.effect(w, s, asked, keys, r.modeFor(asked, s, c, o))
}

// askedBy is what makes a workload reload for a source.
type askedBy string

const (
	byName   askedBy = "named list"
	bySearch askedBy = "search"
	byAuto   askedBy = "auto"
	byMode   askedBy = "mode"
)

// asks returns what makes the workload reload for the source, "" if nothing does, and the keys that count.
func (r *rules) asks(w *Workload, s Source, c Content, o Options) (askedBy, []string) {
	if named, keys := r.match(s.Name); named {
		return byName, keys
	}
	unset := r.auto == "" && r.typed == ""
	switch {
	case !w.Refers(s):
		return "", nil
	case r.search && c.Matched:
		return bySearch, nil
	case r.autoOn || r.typedOn:
		return byAuto, nil
	case r.mode != "" && !o.Keys.optsIn(w):
		return byMode, nil
	case unset && o.AutoReloadAll:
		return byAuto, nil
	}
	return "", nil
}

// modeFor returns the mode that is in force: the workload's own; else what is exact for Reloader, except that auto restarts for classes and
// the Secrets that mirror them only when that is needed.
func (r *rules) modeFor(asked askedBy, s Source, c Content, o Options) Mode {
	mirrors := s.Kind == Class || c.Synced
	switch {
	case r.mode != "":
		return r.mode
	case asked != byName && mirrors && !o.ExactAuto:
		return WhenStale
	}
	return Always
}

func (r *rules) effect(w *Workload, s Source, asked askedBy, keys []string, mode Mode) Decision {
	d := Decision{Effect: Restart, Keys: keys, Container: w.target(s)}
	switch {
	case mode == Always:
		d.Why = fmt.Sprintf("it reloads at every change of %s (%s)", s, asked)
		return d
	case w.Kind == CronJob:
		return nothing(SkipNotRunning, "the CronJob's next Job reads the new content of %s", s)
	case w.Kind == Job && !w.Active:
		return nothing(SkipNotRunning, "the Job does not run")
	case mode == Signal:
		d.Effect, d.Why = Tell, fmt.Sprintf("%s is signal", ModeAnnotation)
		return d
	}
	stale := w.stale(s)
	if len(stale) == 0 {
		if !w.Refers(s) {
			return nothing(SkipFollows, "no container reads %s at its start", s)
		}
		return nothing(SkipFollows, "its containers read files of %s, which follow changes", s)
	}
	d.Keys = narrowed(staleKeys(stale), keys)
	if d.Keys != nil && len(d.Keys) == 0 {
		return nothing(SkipFollows, "no container reads the named keys of %s at its start", s)
	}
	d.Why = why(stale, s)
	return d
}

// stale returns the uses of a source that do not see a change.
func (w *Workload) stale(s Source) []Reference {
	var list []Reference
	for _, r := range w.References {
		if r.Source == s && !r.Follows() {
			list = append(list, r)
		}
	}
	return list
}

// staleKeys returns the keys that are read at start, nil for all.
func staleKeys(stale []Reference) []string {
	keys := map[string]bool{}
	for _, r := range stale {
		if r.Key == "" {
			return nil
		}
		keys[r.Key] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

// narrowed returns the keys that are in both lists, where nil stands for all.
func narrowed(keys, to []string) []string {
	switch {
	case to == nil:
		return keys
	case keys == nil:
		return to
	}
	both := []string{}
	for _, key := range keys {
		if slices.Contains(to, key) {
			both = append(both, key)
		}
	}
	return both
}

func why(stale []Reference, s Source) string {
	var uses []string
	for _, r := range stale {
		use := fmt.Sprintf("container %s by %s", r.Container, r.Way)
		if !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
	}
	return fmt.Sprintf("%s is read at start only: %s", s, strings.Join(uses, ", "))
}
