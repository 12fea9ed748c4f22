// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/reason"
)

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// badYAML is a text that is no YAML.
type badYAML struct {
	text string
	// says is what the parser says, without its line; own is that line, from 1, or 0.
	says string
	own  int
}

var yamlPosition = regexp.MustCompile(`^line (\d+): `)

// parseYAML returns the document's root; nil for an empty document.
func parseYAML(text string) (*yaml.Node, *badYAML) {
	if marks(text) > maxValues {
		return nil, &badYAML{says: fmt.Sprintf("more than %d values: spread the objects over several classes", maxValues)}
	}
	var document yaml.Node
	err := yaml.Unmarshal([]byte(text), &document)
	if err == nil {
		if len(document.Content) == 0 {
			return nil, nil
		}
		return document.Content[0], nil
	}
	bad := &badYAML{text: text, says: strings.TrimPrefix(err.Error(), "yaml: ")}
	if at := yamlPosition.FindStringSubmatch(bad.says); at != nil {
		bad.own, _ = strconv.Atoi(at[1]) // digits
	}
	bad.says = reason.OneLine(yamlPosition.ReplaceAllString(bad.says, ""))
	return nil, bad
}

// marks counts what begins a value of YAML, in flow style or in block style, and anything else that looks the same: the parser makes two nodes of
// one at most, and a node takes a hundred times the space of its text.
func marks(text string) int {
	n := 0
	for i := range len(text) {
		switch text[i] {
		case '[', '{', ',', ':', '?':
			n++
		case '-':
			if i+1 == len(text) || strings.IndexByte(" \t\r\n", text[i+1]) >= 0 {
				n++
			}
		}
	}
	return n
}

// line finds the line that makes the text invalid: the one after the longest run of lines that is valid. The parser's own number is often
// that of the enclosing block, or absent; it is the answer where the budget does not allow the search.
func (b *badYAML) line(left *budget) int {
	if b.text == "" || !left.search(len(b.text)) {
		return max(b.own, 1)
	}
	ends := lineEnds(b.text)
	// All that begins with the lines that the parser has seen fails as they did.
	failing := linesRead(b.text)
	valid := 0
	works := func(n int) (ok, allowed bool) {
		if !left.search(ends[n-1]) {
			return false, false
		}
		var document yaml.Node
		return yaml.Unmarshal([]byte(b.text[:ends[n-1]]), &document) == nil, true
	}
	// Line by line upwards, and by halves from where that gets too dear: halves can take a value of several lines for the mistake.
	const halves = 16
	for failing-valid > 1 {
		n := failing - 1
		if left.searched < halves*len(b.text) {
			n = (failing + valid) / 2
		}
		ok, allowed := works(n)
		switch {
		case !allowed:
			return max(b.own, 1)
		case ok:
			valid = n
		default:
			failing = n
		}
	}
	return valid + 1
}

// lineEnds returns where each line of a text ends.
func lineEnds(text string) []int {
	var ends []int
	for at := 0; at < len(text); {
		at += len(firstLine(text[at:]))
		ends = append(ends, at)
	}
	return ends
}

// firstLine returns the first line of a text, with its end.
func firstLine(text string) string {
	line, _, more := strings.Cut(text, "\n")
	if more {
		return text[:len(line)+1]
	}
	return line
}

// linesRead returns how many lines of a text the parser reads until it fails.
func linesRead(text string) int {
	lines := &lineReader{rest: text}
	var document yaml.Node
	_ = yaml.NewDecoder(lines).Decode(&document) // it is known to fail
	return lines.begun
}

// lineReader gives its text away line by line.
type lineReader struct {
	rest  string
	begun int
	inner bool
}

func (r *lineReader) Read(buffer []byte) (int, error) {
	if r.rest == "" {
		return 0, io.EOF
	}
	if !r.inner {
		r.begun++
	}
	n := copy(buffer, firstLine(r.rest))
	r.inner = r.rest[n-1] != '\n'
	r.rest = r.rest[n:]
	return n, nil
}
