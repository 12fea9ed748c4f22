// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"testing"
)

// BenchmarkParseClass parses the parameters of a class with five secrets, as each publish and each refresh does.
//
//	go test -run '^$' -bench ParseClass ./internal/provider
func BenchmarkParseClass(b *testing.B) {
	attributes := validAttributes()
	attributes["objects"] = "array:\n"
	for i := range 5 {
		attributes["objects"] += fmt.Sprintf("  - |\n    objectName: secret-%d\n    objectType: secret\n    filePermission: \"0400\"\n", i)
	}
	known := &clouds{fallback: "AzurePublicCloud"}
	b.ReportAllocs()
	for b.Loop() {
		if c, err := parseClass(attributes, nil, known); err != nil || len(c.objects) != 5 {
			b.Fatal(len(c.objects), err)
		}
	}
}
