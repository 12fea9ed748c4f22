// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// maxProblemsText bounds the text of one error, in bytes. It holds the problems of any class that a person has written, and an event on a
// pod stays readable.
const maxProblemsText = 2000

// maxProblems bounds how many problems of a class are told one by one, and how many ignored names. The others are counted.
const maxProblems = 100

// Problem is one thing that is wrong with the parameters of a SecretProviderClass.
type Problem struct {
	// Reason is the way to fail that the provider would give it.
	Reason reason.Reason
	// Parameter is the key in spec.parameters; "" for what the driver sends.
	Parameter string
	// Index is the number of the entry of objects, from 0; -1 where the problem is not one entry's.
	Index int
	// Field is the name of the entry's field, such as objectType; "" where the problem is not one field's.
	Field string
	// Line is the line within the text of objects, from 1; 0 where there is none.
	Line int
	// Text says what is wrong and what would be right, on one line, with index and line where there are any: what the pod's event says.
	Text string

	// lead comes before Text in an error: what people search their events for.
	lead string
}

// Path is where the problem is, as in "spec.parameters.objects[1].objectType".
func (p Problem) Path() string {
	if p.Parameter == "" {
		return ""
	}
	path := "spec.parameters." + p.Parameter
	if p.Index >= 0 {
		path += fmt.Sprintf("[%d]", p.Index)
	}
	if p.Field != "" {
		path += "." + p.Field
	}
	return path
}

// problems collects what is wrong with a class, so that its author learns everything at once.
type problems struct {
	list []Problem
	// ignored are parameters and fields that mean nothing. They never were an error, but one of them may be a misspelt name.
	ignored []Problem
	// more and moreIgnored are how many there are beyond maxProblems.
	more, moreIgnored int
}

// add notes a problem of a parameter.
func (p *problems) add(r reason.Reason, parameter, format string, args ...any) {
	p.note(Problem{Reason: r, Parameter: parameter, Index: -1, Text: fmt.Sprintf(format, args...)})
}

// authLead comes before what keeps an identity of the given mode from being used, as people search for it.
func authLead(mode string) string { return "failed to build auth config for mode " + mode + ": " }

// addAuth notes a problem of a parameter without which the identity of a mode is not complete.
func (p *problems) addAuth(mode, parameter, format string, args ...any) {
	p.note(Problem{Reason: reason.ParameterInvalid, Parameter: parameter, Index: -1, Text: fmt.Sprintf(format, args...), lead: authLead(mode)})
}

// addObjects notes a problem of the whole of objects; line is 0 where it has no line of its own.
func (p *problems) addObjects(line int, format string, args ...any) {
	p.note(Problem{Reason: reason.ObjectsInvalid, Parameter: objectsKey, Index: -1, Line: line, Text: fmt.Sprintf(format, args...)})
}

// ignore notes a name that means nothing.
func (p *problems) ignore(problem Problem) {
	if p.ignoredEnough() {
		return
	}
	problem.Reason, problem.Text = reason.ParameterInvalid, reason.OneLine(problem.Text)
	p.ignored = append(p.ignored, problem)
}

func (p *problems) note(problem Problem) {
	if p.full() {
		return
	}
	problem.Text = reason.OneLine(problem.Text)
	p.list = append(p.list, problem)
}

// full counts a problem that there is no room for, and reports whether that is so: nobody needs to describe it then.
func (p *problems) full() bool {
	if len(p.list) < maxProblems {
		return false
	}
	p.more++
	return true
}

// ignoredEnough is full for ignored names.
func (p *problems) ignoredEnough() bool {
	if len(p.ignored) < maxProblems {
		return false
	}
	p.moreIgnored++
	return true
}

// join takes over the problems of a part.
func (p *problems) join(part problems) {
	p.list, p.ignored = append(p.list, part.list...), append(p.ignored, part.ignored...)
	p.more, p.moreIgnored = p.more+part.more, p.moreIgnored+part.moreIgnored
}

// told returns the problems, and the ignored names, each with one at the end that stands for those beyond maxProblems. Only objects can have so many.
func (p *problems) told() (list, ignored []Problem) {
	rest := func(r reason.Reason, format string, n int) Problem {
		return Problem{Reason: r, Parameter: objectsKey, Index: -1, Text: fmt.Sprintf(format, n)}
	}
	list, ignored = p.list, p.ignored
	if p.more > 0 {
		list = append(slices.Clip(list), rest(reason.ObjectsInvalid, "and %d more mistakes: correct these first", p.more))
	}
	if p.moreIgnored > 0 {
		ignored = append(slices.Clip(ignored), rest(reason.ParameterInvalid, "and %d more unknown names that have no effect", p.moreIgnored))
	}
	return list, ignored
}

// err returns nil if there is no problem. The first one decides the reason.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	var text strings.Builder
	for i, problem := range p.list {
		if i > 0 && text.Len()+len(problem.lead)+len(problem.Text) > maxProblemsText {
			fmt.Fprintf(&text, "; and %d more", len(p.list)-i+p.more)
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(problem.lead + problem.Text)
	}
	return reason.New(p.list[0].Reason, "", "%s", text.String())
}

// didYouMean names the candidate that a misspelt word most likely means.
func didYouMean(word string, candidates []string) string {
	if near := reason.Nearest(word, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// quote shows a value of the class's author in a message, bounded.
func quote(value string) string { return fmt.Sprintf("%q", shorten(value)) }

// shorten bounds a value that is shown in a message.
func shorten(value string) string {
	const longest = 80
	n := 0
	for at := range value {
		if n++; n > longest {
			// What is broken UTF-8 is not copied.
			return string([]rune(value[:at])) + "…"
		}
	}
	return value
}
