// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
)

// attributesOfFive are what kubelet and the driver send for a class with five secrets.
func attributesOfFive() map[string]string {
	attributes := validCall().attributes
	attributes["csi.storage.k8s.io/pod.uid"] = "6b3f1f0c-0d0a-4a3e-9d3b-5c1d2e3f4a5b"
	attributes["csi.storage.k8s.io/ephemeral"] = "true"
	attributes["objects"] = "array:\n"
	for i := range 5 {
		attributes["objects"] += fmt.Sprintf("  - |\n    objectName: secret-%d\n    objectType: secret\n    filePermission: \"0400\"\n", i)
	}
	return attributes
}

// BenchmarkParseClass parses the parameters of a class with five secrets: as the first mount does, and as later publishes and refreshes do.
//
//	go test -run '^$' -bench ParseClass ./internal/provider
func BenchmarkParseClass(b *testing.B) {
	attributes := attributesOfFive()
	known := &clouds{fallback: "AzurePublicCloud"}
	for _, tc := range []struct {
		name  string
		lists *objectLists
	}{{"first", nil}, {"again", newObjectLists(maxLists, maxListsBytes)}} {
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c, err := parseClass(attributes, nil, known, tc.lists); err != nil || len(c.objects) != 5 {
					b.Fatal(len(c.objects), err)
				}
			}
		})
	}
}

// BenchmarkMountFromMemory is a whole Mount call of a class with five secrets when token and secrets are in memory, without gRPC.
//
//	go test -run '^$' -bench MountFromMemory ./internal/provider
func BenchmarkMountFromMemory(b *testing.B) {
	tokens, err := entra.New(entra.Config{Transport: azure{}})
	if err != nil {
		b.Fatal(err)
	}
	reader, err := keyvault.New(keyvault.Config{Transport: azure{}})
	if err != nil {
		b.Fatal(err)
	}
	server, err := New(Config{
		Endpoint: "unix:///unused.sock", Objects: keyvault.NewCache(reader, keyvault.CacheConfig{Window: time.Hour}),
		Session: func(l entra.Login) keyvault.TokenSource { return tokens.Session(l) },
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)), //nolint:sloglint // making the line's text is a part of the call
	})
	if err != nil {
		b.Fatal(err)
	}
	request := mountCall{attributes: attributesOfFive(), permission: "420"}.request()
	if _, err := server.Mount(b.Context(), request); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if answer, err := server.Mount(b.Context(), request); err != nil || len(answer.GetFiles()) != 5 {
			b.Fatal(len(answer.GetFiles()), err)
		}
	}
}

// azure is a network in which Entra ID has a token for everybody and every vault has every secret.
type azure struct{}

func (azure) RoundTrip(r *http.Request) (*http.Response, error) {
	base := "https://" + r.URL.Host
	var body string
	switch {
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		base += "/" + strings.Split(r.URL.Path, "/")[1]
		body = fmt.Sprintf(`{"authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token","issuer":"%[1]s/v2.0"}`, base)
	case path.Base(r.URL.Path) == "token":
		body = `{"token_type":"Bearer","expires_in":86400,"access_token":"t"}`
	default:
		body = fmt.Sprintf(`{"value":"x","id":"%s/secrets/%s/%s"}`, base, strings.Split(r.URL.Path, "/")[2], version)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}
