// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"regexp"
	"slices"
)

// blot is what a pattern finds, and what stands in its place.
type blot struct {
	pattern *regexp.Regexp
	instead string
}

const (
	// sensitive is the end of a name whose value is a credential. Secrets and volumes have such names, too: a word that is common in the names of
	// Kubernetes' objects counts only behind an underscore, which those names cannot have.
	sensitive = `(?:client[_-]?secret|password|passwd|passphrase|client_?assertion|(?:api|access|account|storage|private)[_-]?key|_secret|_token|(?:\b|_)(?:pwd|sig))`
	// variable is an environment variable, or a header, whose name sounds like a credential, as an object that has a name and a value.
	variable = `\bname` + equals + quote + `?[\w./-]*(?:secret|passw|passphrase|pwd|token|key|credential|connection_?string|sas)[\w./-]*` + quote + `?[,\s]+` + quote + `?value`

	// quote may be within a text that is itself in quotes.
	quote = `(?:\\*["'])`
	// equals stands between a name and its value. To a value without quotes, a colon has to follow the name in quotes at once: in kubelet's
	// `volume "db-password" : rpc error` there is no such pair.
	equals      = quote + `?[ \t]*[=:][ \t]*`
	equalsClose = `(?:` + quote + `[ \t]*=[ \t]*|` + quote + `:[ \t]*|[ \t]*[=:][ \t]*)` + quote + `?`
)

// credentials are what tokens, keys and passwords look like in text.
var credentials = slices.Concat(
	[]blot{
		{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), "[private key redacted]"},
		// The value of a line of YAML ends where the line does, whatever spaces it has.
		{regexp.MustCompile(`(?im)^([ \t]*(?:- )?["']?[\w.-]*` + sensitive + `["']?:[ \t]+)[^\s"'|>\[][^\n]*`), "${1}[redacted]"},
	},
	valuesOf(sensitive, `[^\s"'&;,\\]|\\[^\s"']`),
	valuesOf(variable, `[^\n"',}\\]|\\[^\s"']`),
	[]blot{
		{regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?`), "[token redacted]"},
		{regexp.MustCompile(`(?i)\b(bearer) +[A-Za-z0-9._~+/=-]{8,}`), "$1 [redacted]"},
		{regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://[^\s/:@]+:)[^\s/@]+@`), "${1}[redacted]@"},
	},
)

// valuesOf finds the values behind a name: in the quotes of a text that is itself in quotes, in double quotes, in single quotes, and without quotes,
// made of the given characters.
func valuesOf(name, unquoted string) []blot {
	return []blot{
		{regexp.MustCompile(`(?i)(` + name + equals + `\\")(?:[^"\\]|\\[^"\\]|\\\\(?:\\["\\]|[^"\\]))*\\"`), `${1}[redacted]\"`},
		{regexp.MustCompile(`(?is)(` + name + equals + `")(?:[^"\\]|\\.)*"`), `${1}[redacted]"`},
		{regexp.MustCompile(`(?i)(` + name + equals + `')(?:[^']|'')*'`), `${1}[redacted]'`},
		{regexp.MustCompile(`(?i)(` + name + equalsClose + `)(?:` + unquoted + `)+`), "${1}[redacted]"},
	}
}

// Redact blots out what looks like a credential.
func Redact(content []byte) []byte {
	for _, c := range credentials {
		content = c.pattern.ReplaceAll(content, []byte(c.instead))
	}
	return content
}
