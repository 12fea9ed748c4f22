// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"cmp"
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// Strategy is how a pod template is made another.
type Strategy string

// The strategies, by their names in Reloader.
const (
	EnvVars     Strategy = "env-vars"
	Annotations Strategy = "annotations"
)

// emptySHA1 is Reloader's hash of no data.
const emptySHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

// VariableName returns the name of the variable that tells of a source with the strategy env-vars: STAKATER_<NAME>_<KIND>.
func VariableName(s Source) string {
	notAlphanumeric := regexp.MustCompile("[^A-Za-z0-9]+")
	return "STAKATER_" + strings.ToUpper(notAlphanumeric.ReplaceAllString(s.Name, "_")+"_"+string(s.Kind))
}

// reloadedFrom is the value of [LastReloadedFromAnnotation].
type reloadedFrom struct {
	Type          string   `json:"type"`
	Name          string   `json:"name"`
	Namespace     string   `json:"namespace"`
	Hash          string   `json:"hash"`
	ContainerRefs []string `json:"containerRefs"`
	ObservedAt    int64    `json:"observedAt"`
}

// Edit is a change of a workload object: annotations of the object, and what makes its pod template another.
type Edit struct {
	// Annotations of the object; an empty value removes one.
	Annotations map[string]string
	// TemplateAnnotations are set on the pod template.
	TemplateAnnotations map[string]string
	// Env are variables to set, by container. Unset are variables to remove.
	Env, Unset map[string]map[string]string
	// Paused, where it is not nil, is the new spec.paused.
	Paused *bool
}

// Template adds to the edit what makes the pod template of w another because of the changes.
func (e *Edit) Template(w *Workload, changes []Change, strategy Strategy, restartOnly bool, now time.Time) {
	if e.TemplateAnnotations == nil {
		e.TemplateAnnotations = map[string]string{}
	}
	if restartOnly {
		e.TemplateAnnotations[RestartedAtAnnotation] = now.UTC().Format(time.RFC3339)
		return
	}
	if strategy == EnvVars {
		if !e.variables(w, changes) {
			// Somebody has taken the template back to what it was with this content. The pods have to go all the same.
			e.TemplateAnnotations[RestartedAtAnnotation] = now.UTC().Format(time.RFC3339)
		}
		return
	}
	for _, c := range changes {
		hash := c.Content.SHA1
		if hash == "" {
			hash = c.Content.Hash
		}
		if c.Deleted {
			hash = emptySHA1
		}
		e.TemplateAnnotations[LastReloadedFromAnnotation] = encode(reloadedFrom{
			Type: strings.ToUpper(string(c.Source.Kind)), Name: c.Source.Name, Namespace: w.Namespace, Hash: hash,
			ContainerRefs: []string{c.Decision.Container}, ObservedAt: now.Unix(),
		})
	}
}

// variables sets the variables that tell of the changes. It reports whether one of them is another than the template has.
func (e *Edit) variables(w *Workload, changes []Change) (differs bool) {
	e.Env, e.Unset = map[string]map[string]string{}, map[string]map[string]string{}
	set := func(in map[string]map[string]string, container, name, value string) {
		if in[container] == nil {
			in[container] = map[string]string{}
		}
		in[container][name] = value
	}
	for _, c := range changes {
		name := VariableName(c.Source)
		hash, carries := w.Hashes[name]
		carrier := cmp.Or(w.Carriers[name], c.Decision.Container)
		differs = differs || c.Deleted || !carries || hash != c.Content.SHA1 || carrier != c.Decision.Container
		switch {
		case c.Deleted && carries:
			set(e.Unset, carrier, name, "")
		case c.Deleted:
			// There is nothing to remove, and the pods have to go all the same.
			set(e.Env, c.Decision.Container, name, emptySHA1)
		default:
			set(e.Env, c.Decision.Container, name, c.Content.SHA1)
		}
	}
	return differs
}

// StrategicPatch returns the edit as a strategic merge patch of exactly the object that w was read from: its uid and resourceVersion are
// preconditions, so that no edit is made twice.
func (e Edit) StrategicPatch(w *Workload) ([]byte, error) {
	metadata := map[string]any{"uid": w.UID, "resourceVersion": w.ResourceVersion}
	if len(e.Annotations) > 0 {
		metadata["annotations"] = values(e.Annotations)
	}
	body := map[string]any{"metadata": metadata}
	template := map[string]any{}
	if len(e.TemplateAnnotations) > 0 {
		template["metadata"] = map[string]any{"annotations": values(e.TemplateAnnotations)}
	}
	var containers []any
	for _, name := range w.Containers {
		var env []any
		for variable, value := range e.Env[name] {
			env = append(env, map[string]any{"name": variable, "value": value})
		}
		for variable := range e.Unset[name] {
			env = append(env, map[string]any{"name": variable, "$patch": "delete"})
		}
		if env != nil {
			containers = append(containers, map[string]any{"name": name, "env": env})
		}
	}
	if containers != nil {
		template["spec"] = map[string]any{"containers": containers}
	}
	spec := map[string]any{}
	if len(template) > 0 {
		spec["template"] = template
	}
	if e.Paused != nil {
		spec["paused"] = *e.Paused
	}
	if len(spec) > 0 {
		body["spec"] = spec
	}
	return json.Marshal(body)
}

// values returns annotations for a merge patch, in which null removes.
func values(annotations map[string]string) map[string]any {
	out := make(map[string]any, len(annotations))
	for key, value := range annotations {
		out[key] = value
		if value == "" {
			out[key] = nil
		}
	}
	return out
}
