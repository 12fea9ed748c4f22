// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"math/big"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// fakeAPI is an API server in a function, for what a driver asks one.
type fakeAPI struct {
	mu      sync.Mutex
	counts  map[string]int
	classes map[string]map[string]any
	stored  map[string][]byte
}

func newFakeAPI(identities, objects int) *fakeAPI {
	f := &fakeAPI{counts: map[string]int{}, classes: map[string]map[string]any{}, stored: map[string][]byte{}}
	for i := range identities {
		class := lab.Class(namespace, className(i), i, secretsOf(i, objects))
		class["metadata"].(map[string]any)["resourceVersion"] = "1"
		f.classes[className(i)] = class
	}
	return f
}

func (f *fakeAPI) take() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := maps.Clone(f.counts)
	clear(f.counts)
	return taken
}

// RoundTrip implements [http.RoundTripper].
func (f *fakeAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource, name := parts[len(parts)-2], parts[len(parts)-1]
	verb := r.Method
	if r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1" {
		verb = "WATCH"
	}
	if parts[len(parts)-2] == namespace {
		resource, name = parts[len(parts)-1], ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[verb+" "+resource]++
	switch {
	case verb == "WATCH":
		return f.watch(r), nil
	case resource == "secretproviderclasses":
		return answer(r, http.StatusOK, f.classes[name]), nil
	case verb == http.MethodPost || verb == http.MethodPut:
		return f.store(r, verb, name)
	case resource == "secretproviderclasspodstatuses":
		if kept, ok := f.stored[name]; ok {
			return raw(r, http.StatusOK, io.NopCloser(bytes.NewReader(kept))), nil
		}
		return answer(r, http.StatusNotFound, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}), nil
	}
	// Pods and ServiceAccounts, in whom nothing is wrong.
	identity := strings.TrimPrefix(name, "sa-")
	annotations := map[string]any{}
	for i := range f.classes {
		if i == "class-sa-"+identity {
			annotations["azure.workload.identity/client-id"] = f.classes[i]["spec"].(map[string]any)["parameters"].(map[string]any)["clientID"]
		}
	}
	return answer(r, http.StatusOK, map[string]any{
		"metadata": map[string]any{"name": name, "annotations": annotations, "labels": map[string]any{"azure.workload.identity/use": "true"}},
	}), nil
}

func (f *fakeAPI) store(r *http.Request, verb, name string) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var object struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, err
	}
	if name == "" {
		name = object.Metadata.Name
	}
	f.stored[path.Base(name)] = body
	status := http.StatusOK
	if verb == http.MethodPost {
		status = http.StatusCreated
	}
	return raw(r, status, io.NopCloser(bytes.NewReader(body))), nil
}

// watch shows a new watcher the classes, and then nothing for as long as it asked for.
func (f *fakeAPI) watch(r *http.Request) *http.Response {
	query := r.URL.Query()
	seconds, _ := strconv.Atoi(query.Get("timeoutSeconds"))
	var events []map[string]any
	if query.Get("sendInitialEvents") == "true" {
		for _, class := range f.classes {
			events = append(events, map[string]any{"type": "ADDED", "object": class})
		}
		events = append(events, map[string]any{"type": "BOOKMARK", "object": map[string]any{
			"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
			"metadata": map[string]any{"resourceVersion": "1", "annotations": map[string]any{"k8s.io/initial-events-end": "true"}},
		}})
	}
	var content bytes.Buffer
	for _, e := range events {
		text, _ := json.Marshal(e)
		content.Write(text)
	}
	reader, writer := io.Pipe()
	go func() {
		_, _ = writer.Write(content.Bytes())
		_ = sleep(r.Context(), time.Duration(seconds)*time.Second)
		_ = writer.Close()
	}()
	return raw(r, http.StatusOK, reader)
}

func answer(r *http.Request, status int, object any) *http.Response {
	text, _ := json.Marshal(object)
	return raw(r, status, io.NopCloser(bytes.NewReader(text)))
}

func raw(r *http.Request, status int, body io.ReadCloser) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Request: r,
	}
}

// signer is the cluster's issuer of tokens.
type signer struct{ key *rsa.PrivateKey }

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key}
}

func (s signer) keys() string {
	text, _ := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k", "n": base64.RawURLEncoding.EncodeToString(s.key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(s.key.E)).Bytes()),
	}}})
	return string(text)
}

func (s signer) token(t *testing.T, identity int, expires time.Time) string {
	t.Helper()
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now().Unix()
	signed := part(map[string]any{"alg": "RS256", "kid": "k", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": lab.Issuer, "sub": "system:serviceaccount:" + namespace + ":" + lab.Account(identity), "aud": []string{lab.Audience},
		"iat": now, "nbf": now, "exp": expires.Unix(),
	})
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}
