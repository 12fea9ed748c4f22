// SPDX-License-Identifier: Apache-2.0

// Package docs reads the documentation for users, so that tests can hold it to the code: the links, the flags, the values and the
// examples that it names.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Page is one page, in Markdown.
type Page struct {
	// Path is the page's path in the repository.
	Path string
	// Text is its Markdown.
	Text string
}

// Block is one fenced code block of a page.
type Block struct {
	// Page is the page's path, Line the number of the block's first line in it.
	Page string
	Line int
	// Language is what stands behind the fence, for example "yaml"; Text is what stands within.
	Language, Text string
}

// Pages returns the README, the pages of docs/ and those of the chart and the commands. root is the repository's directory.
func Pages(root string) ([]Page, error) {
	paths := []string{"README.md", "ARCHITECTURE.md", "charts/vaultferry/README.md", "cmd/azure-emulator/README.md", "test/cluster/README.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		inside, err := filepath.Rel(root, path)
		paths = append(paths, filepath.ToSlash(inside))
		return err
	})
	if err != nil {
		return nil, err
	}
	pages := make([]Page, 0, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return nil, err
		}
		pages = append(pages, Page{Path: path, Text: string(text)})
	}
	return pages, nil
}

// Blocks returns the page's fenced code blocks.
func (p Page) Blocks() []Block {
	var blocks []Block
	p.walk(func(Line) {}, func(b Block) { blocks = append(blocks, b) })
	return blocks
}

// Line is one line of a page.
type Line struct {
	Number int
	Text   string
}

// Prose returns the lines outside of code blocks.
func (p Page) Prose() []Line {
	var lines []Line
	p.walk(func(l Line) { lines = append(lines, l) }, func(Block) {})
	return lines
}

func (p Page) walk(prose func(Line), code func(Block)) {
	var block *Block
	number := 0
	for line := range strings.Lines(p.Text) {
		number++
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && block == nil:
			block = &Block{Page: p.Path, Line: number + 1, Language: strings.TrimSpace(fence)}
		case isFence:
			code(*block)
			block = nil
		case block != nil:
			block.Text += line
		default:
			prose(Line{Number: number, Text: strings.TrimRight(line, "\n")})
		}
	}
}

// Where names the block for messages.
func (b Block) Where() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }
