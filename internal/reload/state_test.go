// SPDX-License-Identifier: Apache-2.0

package reload_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/reload"
)

var hasher = reload.NewHasher([]byte("key"))

func content(password, user string) reload.Content {
	c := hasher.Content(map[string][]byte{"PASSWORD": []byte(password), "USER": []byte(user)})
	c.SHA1 = reload.SHA1(map[string]string{"PASSWORD": password, "USER": user}, nil)
	return c
}

// plan holds what is there against what is recorded.
func (w *world) plan(recorded reload.State, c reload.Content) reload.Plan {
	return reload.NewPlan(&w.w, []reload.Source{w.source}, recorded, func(reload.Source) (reload.Content, bool) { return c, true }, w.options)
}

func TestAChangeIsSeenOnce(t *testing.T) {
	gone := reload.Content{}
	mounted := func(w *world) {
		annotated("vaultferry.io/reload", "always")(w)
		source(appKV, reload.SubPath)(w)
		w.options.OnCreate, w.options.OnDelete = true, true
	}
	type step struct {
		content reload.Content
		changed bool
		record  bool
	}
	for name, tc := range map[string]struct {
		given func(*world)
		steps []step
	}{
		"first sight records, then a change, once": {annotated("vaultferry.io/reload", "always"),
			[]step{{content("1", ""), false, true}, {content("1", ""), false, false}, {content("2", ""), true, true}, {content("2", ""), false, false}}},
		"a key that nobody reads": {annotated("vaultferry.io/reload", "when-stale"),
			[]step{{content("1", "a"), false, true}, {content("1", "b"), false, false}, {content("2", "b"), true, true}}},
		"back to what it was is a change": {annotated("vaultferry.io/reload", "always"),
			[]step{{content("1", ""), false, true}, {content("2", ""), true, true}, {content("1", ""), true, true}}},
		"created later": {annotated("vaultferry.io/reload", "always"),
			[]step{{gone, false, true}, {content("1", ""), false, true}, {content("2", ""), true, true}}},
		"created later, --reload-on-create": {func(w *world) { annotated("vaultferry.io/reload", "always")(w); w.options.OnCreate = true },
			[]step{{gone, false, true}, {content("1", ""), true, true}}},
		"there at first sight, --reload-on-create": {func(w *world) { annotated("vaultferry.io/reload", "always")(w); w.options.OnCreate = true },
			[]step{{content("1", ""), false, true}, {content("1", ""), false, false}}},
		"deleted and back as it was": {annotated("vaultferry.io/reload", "always"),
			[]step{{content("1", ""), false, true}, {gone, false, false}, {content("1", ""), false, false}}},
		"deleted and back with another value": {annotated("vaultferry.io/reload", "always"),
			[]step{{content("1", ""), false, true}, {gone, false, false}, {content("2", ""), true, true}}},
		"deleted, --reload-on-delete": {func(w *world) { annotated("vaultferry.io/reload", "always")(w); w.options.OnDelete = true },
			[]step{{content("1", ""), false, true}, {gone, true, true}, {gone, false, false}, {content("1", ""), false, true}}},
		"a class that no pod mounts for a while, --reload-on-delete": {mounted,
			[]step{{content("1", ""), false, true}, {gone, false, false}, {content("1", ""), false, false}, {gone, false, false}, {content("2", ""), true, true}}},
		"a class that no pod has mounted before, --reload-on-create": {mounted,
			[]step{{gone, false, true}, {content("1", ""), false, true}, {content("2", ""), true, true}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			tc.given(w)
			state := reload.ParseState("", hasher.ID())
			for i, s := range tc.steps {
				p := w.plan(state, s.content)
				if (len(p.Changes) > 0) != s.changed || p.Record != s.record {
					t.Fatalf("step %d: changed %v, record %v; want %+v", i, p.Changes, p.Record, s)
				}
				state = reload.ParseState(p.State.String(), hasher.ID()) // through the annotation
			}
		})
	}
}

