// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
	"github.com/vaultferry/vaultferry/bench/scale/load"
)

// What hollow nodes ask is what the arithmetic says, at sizes where one can count; the API server is a function here.
func TestTheArithmeticIsWhatHollowNodesAsk(t *testing.T) {
	for name, c := range map[string]load.Cluster{
		"5 nodes of 10 volumes":      {Nodes: 5, Volumes: 10, Identities: 2, Objects: 3, Interval: time.Minute, Freshness: 4 * time.Second},
		"an identity for each":       {Nodes: 2, Volumes: 4, Identities: 8, Objects: 2, Interval: time.Minute, Freshness: 4 * time.Second},
		"one identity":               {Nodes: 3, Volumes: 6, Identities: 1, Objects: 5, Interval: 2 * time.Minute, Freshness: 4 * time.Second},
		"a freshness of two minutes": {Nodes: 2, Volumes: 6, Identities: 2, Objects: 2, Interval: time.Minute, Freshness: 2 * time.Minute},
		"no rotation":                {Nodes: 2, Volumes: 6, Identities: 2, Objects: 2, Freshness: 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { compare(t, c) }) })
	}
}

func compare(t *testing.T, c load.Cluster) {
	cloud, api, nodes := startFake(t, c)
	var repeated atomic.Int64
	for _, h := range nodes {
		if err := h.publishAll(t.Context(), &repeated); err != nil || repeated.Load() > 0 {
			t.Fatal(err, repeated.Load())
		}
	}
	time.Sleep(time.Second) // what nobody waits for comes after the last publish call
	synctest.Wait()
	want := load.Start(c)
	got, requests := cloud.asked(), api.take()
	if got.Refused != 0 || float64(got.Vault) != want.Vault || float64(got.Tokens) != want.Tokens ||
		float64(got.Discovery) < want.Discovery || float64(got.Discovery) > want.Tokens {
		t.Errorf("at the start: %+v, the arithmetic says %+v", got, want)
	}
	reads := float64(requests["GET secretproviderclasses"] + requests["GET pods"] + requests["GET serviceaccounts"])
	if reads < want.Reads || reads > want.Reads+load.MostClassReads(c) {
		t.Errorf("at the start: %v reads, the arithmetic says %v and up to %v more: %v", reads, want.Reads, load.MostClassReads(c), requests)
	}
	if float64(requests["POST secretproviderclasspodstatuses"]) != want.Writes || float64(requests["WATCH secretproviderclasses"]) != want.Watches || requests["POST events"] != 0 {
		t.Errorf("at the start: %v, the arithmetic says %+v", requests, want)
	}

	// Long enough for the jitter of single refreshes to even out, and within the life of tokens.
	const minutes = 45
	time.Sleep(minutes * time.Minute)
	synctest.Wait()
	steady := load.Steady(c)
	read := float64(cloud.asked().since(got).Vault) / minutes
	if d := read - steady.Vault; d < -0.05*steady.Vault || d > 0.05*steady.Vault {
		t.Errorf("steady: %.2f reads of the vault in a minute, the arithmetic says %.2f", read, steady.Vault)
	}
	for request, count := range api.take() {
		if request != "WATCH secretproviderclasses" {
			t.Errorf("steady: %d × %s, though nothing changed", count, request)
		} else if begun := float64(count) / minutes; begun < 0.65*steady.Watches || begun > 1.35*steady.Watches { // few, of random lengths
			t.Errorf("steady: %.2f watches begun in a minute, the arithmetic says %.2f", begun, steady.Watches)
		}
	}
}

// startFake starts the nodes of a cluster within the bubble.
func startFake(t *testing.T, c load.Cluster) (*azure, *fakeAPI, []*hollow) {
	t.Helper()
	issuer, dir := newSigner(t), t.TempDir()
	cloud, err := newAzure(dir, lab.AzureState(issuer.keys(), namespace, c.Identities, c.Identities*c.Objects), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // it has listeners, which only its end closes
		ended, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		if err := cloud.emulator.Run(ended); err != nil {
			t.Error(err)
		}
	})
	api := newFakeAPI(c.Identities, c.Objects)
	expires := time.Now().Add(2 * time.Hour)
	var nodes []*hollow
	for n := range c.Nodes {
		config := nodeConfig{
			name: fmt.Sprintf("node-%d", n), api: &rest.Config{Host: "http://api", QPS: -1, Transport: api}, azure: cloud,
			dir: filepath.Join(dir, fmt.Sprint(n)), interval: c.Interval, freshness: c.Freshness,
		}
		for v := range c.Volumes {
			identity := (n*c.Volumes + v) % c.Identities
			config.pods = append(config.pods, pod{
				name: fmt.Sprintf("pod-%d-%d", n, v), uid: fmt.Sprintf("uid-%d-%d", n, v), identity: identity,
				token: issuer.token(t, identity, expires), expires: expires,
			})
		}
		h, err := startHollow(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.close)
		nodes = append(nodes, h)
	}
	return cloud, api, nodes
}

// A hollow node's volume holds the files of the real driver.
func TestHollowFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, nodes := startFake(t, load.Cluster{Nodes: 1, Volumes: 1, Identities: 1, Objects: 2, Interval: time.Minute})
		if err := nodes[0].publishAll(t.Context(), new(atomic.Int64)); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(nodes[0].dir, "pods", "uid-0-0", "volumes", "kubernetes.io~csi", "secrets", "mount", lab.Object(1))
		if content, err := os.ReadFile(file); err != nil || string(content) != lab.ValueOf(1, "first") {
			t.Fatalf("%q, %v", content, err)
		}
	})
}
