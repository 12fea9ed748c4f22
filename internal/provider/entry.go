// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// object is one entry of objects, checked.
type object struct {
	index int
	// place begins every message about the entry.
	place string
	item  keyvault.Item
	// path is the file's path in the volume.
	path string
	// mode is the file's mode where the entry sets one.
	mode *fs.FileMode
}

var fieldNames = []string{
	"objectName", "objectAlias", "objectType", "objectVersion", "objectVersionHistory", "objectFormat", "objectEncoding",
	"filePermission",
}

var (
	objectTypes = []string{"secret", "key", "cert"}
	objectChars = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}$`)
	octal       = regexp.MustCompile(`^[0-7]{1,4}$`)
)

// entry reads the fields of one entry.
type entry struct {
	index  int
	fields map[string]*yaml.Node
	// above is what to add to an inner line to get the line of the parameter; exact tells whether that is possible at all.
	above int
	exact bool
	// start is the line of the entry itself.
	start   int
	unknown []string
	found   *problems
	failed  bool
}

// parseEntry reads one entry; false if it has a problem.
func parseEntry(index int, node *yaml.Node, found *problems) (object, bool) {
	e := &entry{index: index, fields: map[string]*yaml.Node{}, start: node.Line, exact: true, found: found}
	node = resolve(node)
	if node.Kind == yaml.ScalarNode {
		// The text of a literal block begins on the line after its "|"; other styles fold lines.
		e.above, e.exact = node.Line, node.Style == yaml.LiteralStyle
		inner, bad := parseYAML(node.Value)
		if bad != nil {
			e.malformed(e.line(bad.line), "%s", bad.text)
			return object{}, false
		}
		node = inner
	}
	if node == nil || node.Kind != yaml.MappingNode {
		e.malformed(e.start, "an entry should hold objectName and objectType")
		return object{}, false
	}
	e.readFields(node)
	parsed := e.object()
	return parsed, !e.failed
}

// readFields sorts a mapping's keys.
func (e *entry) readFields(node *yaml.Node) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], resolve(node.Content[i+1])
		switch {
		case !isField(key.Value):
			e.unknown = append(e.unknown, key.Value)
		case e.fields[key.Value] != nil:
			e.malformed(e.line(key.Line), "%s is set twice", key.Value)
		case value.Kind != yaml.ScalarNode:
			e.malformed(e.line(key.Line), "%s should be a single value", key.Value)
		default:
			e.fields[key.Value] = value
		}
	}
}

func isField(name string) bool {
	for _, known := range fieldNames {
		if name == known {
			return true
		}
	}
	return false
}

// line turns a line of the entry's text into one of the parameter.
func (e *entry) line(inner int) int {
	if !e.exact {
		return e.start
	}
	return e.above + inner
}

// malformed notes that the entry cannot be read.
func (e *entry) malformed(line int, format string, args ...any) {
	e.failed = true
	e.found.add(reason.ObjectsInvalid, "unmarshal failed for keyVaultObjects at index %d, error: line %d of spec.parameters.objects: %s",
		e.index, line, fmt.Sprintf(format, args...))
}

// wrong notes a problem with a field.
func (e *entry) wrong(field, format string, args ...any) {
	e.failed = true
	e.found.add(reason.ObjectsInvalid, "%s: %s", e.place(field), fmt.Sprintf(format, args...))
}

// place says where a field is.
func (e *entry) place(field string) string {
	line := e.start
	if node := e.fields[field]; node != nil {
		line = e.line(node.Line)
	}
	return fmt.Sprintf("objects index %d, line %d", e.index, line)
}

// text returns a field's trimmed value.
func (e *entry) text(field string) string {
	node := e.fields[field]
	if node == nil || isNull(node) {
		return ""
	}
	return strings.TrimSpace(node.Value)
}

// object checks the fields.
func (e *entry) object() object {
	name, alias := e.text("objectName"), e.text("objectAlias")
	version := e.text("objectVersion")
	if strings.EqualFold(version, "latest") {
		version = ""
	}
	if version != "" && !objectChars.MatchString(version) {
		e.wrong("objectVersion", "objectVersion %s is not a version id", quote(version))
	}
	e.checkType()
	e.checkName(name)
	e.checkRendering()
	file := alias
	if file == "" {
		file = name
	}
	if name != "" || alias != "" {
		e.checkFileName(file)
	}
	return object{
		index: e.index,
		place: e.place("objectAlias"),
		item:  keyvault.Item{Type: e.text("objectType"), Name: name, Version: version},
		path:  file,
		mode:  e.mode(),
	}
}

func (e *entry) checkType() {
	switch kind := e.text("objectType"); kind {
	case keyvault.TypeSecret:
	case "key", "cert":
		e.wrong("objectType", "objectType %s: key and cert are not supported yet in this version, only secret", kind)
	default:
		e.wrong("objectType", "objectType is %s: Invalid vaultObjectTypes. Should be secret, key, or cert%s",
			quote(kind), didYouMean(kind, objectTypes))
	}
}

func (e *entry) checkName(name string) {
	switch {
	case name == "" && e.text("objectAlias") == "":
		e.wrong("objectName", "objectName is missing, file name must not be empty%s", e.misspelt("objectName"))
	case name == "":
		e.wrong("objectName", "objectName is missing%s", e.misspelt("objectName"))
	case !objectChars.MatchString(name):
		e.wrong("objectName", "objectName %s cannot be in a vault: names are 1 to 127 letters, digits and hyphens", quote(name))
	}
}

// misspelt points at an unknown key that looks like field.
func (e *entry) misspelt(field string) string {
	for _, key := range e.unknown {
		if reason.Nearest(key, fieldNames) == field {
			return fmt.Sprintf(" (%s is unknown, did you mean %s?)", quote(key), field)
		}
	}
	return ""
}

// checkRendering accepts what leaves a secret's value as it is.
func (e *entry) checkRendering() {
	if text := e.text("objectVersionHistory"); text != "" {
		switch n, err := strconv.ParseInt(text, 10, 32); {
		case err != nil:
			e.wrong("objectVersionHistory", "objectVersionHistory %s is not a number", quote(text))
		case n > 1:
			e.wrong("objectVersionHistory", "objectVersionHistory above 1 is not supported yet in this version")
		}
	}
	switch format := e.text("objectFormat"); strings.ToLower(format) {
	case "", "pem":
	case "pfx":
		e.wrong("objectFormat", "objectFormat pfx is not supported yet in this version, only pem")
	default:
		e.wrong("objectFormat", "invalid objectFormat: %s, should be PEM or PFX%s", format, didYouMean(format, []string{"pem", "pfx"}))
	}
	switch encoding := e.text("objectEncoding"); strings.ToLower(encoding) {
	case "", "utf-8":
	case "hex", "base64":
		e.wrong("objectEncoding", "objectEncoding %s is not supported yet in this version, only utf-8", encoding)
	default:
		e.wrong("objectEncoding", "invalid objectEncoding: %s, should be hex, base64 or utf-8%s", encoding,
			didYouMean(encoding, []string{"hex", "base64", "utf-8"}))
	}
}

// checkFileName applies the rules of the driver, so that they speak here with the entry's line.
func (e *entry) checkFileName(name string) {
	field := "objectAlias"
	if e.fields[field] == nil {
		field = "objectName"
	}
	switch {
	case path.IsAbs(name):
		e.wrong(field, "file name must be a relative path: %s", quote(name))
	case strings.Contains(name, ".."):
		e.wrong(field, "file name must not contain '..': %s", quote(name))
	case path.Clean(name) != name || name == "." || strings.ContainsAny(name, "\x00\n\r"):
		e.wrong(field, "file name %s should be plain, like dir/file", quote(name))
	case tooLong(name):
		e.wrong(field, "file name %s is longer than a file system allows", quote(name))
	}
}

func tooLong(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > 255 {
			return true
		}
	}
	return len(name) > 4096
}

// mode returns the entry's own mode, nil if it has none.
func (e *entry) mode() *fs.FileMode {
	text := e.text("filePermission")
	if text == "" {
		return nil
	}
	bits, err := strconv.ParseUint(text, 8, 32)
	if err != nil || !octal.MatchString(text) || bits > 0o777 {
		e.wrong("filePermission", `filePermission %s is not an octal mode like "0400"`, quote(text))
		return nil
	}
	mode := fs.FileMode(bits)
	return &mode
}
