// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// endless is a body that begins in a way that promises more and never ends. It counts what is read of it.
type endless struct {
	start io.Reader
	read  *atomic.Int64
}

func (e endless) Read(p []byte) (int, error) {
	n, err := e.start.Read(p)
	if errors.Is(err, io.EOF) {
		n, err = len(p), nil
		copy(p, strings.Repeat("x", len(p)))
	}
	e.read.Add(int64(n))
	return n, err
}

func (endless) Close() error { return nil }

// However long an answer is, what is read of it is bounded, and it is read once: trying again would not make it shorter.
func TestOfAnAnswerWithoutEndOnlySoMuchIsRead(t *testing.T) {
	const object, page = 256<<10 + 1, 1<<20 + 1
	var read atomic.Int64
	reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		given := answer(r, 200, "")
		start := `{"value":"`
		if r.URL.Query().Has("$skiptoken") || strings.Count(r.URL.Path, "/") == 1 {
			start = `{"value":[{"id":"`
		}
		given.Body, given.ContentLength = endless{strings.NewReader(start), &read}, -1
		return given, nil
	}))
	for _, objectType := range []string{keyvault.TypeSecret, keyvault.TypeKey, keyvault.TypeCertificate} {
		item := keyvault.Item{Vault: vault, Type: objectType, Name: "db"}
		for name, tc := range map[string]struct {
			ask  func() error
			most int64
		}{
			"object": {func() error {
				_, err := reader.Fetch(t.Context(), keyvault.Request{Tokens: &tokens{}, Items: []keyvault.Item{item}})
				return err
			}, object},
			"listing": {func() error {
				_, err := reader.List(t.Context(), &tokens{}, vault, objectType)
				return err
			}, page},
			"versions": {func() error {
				_, err := reader.Versions(t.Context(), &tokens{}, item)
				return err
			}, page},
		} {
			read.Store(0)
			if err := tc.ask(); reason.Of(err) != reason.VaultAnswerInvalid.Name ||
				!strings.Contains(err.Error(), "larger than any real one") {
				t.Errorf("%s of type %s: got %v", name, objectType, err)
			}
			if n := read.Load(); n > tc.most {
				t.Errorf("%s of type %s: %d bytes were read, more than %d", name, objectType, n, tc.most)
			}
		}
	}
}

// Answers that are as long as they may be do not add up without bound.
func TestWhatOneRequestReadsIsBounded(t *testing.T) {
	const value, bound, underWay = 250 << 10, 16 << 20, 8
	body := fmt.Sprintf(`{"value":%q,"id":"https://%s.vault.azure.net/secrets/x/%s"}`, strings.Repeat("x", value), vault, version)
	for name, fetch := range map[string]func(*keyvault.Reader) func(keyvault.Request) ([]keyvault.Object, error){
		"reader": func(r *keyvault.Reader) func(keyvault.Request) ([]keyvault.Object, error) {
			return func(q keyvault.Request) ([]keyvault.Object, error) { return r.Fetch(t.Context(), q) }
		},
		"cache": func(r *keyvault.Reader) func(keyvault.Request) ([]keyvault.Object, error) {
			c := keyvault.NewCache(r, keyvault.CacheConfig{})
			return func(q keyvault.Request) ([]keyvault.Object, error) { return c.Fetch(t.Context(), q) }
		},
	} {
		var asked atomic.Int64
		reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			return answer(r, 200, body), nil
		}))
		got, err := fetch(reader)(request(names(500)...))
		if reason.Of(err) != reason.ObjectsInvalid.Name || !strings.Contains(err.Error(), "more than 16 MiB together") || got != nil {
			t.Errorf("%s: got %d objects, %v", name, len(got), err)
		}
		if n := asked.Load(); n > bound/value+2*underWay {
			t.Errorf("%s: %d objects were read", name, n)
		}
		if got, err := fetch(reader)(request(names(10)...)); err != nil || len(got) != 10 {
			t.Errorf("%s: what fits is refused: %v", name, err)
		}
	}
}
