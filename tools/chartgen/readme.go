// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	tableBegin = "<!-- values: begin (generated from values.yaml) -->\n"
	tableEnd   = "<!-- values: end -->"

	// longestDefault is the number of bytes up to which a default is shown in
	// the table.
	longestDefault = 60
)

// replaceTable returns text with a fresh table of values between its two
// marks.
func replaceTable(text []byte, values []value) ([]byte, error) {
	before, rest, found := bytes.Cut(text, []byte(tableBegin))
	_, after, foundEnd := bytes.Cut(rest, []byte(tableEnd))
	if !found || !foundEnd {
		return nil, errors.New("the marks of the table of values are missing")
	}

	var out bytes.Buffer
	out.Write(before)
	out.WriteString(tableBegin)
	out.WriteString("| value | default | what it does |\n|---|---|---|\n")
	if err := writeRows(&out, values); err != nil {
		return nil, err
	}
	out.WriteString(tableEnd)
	out.Write(after)

	return out.Bytes(), nil
}

func writeRows(out *bytes.Buffer, values []value) error {
	for _, v := range values {
		if len(v.Children) > 0 {
			if err := writeRows(out, v.Children); err != nil {
				return err
			}
			continue
		}
		def, err := defaultText(v)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "| `%s` | %s | %s |\n", v.Path, def, strings.ReplaceAll(v.Description, "|", `\|`))
	}

	return nil
}

// defaultText returns the default as JSON in backquotes, or a pointer to
// values.yaml where it is too long for a table.
func defaultText(v value) (string, error) {
	var decoded any
	if err := v.Default.Decode(&decoded); err != nil {
		return "", fmt.Errorf("decoding the default of %q: %w", v.Path, err)
	}
	text, err := json.Marshal(decoded)
	if err != nil {
		return "", fmt.Errorf("encoding the default of %q: %w", v.Path, err)
	}
	if len(text) > longestDefault {
		return "see `values.yaml`", nil
	}

	return "`" + string(text) + "`", nil
}
