// SPDX-License-Identifier: Apache-2.0

// Package secret holds secret material in a form that cannot print itself.
//
// Every byte fetched from a vault travels as a [Value]. fmt, log/slog, encoding/json and encoding/xml all render a
// Value as [Redacted], so a value reaches a log, an event or a status only through an explicit call to
// [Value.Reveal], which is easy to find in review.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// Redacted is what a Value prints as.
const Redacted = "[redacted]"

// Value is secret content. The zero Value is empty content. A Value shares the bytes it was made from; neither side may
// change them afterwards.
type Value struct {
	content []byte
}

// New returns a Value that holds content.
func New(content []byte) Value { return Value{content: content} }

// Reveal returns the content. It is the only way out: call it where the bytes are written or sent, and nowhere else.
func (v Value) Reveal() []byte { return v.content }

// Len returns the length of the content in bytes.
func (v Value) Len() int { return len(v.content) }

// Equal reports whether both values hold the same content, in time that depends on their length only.
func (v Value) Equal(other Value) bool {
	return subtle.ConstantTimeCompare(v.content, other.content) == 1
}

// String implements [fmt.Stringer] without telling the content.
func (Value) String() string { return Redacted }

// GoString implements [fmt.GoStringer] without telling the content.
func (Value) GoString() string { return Redacted }

// Format implements [fmt.Formatter], so that no verb (%x and %d included) reaches the content.
func (Value) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(Redacted)) }

// LogValue implements [slog.LogValuer].
func (Value) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements [encoding.TextMarshaler]; encoding/json and encoding/xml use it.
func (Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
