// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"cmp"
	"slices"

	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// Severity says what a finding means for the object.
type Severity string

// The severities.
const (
	// Error: it will be refused, or does not do what it says.
	Error Severity = "error"
	// Warning: it works, or may work, and deserves a look.
	Warning Severity = "warning"
)

// Finding is one mistake.
type Finding struct {
	Severity Severity
	Reason   reason.Reason
	// Field is where, as the user typed it: spec.parameters.objects[2].objectName.
	Field string
	// Line is the line in the file, from 1; 0 where there is no file.
	Line int
	// Message says what is wrong, and Next what to do, each on one line; Next may be empty where the message says so already.
	Message, Next string

	// objectsLine is the line within spec.parameters.objects, from 1; 0 for none.
	objectsLine int
}

// Text is the finding as a pod's event tells it, without the reason: message and next step.
func (f Finding) Text() string {
	if f.Next == "" {
		return f.Message
	}
	return f.Message + "; " + f.Next
}

func found(severity Severity, field string, err *reason.Error) Finding {
	return Finding{Severity: severity, Reason: err.Reason, Field: field, Message: err.Message, Next: err.Next}
}

// without removes what the annotations say to ignore.
func without(findings []Finding, annotations map[string]string) []Finding {
	return slices.DeleteFunc(findings, func(f Finding) bool { return classrule.Ignored(annotations, f.Reason) })
}

// Sort orders findings by line, then field.
func Sort(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Line, b.Line) })
}

// Failed reports whether one of the findings is an error.
func Failed(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Error })
}
