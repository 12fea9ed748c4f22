// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// column is a column of a table: its title and the path of its field.
type column struct{ title, path string }

func (c *client) checkOutput() error {
	if !slices.Contains([]string{"json", "table", "tsv"}, c.output) {
		return usagef("--output %q: use json, table or tsv", c.output)
	}
	return nil
}

// show prints an answer of the admin API.
func (c *client) show(w io.Writer, v any, columns []column) error {
	if c.query != "" {
		found, ok := pick(v, c.query)
		if !ok {
			return usagef("--query %q: the answer has no such field (a path of field names such as properties.vaultUri)", c.query)
		}
		v, columns = found, nil
	}
	switch c.output {
	case "table":
		return table(w, rows(v), columns)
	case "tsv":
		return tsv(w, rows(v))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// pick follows a path of field names, through every entry of a list.
func pick(v any, path string) (any, bool) {
	if list, ok := v.([]any); ok {
		picked := []any{}
		for _, entry := range list {
			one, ok := pick(entry, path)
			if !ok {
				return nil, false
			}
			picked = append(picked, one)
		}
		return picked, true
	}
	first, rest, more := strings.Cut(path, ".")
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	v, ok = fields[first]
	if !ok || !more {
		return v, ok
	}
	return pick(v, rest)
}

func rows(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

func table(w io.Writer, rows []any, columns []column) error {
	if len(columns) == 0 && len(rows) > 0 {
		columns = scalarColumns(rows[0])
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var titles, lines []string
	for _, c := range columns {
		titles, lines = append(titles, c.title), append(lines, strings.Repeat("-", len(c.title)))
	}
	fmt.Fprintln(tw, strings.Join(titles, "\t"))
	fmt.Fprintln(tw, strings.Join(lines, "\t"))
	for _, row := range rows {
		var cells []string
		for _, c := range columns {
			cell := row
			if c.path != "" {
				cell, _ = pick(row, c.path)
			}
			cells = append(cells, text(cell))
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	return tw.Flush()
}

// scalarColumns are the plain fields of an object, as az makes its tables.
func scalarColumns(row any) []column {
	fields, ok := row.(map[string]any)
	if !ok {
		return []column{{"Result", ""}}
	}
	var columns []column
	for _, name := range keys(fields) {
		if plain(fields[name]) {
			columns = append(columns, column{strings.ToUpper(name[:1]) + name[1:], name})
		}
	}
	return columns
}

// tsv prints the plain fields of each object in the order of their names, as az
// does, or the value itself if it is no object.
func tsv(w io.Writer, rows []any) error {
	for _, row := range rows {
		cells := []string{}
		if fields, ok := row.(map[string]any); ok {
			for _, name := range keys(fields) {
				if plain(fields[name]) {
					cells = append(cells, text(fields[name]))
				}
			}
		} else {
			cells = append(cells, text(row))
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return nil
}

func keys(fields map[string]any) []string {
	names := []string{}
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func plain(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}
