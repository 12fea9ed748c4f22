// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
)

// The rules of the terminal:
//
// What the user asked for goes to standard output. Progress, notes and errors go to standard error, in lower case and without a period at the end.
// Colours and lines that are written over appear only on a terminal. A colour never says what a word does not say too. NO_COLOR
// (https://no-color.org) and TERM=dumb turn colours off, CLICOLOR_FORCE turns them on in a pipe, and --color wins over all.

// mark is how something does, with its symbol and colour.
type mark struct{ symbol, word, color string }

// The marks.
var (
	markOK      = mark{"✓", "ok", "32"}
	markWarn    = mark{"‼", "warning", "33"}
	markBroken  = mark{"×", "broken", "31"}
	markUnknown = mark{"?", "not checked", "2"}
)

// painter writes for one stream.
type painter struct{ on bool }

func (a *app) checkColor() error {
	if values := []string{"auto", "always", "never"}; !slices.Contains(values, a.color) {
		return usagef("--color %q: use auto, always or never%s", a.color, didYouMean(a.color, values))
	}
	return nil
}

// painter returns how to write to w.
func (a *app) painter(w io.Writer) painter {
	switch {
	case a.color == "always":
		return painter{true}
	case a.color == "never", a.getenv("NO_COLOR") != "":
		return painter{false}
	case a.getenv("CLICOLOR_FORCE") != "" && a.getenv("CLICOLOR_FORCE") != "0":
		return painter{true}
	}
	return painter{a.terminal(w) && a.getenv("TERM") != "dumb"}
}

// in returns text in a colour (an SGR parameter).
func (p painter) in(color, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (p painter) bold(text string) string { return p.in("1", text) }
func (p painter) dim(text string) string  { return p.in("2", text) }

// mark returns the coloured symbol.
func (p painter) mark(m mark) string { return p.in(m.color, m.symbol) }

// note writes one line for the person to standard error.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, a.name+": "+format+"\n", args...)
}
