// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
	"github.com/vaultferry/vaultferry/internal/emulator"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

// azure is the emulator in this process: what the providers ask goes to its handler without a socket, so that thousands of connections of TLS do not
// take the machine. It counts what it is asked.
type azure struct {
	emulator *emulator.Emulator
	latency  time.Duration
	client   admin.Client

	vault, tokens, discovery, refused atomic.Int64
}

// asked are requests to Azure.
type asked struct {
	// Refused are those of the others that were answered with a status of 400 or above.
	Vault, Tokens, Discovery, Refused int64
}

func (a asked) since(b asked) asked {
	return asked{a.Vault - b.Vault, a.Tokens - b.Tokens, a.Discovery - b.Discovery, a.Refused - b.Refused}
}

// newAzure makes an emulator that knows the state; keep is a directory for its file.
func newAzure(keep string, state []byte, latency time.Duration) (*azure, error) {
	file := filepath.Join(keep, "azure.yaml")
	if err := os.WriteFile(file, state, 0o600); err != nil {
		return nil, err
	}
	e, err := emulator.New(emulator.Config{
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", StateFile: file, Audit: io.Discard, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	return &azure{emulator: e, latency: latency, client: admin.Client{URL: "http://" + e.Addresses().Admin, HTTP: http.DefaultClient}}, nil
}

// RoundTrip implements [http.RoundTripper].
func (a *azure) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
		_ = request.Body.Close()
	}
	if err := sleep(request.Context(), a.latency); err != nil {
		return nil, err
	}
	served := httptest.NewRequestWithContext(request.Context(), request.Method, request.URL.RequestURI(), bytes.NewReader(body))
	served.Host, served.Header = request.URL.Host, request.Header.Clone()
	recorder := httptest.NewRecorder()
	a.emulator.ServeHTTP(recorder, served)
	answer := recorder.Result()
	answer.Request = request
	a.count(request, answer.StatusCode)
	return answer, nil
}

func (a *azure) count(request *http.Request, status int) {
	switch {
	case strings.HasPrefix(request.URL.Host, lab.Vault+"."):
		a.vault.Add(1)
	case request.Method == http.MethodPost:
		a.tokens.Add(1)
	default:
		a.discovery.Add(1)
	}
	if status >= http.StatusBadRequest {
		a.refused.Add(1)
	}
}

func (a *azure) asked() asked {
	return asked{a.vault.Load(), a.tokens.Load(), a.discovery.Load(), a.refused.Load()}
}

// set writes a new version of an object.
func (a *azure) set(ctx context.Context, i int, generation string) error {
	value := lab.ValueOf(i, generation)
	return a.client.Do(ctx, http.MethodPut, "/vaults/"+lab.Vault+"/secrets/"+lab.Object(i), admin.SecretRequest{Value: &value}, nil)
}

// sleep waits, or returns why it did not.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
