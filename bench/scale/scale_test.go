// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vaultferry/vaultferry/bench/scale/load"
)

// The runs in testdata were made with the real API server (testdata/README.md), and with a driver that had a watch of each class and read the
// ServiceAccount for each pod. These two are not compared here; hollow nodes with the fake API server are.
func TestTheArithmeticIsWhatWasMeasured(t *testing.T) {
	runs, err := filepath.Glob("testdata/*.json")
	if err != nil || len(runs) < 2 {
		t.Fatal(runs, err)
	}
	for _, run := range runs {
		t.Run(filepath.Base(run), func(t *testing.T) {
			content, err := os.ReadFile(run)
			if err != nil {
				t.Fatal(err)
			}
			var r report
			if err := json.Unmarshal(content, &r); err != nil {
				t.Fatal(err)
			}
			compareRun(t, r)
		})
	}
}

func compareRun(t *testing.T, r report) {
	c := r.Cluster
	if len(r.Phases) != 4 || r.Repeated != 0 {
		t.Fatalf("%d phases, %d repeated publishes", len(r.Phases), r.Repeated)
	}
	start, steady, rotation, asked := r.Phases[0], r.Phases[1], r.Phases[2], r.Phases[3]
	want := load.Start(c)
	want.Reads -= float64(c.Nodes * c.Groups()) // those of ServiceAccounts
	if reads := start.API.reads() - start.API["GET serviceaccounts"]; float64(start.Asked.Vault) != want.Vault || float64(start.Asked.Tokens) != want.Tokens || start.API.writes() != want.Writes ||
		reads < want.Reads || reads > want.Reads+load.MostClassReads(c) {
		t.Errorf("start: %+v, %v, the arithmetic says %+v", start.Asked, start.API, want)
	}
	// A round of refreshes begins within a tenth of the interval, and the time that was counted may hold one more or one less of some groups.
	minutes := steady.Seconds / 60
	perRound := load.Steady(c).Vault * c.ReadEvery().Minutes()
	if d := math.Abs(float64(steady.Asked.Vault) - load.Steady(c).Vault*minutes); d > perRound/2 || steady.API.reads()+steady.API.writes() != 0 {
		t.Errorf("steady: %+v, %v, the arithmetic says %+v", steady.Asked, steady.API, load.Steady(c).Times(minutes))
	}
	if want := load.Rotation(c); rotation.API.reads() != want.Reads || rotation.API.writes() != want.Writes {
		t.Errorf("rotation: %v, the arithmetic says %+v", rotation.API, want)
	}
	want = load.Asked(c)
	if most := want.Vault + load.Steady(c).Vault*asked.Seconds/60 + perRound/2; float64(asked.Asked.Vault) < want.Vault || float64(asked.Asked.Vault) > most ||
		asked.API.reads() != want.Reads || asked.API.writes() != want.Writes {
		t.Errorf("on request: %+v, %v, the arithmetic says %+v", asked.Asked, asked.API, want)
	}
}

func TestCountRequests(t *testing.T) {
	got := countRequests([]byte(`
apiserver_request_total{code="200",resource="pods",subresource="",verb="GET"} 12
apiserver_request_total{code="404",resource="pods",subresource="",verb="GET"} 1
apiserver_request_total{code="200",resource="pods",subresource="status",verb="PATCH"} 7
apiserver_request_total{code="200",resource="nodes",subresource="",verb="GET"} 3
apiserver_request_total{code="200",resource="secretproviderclasses",subresource="",verb="WATCH"} 4
apiserver_longrunning_requests{resource="secretproviderclasses",subresource="",verb="WATCH"} 5
`))
	want := requests{"GET pods": 12, "GET pods 404": 1, "WATCH secretproviderclasses": 9}
	if !maps.Equal(got, want) || got.reads() != 12 || got.watches() != 9 || got.writes() != 0 || got.refused() != 1 {
		t.Fatal(got)
	}
	if since := got.since(requests{"GET pods": 12, "GET pods 404": 1, "WATCH secretproviderclasses": 8}); !maps.Equal(since, requests{"WATCH secretproviderclasses": 1}) {
		t.Fatal(since)
	}
}

func TestMostInAWindow(t *testing.T) {
	began := time.Now()
	s := seconds{began: began, each: []int64{9, 1, 2, 3, 4, 0, 0, 1}}
	for name, tc := range map[string]struct {
		since, window time.Duration
		want          int64
	}{
		"from the beginning":  {0, 2 * time.Second, 10},
		"later":               {time.Second, 2 * time.Second, 7},
		"a window of all":     {0, time.Minute, 20},
		"after the last":      {time.Minute, time.Second, 0},
		"before it was begun": {-time.Minute, time.Second, 9},
	} {
		if got := s.most(began.Add(tc.since), tc.window); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999.4: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := figure(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}

func TestRefusedFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"no node":                 {"--nodes=0"},
		"unknown format":          {"-o", "xml"},
		"an interval of nothing":  {"--interval=0s"},
		"a freshness before now":  {"--freshness=-1s"},
		"namespaces in a run":     {"--namespaces=2"},
		"an argument":             {"steady"},
		"an interval without one": {"--interval=2"},
	} {
		t.Run(name, func(t *testing.T) {
			var o options
			if o.parse(args, io.Discard) == nil {
				t.Fatal("no error")
			}
		})
	}
}

// `make scale-docs` draws the plot of docs/scale.md and prints its tables.
func TestTheDocumentationIsOfThisArithmetic(t *testing.T) {
	var o options
	if err := o.parse([]string{"--arithmetic", "--interval=2m", "--namespaces=5", "-o", "markdown"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	drawn, err := os.ReadFile("../../docs/scale.svg")
	if err != nil || !bytes.Equal(drawn, drawArithmetic(o.Cluster)) {
		t.Errorf("docs/scale.svg is not what make scale-docs draws: %v", err)
	}
	var printed bytes.Buffer
	if err := tellArithmetic(&printed, o); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(printed.Bytes()) {
		if !bytes.Contains(page, bytes.TrimRight(line, "\n")) {
			t.Errorf("docs/scale.md lacks the line that make scale-docs prints: %s", line)
		}
	}
}