// A template that reads more, or less, is no change of the secret.
func TestAnEditOfTheTemplateIsNoChange(t *testing.T) {
	w := newWorld()
	annotated("vaultferry.io/reload", "when-stale")(w)
	state := w.plan(reload.ParseState("", "k"), content("1", "a")).State
	w.w.References = append(w.w.References, uses(appDB, reload.EnvFrom))
	p := w.plan(state, content("1", "b"))
	if len(p.Changes) > 0 || !p.Record {
		t.Fatalf("reading all: got %+v", p)
	}
	w.w.References = []reload.Reference{uses(appDB, reload.Volume)}
	p = w.plan(p.State, content("1", "b"))
	if len(p.Changes) > 0 || !p.Record || p.State.Sources != nil {
		t.Fatalf("reading files: got %+v", p)
	}
	w.w.References = []reload.Reference{uses(appDB, reload.EnvFrom)}
	if p = w.plan(p.State, content("2", "c")); len(p.Changes) > 0 {
		t.Fatalf("reading variables again: got %+v", p)
	}
}

func TestHashesOfAnotherKeySayNothing(t *testing.T) {
	w := newWorld()
	annotated("vaultferry.io/reload", "always")(w)
	text := w.plan(reload.ParseState("", "old"), content("1", "")).State.String()
	if p := w.plan(reload.ParseState(text, "new"), content("2", "")); len(p.Changes) > 0 || !p.Record {
		t.Fatalf("got %+v", p)
	}
}

// Nodes that lag behind show what was there before: a class only moves forward.
func TestAClassMovesForwardOnly(t *testing.T) {
	w := newWorld()
	annotated("vaultferry.io/reload", "always")(w)
	source(appKV, reload.Volume)(w)
	at := func(version string, minute int) reload.Content {
		c := hasher.Content(map[string][]byte{"secret/db": []byte(version)})
		c.At = time.Date(2026, 11, 25, 8, minute, 0, 0, time.UTC)
		return c
	}
	state := reload.ParseState("", "k")
	for i, s := range []struct {
		content reload.Content
		changed bool
	}{{at("1", 0), false}, {at("2", 10), true}, {at("1", 0), false}, {at("2", 11), false}, {at("3", 20), true}, {at("2", 11), false}} {
		p := w.plan(state, s.content)
		if (len(p.Changes) > 0) != s.changed {
			t.Fatalf("step %d: got %+v", i, p.Changes)
		}
		state = p.State
	}
}

// Pods that all started with the new content need no restart: there was no pod when it changed.
func TestContentThatEveryPodStartedWithIsNoChange(t *testing.T) {
	w := newWorld()
	annotated("vaultferry.io/reload", "always")(w)
	source(appKV, reload.SubPath)(w)
	c := hasher.Content(map[string][]byte{"secret/db": []byte("1")})
	state := w.plan(reload.ParseState("", "k"), c).State
	c = hasher.Content(map[string][]byte{"secret/db": []byte("2")})
	c.Fresh = true
	if p := w.plan(state, c); len(p.Changes) > 0 || !p.Record {
		t.Fatalf("got %+v", p)
	}
}

// What the controller may not see stays as it is recorded.
func TestUnknownSourcesAreLeftAsTheyAre(t *testing.T) {
	w := newWorld()
	annotated("vaultferry.io/reload", "always")(w)
	state := w.plan(reload.ParseState("", "k"), content("1", "")).State
	p := reload.NewPlan(&w.w, []reload.Source{appDB}, state, func(reload.Source) (reload.Content, bool) { return reload.Content{}, false }, w.options)
	if p.Record || len(p.Changes) > 0 {
		t.Fatalf("got %+v", p)
	}
}

// Taken over from Reloader, a workload's variable tells what its pods were last restarted for.
func TestReloadersVariableCountsAtFirstSight(t *testing.T) {
	w := newWorld()
	annotated("reloader.stakater.com/auto", "true")(w)
	for hash, changed := range map[string]bool{content("1", "").SHA1: false, "0123": true} {
		w.w.Hashes = map[string]string{"STAKATER_APP_DB_SECRET": hash}
		if p := w.plan(reload.ParseState("", "k"), content("1", "")); (len(p.Changes) > 0) != changed {
			t.Errorf("variable %s: got %+v", hash, p.Changes)
		}
	}
}

