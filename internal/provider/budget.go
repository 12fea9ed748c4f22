// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"regexp/syntax"

	"go.yaml.in/yaml/v3"
)

// Limits of the text of objects, which anybody can write who may write a class, and which the provider of a node and the webhook parse: each
// bounds what a text can cost that a person has not written.
const (
	maxObjects = 10_000
	// maxObjectsText is in bytes. A Kubernetes object has 1.5 MiB at most, and 10,000 entries of three lines fit.
	maxObjectsText = 1 << 20
	// maxValues bounds the nodes of YAML, see [marks]. 10,000 entries with five fields each have as many; with more fields they are longer
	// than maxObjectsText.
	maxValues = 60_000
	// maxAliased bounds what aliases stand for, in bytes; each value counts as valueCost more.
	maxAliased = 1 << 20
	valueCost  = 16
	// maxSearched bounds how much is parsed again to find the lines of mistakes, in bytes: half a second for the densest text.
	maxSearched = 512 << 10
	// maxPatterns bounds what the regular expressions of namePattern cost, see [patternCost]: 5 MiB compiled, and 50 ms to read them. Hundreds of
	// ordinary ones are below it.
	maxPatterns = 500_000
)

// budget is how much work a text may still make.
type budget struct{ aliased, searched, patterns int }

func newBudget() *budget {
	return &budget{aliased: maxAliased, searched: maxSearched, patterns: maxPatterns}
}

// resolve follows an alias. Once aliases have stood for too much, they stand for nothing.
func (b *budget) resolve(node *yaml.Node) *yaml.Node {
	if node == nil || node.Kind != yaml.AliasNode {
		return node
	}
	// The parser lets no alias stand for an alias.
	node = node.Alias
	if !b.tooMuch() {
		b.aliased -= cost(node)
	}
	for i := 0; i < len(node.Content) && !b.tooMuch(); i++ {
		b.aliased -= cost(node.Content[i])
	}
	if b.tooMuch() {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: node.Line}
	}
	return node
}

// cost is what it costs to look at a node without its children; at a text, which may be YAML itself, to parse it.
func cost(node *yaml.Node) int {
	return valueCost*(1+marks(node.Value)) + len(node.Value)
}

// tooMuch reports whether aliases have stood for too much.
func (b *budget) tooMuch() bool { return b.aliased < 0 }

// search reports whether so many bytes may be parsed again.
func (b *budget) search(bytes int) bool {
	if b.searched < bytes {
		return false
	}
	b.searched -= bytes
	return true
}

// pattern parses a regular expression and reports whether it may be compiled.
func (b *budget) pattern(text string) (allowed bool, err error) {
	if b.patterns < 0 {
		return false, nil
	}
	const perByte = 50 // \pL has 1,300 limits of ranges
	b.patterns -= perByte * len(text)
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return true, err
	}
	b.patterns -= patternCost(parsed, maxPatterns)
	return b.patterns >= 0, nil
}

// patternCost is about how large an expression becomes when its repetitions are written out: four for each step of the program, one for each limit of a
// range. It looks no further than limit.
func patternCost(e *syntax.Regexp, limit int) int {
	const step = 4
	size := step + len(e.Rune)
	if e.Op == syntax.OpLiteral {
		size = step * (1 + len(e.Rune))
	}
	for _, sub := range e.Sub {
		if size < limit {
			size += step + patternCost(sub, limit)
		}
	}
	if e.Op == syntax.OpRepeat {
		size *= max(e.Max, e.Min, 1)
	}
	return min(size, limit+1)
}
