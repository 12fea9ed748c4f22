// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Mode is what a change does to a workload.
type Mode string

// The modes. The zero value is not set: Reloader's annotations decide.
const (
	// WhenStale restarts if a container holds on to what it read at its start.
	WhenStale Mode = "when-stale"
	// Always restarts at every change of what the workload reloads for.
	Always Mode = "always"
	// Never restarts.
	Never Mode = "never"
	// Signal tells the running pods instead of replacing them.
	Signal Mode = "signal"
)

// Problem is an annotation with a value that is not possible.
type Problem struct{ Annotation, Value, Allowed string }

// String names annotation, value and what is allowed.
func (p Problem) String() string {
	return fmt.Sprintf("annotation %s has the value %q, which is ignored; allowed: %s", p.Annotation, p.Value, p.Allowed)
}

// pattern is one item of a named list: whole names, and the one key that counts where the item has a slash.
type pattern struct {
	name *regexp.Regexp
	key  string
}

// rules are what the annotations of a workload say about one kind of source.
type rules struct {
	mode            Mode
	auto, typed     string
	autoOn, typedOn bool
	named           []pattern
	search          bool
	exclude         []string
	fromPodTemplate bool
	problems        []Problem
}

// rulesFor reads the annotations of w that matter for sources of the given kind.
//
// The annotations of the pod template replace those of the workload if the workload has none of these: the named list of the kind, auto, the
// auto of the kind, search. The exclusion list and the annotations of Vaultferry's own fall back one by one.
func (k Keys) rulesFor(w *Workload, kind SourceKind) rules {
	var r rules
	from := w.Annotations
	if !hasAny(from, k.Named[kind], k.Auto, k.TypedAuto[kind], k.Search) && hasAny(w.TemplateAnnotations, k.Named[kind], k.Auto, k.TypedAuto[kind], k.Search) {
		from, r.fromPodTemplate = w.TemplateAnnotations, true
	}
	r.auto, r.autoOn = r.bool(k.Auto, from)
	r.typed, r.typedOn = r.bool(k.TypedAuto[kind], from)
	r.named = r.patterns(k.Named[kind], from)
	r.search = r.exactlyTrue(k.Search, from)
	for name := range strings.SplitSeq(w.annotation(k.Exclude[kind]), ",") {
		if name = strings.TrimSpace(name); name != "" {
			r.exclude = append(r.exclude, name)
		}
	}
	switch mode := Mode(w.annotation(ModeAnnotation)); mode {
	case "", WhenStale, Always, Never, Signal:
		r.mode = mode
	default:
		r.problem(ModeAnnotation, string(mode), "when-stale, always, never, signal")
	}
	return r
}

// optsIn reports whether any annotation of Reloader's says which sources the workload reloads for.
func (k Keys) optsIn(w *Workload) bool {
	keys := []string{k.Auto, k.Search}
	for _, kind := range SourceKinds() {
		keys = append(keys, k.TypedAuto[kind], k.Named[kind])
	}
	return hasAny(w.Annotations, keys...) || hasAny(w.TemplateAnnotations, keys...)
}

// Problems returns the annotations of w whose values are not possible, each once.
func (k Keys) Problems(w *Workload) []Problem {
	var list []Problem
	for _, kind := range SourceKinds() {
		r := k.rulesFor(w, kind)
		list = append(list, r.problems...)
	}
	_, more := k.PaceFor(w)
	list = append(list, more...)
	slices.SortFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Annotation, b.Annotation), cmp.Compare(a.Value, b.Value))
	})
	return slices.Compact(list)
}

func hasAny(annotations map[string]string, keys ...string) bool {
	for _, key := range keys {
		if annotations[key] != "" {
			return true
		}
	}
	return false
}

func (r *rules) problem(annotation, value, allowed string) {
	r.problems = append(r.problems, Problem{Annotation: annotation, Value: value, Allowed: allowed})
}

func (r *rules) bool(key string, from map[string]string) (text string, on bool) {
	text = from[key]
	if text == "" {
		return "", false
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		r.problem(key, text, `"true" or "false"`)
	}
	return text, on
}

func (r *rules) exactlyTrue(key string, from map[string]string) bool {
	value := from[key]
	if value != "" && value != "true" && value != "false" {
		r.problem(key, value, `"true" or "false"`)
	}
	return value == "true"
}

// patterns reads a comma-separated list of regular expressions for whole names. An item "name/key" counts for that key only.
func (r *rules) patterns(key string, from map[string]string) []pattern {
	var list []pattern
	for item := range strings.SplitSeq(from[key], ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, part, _ := strings.Cut(item, "/")
		// The group keeps a|b from being read as "begins with a, or ends with b".
		expression, err := regexp.Compile("^(?:" + name + ")$")
		if err != nil {
			r.problem(key, item, "names, or regular expressions for whole names, separated by commas; name/key for one key")
			continue
		}
		list = append(list, pattern{name: expression, key: part})
	}
	return list
}

// match returns whether the named list holds a source, and the keys that count: none for all of them.
func (r *rules) match(name string) (matched bool, keys []string) {
	for _, p := range r.named {
		if !p.name.MatchString(name) {
			continue
		}
		if p.key == "" {
			return true, nil
		}
		matched, keys = true, append(keys, p.key)
	}
	return matched, keys
}

// NamedOutright returns the sources that the named lists of w name in full, whether or not they are there. What an expression stands for is not known before it is
// there.
func (k Keys) NamedOutright(w *Workload) []Source {
	var list []Source
	for _, kind := range SourceKinds() {
		for item := range strings.SplitSeq(w.annotation(k.Named[kind]), ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(item), "/")
			if len(validation.IsDNS1123Subdomain(name)) == 0 {
				list = append(list, Source{kind, name})
			}
		}
	}
	return list
}

// Names reports whether w has a named list of any kind.
func (k Keys) Names(w *Workload) bool {
	for _, kind := range SourceKinds() {
		if w.annotation(k.Named[kind]) != "" {
			return true
		}
	}
	return false
}