// Literal hashes, as sha1sum gives them for the text that Reloader hashes.
func TestReloadersHashes(t *testing.T) {
	for name, tc := range map[string][2]string{
		"nothing":   {reload.SHA1(map[string]string{}, nil), "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
		"Secret":    {reload.SHA1(map[string][]byte{"b": []byte("2"), "a": []byte("1")}, nil), sha("a=1;b=2")},
		"ConfigMap": {reload.SHA1(map[string]string{"a": "1"}, map[string][]byte{"z": {0xff}}), sha("a=1;z=/w==")},
		"class":     {reload.ClassSHA1("app-kv", map[string]string{"secret/db": "v1"}), sha("SecretProviderClassName=app-kv;secret/db=v1")},
	} {
		if tc[0] != tc[1] {
			t.Errorf("%s: got %s, want %s", name, tc[0], tc[1])
		}
	}
}

func TestHashesTellNothingWithoutTheKey(t *testing.T) {
	a, b := hasher.Content(map[string][]byte{"k": []byte("v")}), reload.NewHasher([]byte("other")).Content(map[string][]byte{"k": []byte("v")})
	if a.Hash == b.Hash || a.Parts["k"] == b.Parts["k"] {
		t.Fatal("the key does not matter")
	}
	if c := hasher.Content(map[string][]byte{"k": []byte("v")}); c.Hash != a.Hash {
		t.Fatal("the hash is not stable")
	}
	if x, y := hasher.Content(map[string][]byte{"a": []byte("b")}), hasher.Content(map[string][]byte{"a\x00b": nil}); x.Hash == y.Hash {
		t.Log("keys of Secrets hold no zero byte")
	}
}

func TestVariableNames(t *testing.T) {
	for source, want := range map[reload.Source]string{
		appDB: "STAKATER_APP_DB_SECRET", {Kind: reload.ConfigMap, Name: "a.b--c"}: "STAKATER_A_B_C_CONFIGMAP", appKV: "STAKATER_APP_KV_SECRETPROVIDERCLASS",
	} {
		if got := reload.VariableName(source); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestEdits(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	change := func(deleted bool) []reload.Change {
		return []reload.Change{{Source: appDB, Deleted: deleted, Content: reload.Content{SHA1: "abc", Hash: "keyed"}, Decision: reload.Decision{Container: "app"}}}
	}
	const head = `{"metadata":{"resourceVersion":"7","uid":"u"},"spec":{"template":`
	for name, tc := range map[string]struct {
		strategy    reload.Strategy
		changes     []reload.Change
		restartOnly bool
		hashes      map[string]string
		want        string
	}{
		"env-vars": {reload.EnvVars, change(false), false, nil, head + `{"spec":{"containers":[{"env":[{"name":"STAKATER_APP_DB_SECRET","value":"abc"}],"name":"app"}]}}}}`},
		"env-vars, another hash stands": {reload.EnvVars, change(false), false, map[string]string{"STAKATER_APP_DB_SECRET": "def"},
			head + `{"spec":{"containers":[{"env":[{"name":"STAKATER_APP_DB_SECRET","value":"abc"}],"name":"app"}]}}}}`},
		"env-vars, the hash stands": {reload.EnvVars, change(false), false, map[string]string{"STAKATER_APP_DB_SECRET": "abc"},
			head + `{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-09-21T14:13:20Z"}},` +
				`"spec":{"containers":[{"env":[{"name":"STAKATER_APP_DB_SECRET","value":"abc"}],"name":"app"}]}}}}`},
		"env-vars, deleted": {reload.EnvVars, change(true), false, map[string]string{"STAKATER_APP_DB_SECRET": "abc"},
			head + `{"spec":{"containers":[{"env":[{"$patch":"delete","name":"STAKATER_APP_DB_SECRET"}],"name":"app"}]}}}}`},
		"env-vars, deleted, never set": {reload.EnvVars, change(true), false, nil,
			head + `{"spec":{"containers":[{"env":[{"name":"STAKATER_APP_DB_SECRET","value":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}],"name":"app"}]}}}}`},
		"annotations": {reload.Annotations, change(false), false, nil, head + `{"metadata":{"annotations":{"reloader.stakater.com/last-reloaded-from":` +
			`"{\"type\":\"SECRET\",\"name\":\"app-db\",\"namespace\":\"payments\",\"hash\":\"abc\",\"containerRefs\":[\"app\"],\"observedAt\":1790000000}"}}}}}`},
		"annotations, deleted": {reload.Annotations, change(true), false, nil, head + `{"metadata":{"annotations":{"reloader.stakater.com/last-reloaded-from":` +
			`"{\"type\":\"SECRET\",\"name\":\"app-db\",\"namespace\":\"payments\",\"hash\":\"da39a3ee5e6b4b0d3255bfef95601890afd80709\",\"containerRefs\":[\"app\"],\"observedAt\":1790000000}"}}}}}`},
		"restart": {reload.EnvVars, change(false), true, nil, head + `{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-09-21T14:13:20Z"}}}}}`},
	} {
		w := newWorld().w
		w.UID, w.ResourceVersion, w.Hashes = "u", "7", tc.hashes
		var edit reload.Edit
		edit.Template(&w, tc.changes, tc.strategy, tc.restartOnly, now)
		got, err := edit.StrategicPatch(&w)
		if err != nil {
			t.Fatal(err)
		}
		var x, y any
		if json.Unmarshal(got, &x) != nil || json.Unmarshal([]byte(tc.want), &y) != nil {
			t.Fatalf("%s: not JSON: %s", name, got)
		}
		if diff := cmp.Diff(y, x); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A variable that another container carries, since the template was another then, is removed there, and is no sign that this one carries it.
func TestEditsOfAVariableInAnotherContainer(t *testing.T) {
	const name = "STAKATER_APP_DB_SECRET"
	w := newWorld().w
	w.Hashes, w.Carriers = map[string]string{name: "abc"}, map[string]string{name: "proxy"}
	for _, deleted := range []bool{true, false} {
		var edit reload.Edit
		edit.Template(&w, []reload.Change{
			{Source: appDB, Deleted: deleted, Content: reload.Content{SHA1: "abc"}, Decision: reload.Decision{Container: "app"}},
		}, reload.EnvVars, false, time.Unix(0, 0))
		want := reload.Edit{TemplateAnnotations: map[string]string{}, Env: map[string]map[string]string{}, Unset: map[string]map[string]string{}}
		if deleted {
			want.Unset["proxy"] = map[string]string{name: ""}
		} else {
			want.Env["app"] = map[string]string{name: "abc"}
		}
		if diff := cmp.Diff(want, edit); diff != "" {
			t.Errorf("deleted %v (-want +got):\n%s", deleted, diff)
		}
	}
}

func TestRecordsAreReadBack(t *testing.T) {
	last, err := reload.Last(map[string]string{"vaultferry.io/last-reload": `{"at":"2026-11-25T08:00:00Z","action":"rollout","sources":[{"kind":"Secret","name":"app-db"}],"why":"x"}`})
	if err != nil || last.Sources[0] != appDB || last.Action != "rollout" {
		t.Fatalf("got %+v, %v", last, err)
	}
	if none, err := reload.Last(nil); none != nil || err != nil {
		t.Fatalf("got %+v, %v", none, err)
	}
	if _, err := reload.Waiting(map[string]string{"vaultferry.io/pending-reload": "{"}); err == nil {
		t.Fatal("no error")
	}
}

func TestWindows(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse("Mon 2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	const night = "0 2 * * 6 3h" // Saturdays, 02:00 to 05:00 UTC
	for _, tc := range [][3]string{
		{"", "Wed 2026-11-25 12:00", "Wed 2026-11-25 12:00"},
		{night, "Wed 2026-11-25 12:00", "Sat 2026-11-28 02:00"},
		{night, "Sat 2026-11-28 01:59", "Sat 2026-11-28 02:00"},
		{night, "Sat 2026-11-28 02:00", "Sat 2026-11-28 02:00"},
		{night, "Sat 2026-11-28 04:59", "Sat 2026-11-28 04:59"},
		{night, "Sat 2026-11-28 05:00", "Sat 2026-12-05 02:00"},
		{night + "; 0 12 * * * 30m;", "Wed 2026-11-25 12:10", "Wed 2026-11-25 12:10"},
		{night + "; 0 12 * * * 30m;", "Wed 2026-11-25 12:30", "Thu 2026-11-26 12:00"},
		{"CRON_TZ=Europe/Berlin 0 2 * * * 1h", "Wed 2026-11-25 00:30", "Wed 2026-11-25 01:00"},
	} {
		windows, err := reload.ParseWindows(tc[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := windows.Next(at(tc[1])); !got.Equal(at(tc[2])) {
			t.Errorf("%q at %s: got %s, want %s", tc[0], tc[1], got, tc[2])
		}
	}
	if never, err := reload.ParseWindows("0 0 30 2 * 1h"); err != nil || !never.Next(at("Wed 2026-11-25 12:00")).IsZero() {
		t.Errorf("the 30th of February: got %v", err)
	}
	for _, bad := range []string{"0 2 * *", "0 2 * * 6", "0 2 * * 6 -1h", "0 2 * * 9 1h", "CRON_TZ=Nowhere 0 2 * * 6 1h"} {
		if _, err := reload.ParseWindows(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
