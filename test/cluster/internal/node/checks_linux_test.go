// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestChecks(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	no := func(context.Context) error { return errors.New("not yet") }
	for name, tc := range map[string]struct {
		check func(context.Context) error
		want  string // "" is yes
	}{
		"listens":                 {listens("tcp", server.Listener.Addr().String()), ""},
		"listens no more":         {listens("tcp", closed.Addr().String()), "refused"},
		"healthy":                 {healthy(server.URL + "/healthz"), ""},
		"sick":                    {healthy(server.URL + "/other"), "503"},
		"both":                    {both(listens("tcp", server.Listener.Addr().String()), healthy(server.URL+"/healthz")), ""},
		"the first of both":       {both(no, healthy(server.URL+"/healthz")), "not yet"},
		"the second of both":      {both(healthy(server.URL+"/healthz"), no), "not yet"},
		"nobody at a closed port": {healthy("https://" + closed.Addr().String()), "refused"},
	} {
		err := tc.check(t.Context())
		if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}
