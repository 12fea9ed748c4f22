// SPDX-License-Identifier: Apache-2.0

// Package reason is the closed list of ways in which Vaultferry can fail.
//
// One [Error] is made at the place that knows the cause. The gRPC status, the event on the pod, the metric label and the
// text a person reads are all derived from it, so that they cannot disagree. The text is one line: the reason's name,
// what happened in the user's words, and what to do next.
package reason

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain is the domain of the google.rpc.ErrorInfo detail that carries a reason between driver and provider.
const Domain = "vaultferry"

// textKey names the ErrorInfo metadata entry that holds the error's line without any prefix of the gRPC message.
const textKey = "text"

// Reason is one way to fail.
type Reason struct {
	// Name is a CamelCase word: event reason, condition reason and metric label.
	Name string
	// Code is the gRPC status code that kubelet or the driver receives.
	Code codes.Code
}

// Error is a failure with its cause known. Make it with [New].
type Error struct {
	Reason Reason
	// Message says what happened, in the user's words, on one line.
	Message string
	// Next says what to do about it, on one line; it may be empty where the message already says so.
	Next string

	prefix string
	cause  error
}

// New returns an error for reason r. next is the next step for the person who reads the error; format and args say what
// happened. An argument for %w is kept as the cause; its text is flattened to one line like all the rest.
func New(r Reason, next, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Reason: r, Message: OneLine(wrapped.Error()), Next: OneLine(next), cause: wrapped}
}

// Error implements error: "<Name>: <message>; <next step>".
func (e *Error) Error() string {
	text := e.Message
	if !strings.HasPrefix(text, e.Reason.Name+": ") {
		text = e.Reason.Name + ": " + text
	}
	if e.Next != "" {
		text += "; " + e.Next
	}
	return e.prefix + text
}

// Behind returns e with prefix before its whole text, for texts that users search for and that say where e happened.
func (e *Error) Behind(prefix string) *Error {
	prefixed := *e
	prefixed.prefix = prefix + e.prefix
	prefixed.cause = e
	return &prefixed
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus makes the error travel over gRPC with its reason (google.golang.org/grpc/status.FromError uses it).
func (e *Error) GRPCStatus() *status.Status { return e.Status("") }

// Status returns the gRPC status of e, its message preceded by prefix. The reason and the text without the prefix are attached
// as a google.rpc.ErrorInfo detail, from which [From] restores the error on the other side.
func (e *Error) Status(prefix string) *status.Status {
	plain := status.New(e.Reason.Code, prefix+e.Error())
	detailed, err := plain.WithDetails(&errdetails.ErrorInfo{
		Reason:   e.Reason.Name,
		Domain:   Domain,
		Metadata: map[string]string{textKey: e.Error()},
	})
	if err != nil {
		// Only an OK status refuses details; the plain one still tells everything to a person.
		return plain
	}
	return detailed
}

// From returns the Error inside err: itself, wrapped, or carried in a gRPC status by [Error.Status].
func From(err error) (*Error, bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e, true
	}
	s, ok := status.FromError(err)
	if !ok {
		return nil, false
	}
	for _, detail := range s.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != Domain {
			continue
		}
		text := info.GetMetadata()[textKey]
		if text == "" {
			text = s.Message()
		}
		return &Error{Reason: Reason{Name: info.GetReason(), Code: s.Code()}, Message: OneLine(text), cause: err}, true
	}
	return nil, false
}

// Of returns the name of err's reason for a metric label: "" for nil, [Unexpected]'s name where no reason is known.
func Of(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := From(err); ok {
		return e.Reason.Name
	}
	return Unexpected.Name
}

// OneLine folds every run of white space, line breaks included, into one space.
func OneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
