// SPDX-License-Identifier: Apache-2.0

package lab

import "testing"

func TestSamples(t *testing.T) {
	text := []byte(`# TYPE apiserver_request_total counter
apiserver_request_total{code="200",resource="pods",subresource="",verb="GET"} 12
apiserver_request_total{code="200",resource="pods",subresource="status",verb="PATCH"} 1e+03
apiserver_request_total_other 7
plain 2.5
`)
	got := Samples(text, "apiserver_request_total")
	if len(got) != 2 || Sum(got) != 1012 || got[0].Label("resource") != "pods" || got[1].Label("subresource") != "status" || got[0].Label("source") != "" {
		t.Fatalf("%+v", got)
	}
	if got := Samples(text, "plain"); Sum(got) != 2.5 {
		t.Fatalf("%+v", got)
	}
}
