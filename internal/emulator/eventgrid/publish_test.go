// SPDX-License-Identifier: Apache-2.0

package eventgrid

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheckEvent(t *testing.T) {
	const valid = `{"id":"1","source":"/s","type":"t","specversion":"1.0","subject":"x","time":"2026-01-31T00:00:00Z","data":{"a":1}}`
	for name, tt := range map[string]struct{ old, new, want string }{
		"valid":         {"", "", ""},
		"extension":     {`"id"`, `"ext":1,"id"`, ""},
		"no data":       {`,"data":{"a":1}`, "", ""},
		"binary data":   {`"data":{"a":1}`, `"data_base64":"AAEC"`, ""},
		"no object":     {valid, `[]`, "it must be a JSON object"},
		"null":          {valid, `null`, "id is required"},
		"id":            {`"id":"1",`, "", "id is required"},
		"id of a type":  {`"id":"1"`, `"id":1`, "it must be a JSON object whose attributes are texts"},
		"source":        {`"/s"`, `""`, "source is required"},
		"type":          {`"type":"t",`, "", "type is required"},
		"specversion":   {`"1.0"`, `"0.3"`, "specversion must be 1.0"},
		"time":          {"2026-01-31T00:00:00Z", "yesterday", "time must be a time of RFC 3339"},
		"data and data": {`"data"`, `"data_base64":"AAEC","data"`, "data and data_base64 exclude each other"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkEvent(json.RawMessage(strings.Replace(valid, tt.old, tt.new, 1)))
			if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestParseRoute(t *testing.T) {
	for path, want := range map[string][3]string{
		"/topics/t:publish":                          {"SendEvents", "t", ""},
		"/topics/t/eventsubscriptions/s:receive":     {"ReceiveEvents", "t", "s"},
		"/Topics/T/eventSubscriptions/S:Receive":     {"ReceiveEvents", "T", "S"},
		"/topics/t/eventsubscriptions/s:acknowledge": {"AcknowledgeEvents", "t", "s"},
		"/topics/t/eventsubscriptions/s:release":     {"ReleaseEvents", "t", "s"},
		"/topics/t/eventsubscriptions/s:reject":      {"RejectEvents", "t", "s"},
		"/topics/t/eventsubscriptions/s:renewLock":   {"RenewEventLocks", "t", "s"},
		"/topics/t/eventsubscriptions/s":             {"Unknown"},
		"/topics/t/eventsubscriptions/:receive":      {"Unknown"},
		"/topics//eventsubscriptions/s:receive":      {"Unknown"},
		"/topics/t/eventsubscriptions/s:publish":     {"Unknown"},
		"/topics/t/other/s:receive":                  {"Unknown"},
		"/topics/t:receive":                          {"Unknown"},
		"/topics/:publish":                           {"Unknown"},
		"/topic/t:publish":                           {"Unknown"},
		"/":                                          {"Unknown"},
	} {
		r := parseRoute(path)
		if got := [3]string{r.operation, r.topicName, r.subscriptionName}; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if (r.serve == nil) != (want[0] == "Unknown") || (r.action == "") != (want[0] == "Unknown") {
			t.Errorf("%s: %+v", path, r)
		}
	}
}
