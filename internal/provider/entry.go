// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// entry reads the fields of one entry.
type entry struct {
	index  int
	fields map[string]*yaml.Node
	// above is what to add to an inner line to get the line of the parameter; exact tells whether that is possible at all.
	above int
	exact bool
	// start is the line of the entry itself.
	start int
	// unknown are the keys that are no field.
	unknown []*yaml.Node
	left    *budget
	found   *problems
	// failed tells that the entry has a problem, told that a problem of a field has named the object already.
	failed, told bool
}

// parseEntry reads one entry; false if it has a problem.
func parseEntry(index int, node *yaml.Node, left *budget, found *problems) (object, bool) {
	e := &entry{index: index, fields: map[string]*yaml.Node{}, start: node.Line, exact: true, left: left, found: found}
	node = left.resolve(node)
	if node.Kind == yaml.ScalarNode {
		// The text of a literal block begins on the line after its "|"; other styles fold lines.
		e.above, e.exact = node.Line, node.Style == yaml.LiteralStyle
		inner, bad := parseYAML(node.Value)
		if bad != nil {
			if e.failed = true; !found.full() {
				e.malformed(e.line(bad.line(left)), "%s", bad.says)
			}
			return object{}, false
		}
		node = inner
	}
	if node == nil || node.Kind != yaml.MappingNode {
		e.malformed(e.start, "an entry should hold objectName and objectType")
		return object{}, false
	}
	e.readFields(node)
	e.ignore()
	parsed := e.object()
	return parsed, !e.failed
}

// readFields sorts a mapping's keys.
func (e *entry) readFields(node *yaml.Node) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], e.left.resolve(node.Content[i+1])
		switch {
		case !isField(key.Value):
			e.unknown = append(e.unknown, key)
		case e.fields[key.Value] != nil:
			e.malformed(e.line(key.Line), "%s is set twice", key.Value)
		case value.Kind != yaml.ScalarNode && key.Value != "tags":
			e.malformed(e.line(key.Line), "%s should be a single value", key.Value)
		default:
			e.fields[key.Value] = value
		}
	}
}

func isField(name string) bool { return slices.Contains(fieldNames, name) }

// line turns a line of the entry's text into one of the parameter.
func (e *entry) line(inner int) int {
	if !e.exact {
		return e.start
	}
	return e.above + inner
}

// malformed notes that the entry cannot be read.
func (e *entry) malformed(line int, format string, args ...any) {
	if e.failed = true; e.found.full() {
		return
	}
	e.found.note(Problem{
		Reason: reason.ObjectsInvalid, Parameter: objectsKey, Index: e.index, Line: line,
		Text: fmt.Sprintf("unmarshal failed for keyVaultObjects at index %d, error: line %d of spec.parameters.objects: %s",
			e.index, line, fmt.Sprintf(format, args...)),
	})
}

// wrong notes a problem with a field.
func (e *entry) wrong(field, format string, args ...any) {
	e.wrongFor(reason.ObjectsInvalid, field, format, args...)
}

// wrongFor is wrong with a reason of its own.
func (e *entry) wrongFor(r reason.Reason, field, format string, args ...any) {
	if e.failed = true; e.found.full() {
		return
	}
	lead := ""
	if !e.told {
		// Once for an entry is enough.
		lead = fmt.Sprintf("failed to get objectType:%s, objectName:%s, objectVersion:%s: ",
			shorten(e.text("objectType")), shorten(e.text("objectName")), shorten(e.text("objectVersion")))
	}
	e.told = true
	e.found.note(Problem{
		Reason: r, Parameter: objectsKey, Index: e.index, Field: field, Line: e.lineOf(field),
		Text: e.place(field) + ": " + fmt.Sprintf(format, args...), lead: lead,
	})
}

// place says where a field is.
func (e *entry) place(field string) string {
	return fmt.Sprintf("objects index %d, line %d", e.index, e.lineOf(field))
}

// lineOf is the line of a field; that of the entry where it does not have the field.
func (e *entry) lineOf(field string) int {
	if node := e.fields[field]; node != nil {
		return e.line(node.Line)
	}
	return e.start
}

// text returns a field's trimmed value.
func (e *entry) text(field string) string {
	node := e.fields[field]
	if node == nil || node.Kind != yaml.ScalarNode || isNull(node) {
		return ""
	}
	return strings.TrimSpace(node.Value)
}

// ignore notes the keys of the entry that mean nothing.
func (e *entry) ignore() {
	for _, key := range e.unknown {
		if e.found.ignoredEnough() {
			continue
		}
		line := e.line(key.Line)
		e.found.ignore(Problem{
			Parameter: objectsKey, Index: e.index, Field: shorten(key.Value), Line: line,
			Text: fmt.Sprintf("objects index %d, line %d: %s is unknown and has no effect%s",
				e.index, line, quote(key.Value), didYouMean(key.Value, fieldNames)),
		})
	}
}
