// SPDX-License-Identifier: Apache-2.0

package webhook

import "strconv"

// operation is one of a JSON patch (RFC 6902). There are only "add" and "replace": nothing of a pod is ever removed.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// appendTo returns the operations that append values to the list at path, which holds have elements.
func appendTo[T any](path string, have int, values []T) []operation {
	if len(values) == 0 {
		return nil
	}
	if have == 0 {
		return []operation{{Op: "add", Path: path, Value: values}}
	}
	operations := make([]operation, 0, len(values))
	for _, value := range values {
		operations = append(operations, operation{Op: "add", Path: path + "/-", Value: value})
	}
	return operations
}

// prependTo returns the operations that put values before the have elements of the list at path.
func prependTo[T any](path string, have int, values []T) []operation {
	if have == 0 {
		return appendTo(path, have, values)
	}
	operations := make([]operation, 0, len(values))
	for i, value := range values {
		operations = append(operations, operation{Op: "add", Path: element(path, i), Value: value})
	}
	return operations
}

func element(path string, index int) string { return path + "/" + strconv.Itoa(index) }
