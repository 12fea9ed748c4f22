// SPDX-License-Identifier: Apache-2.0

package reload_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/reload"
)

var (
	appDB  = reload.Source{Kind: reload.Secret, Name: "app-db"}
	config = reload.Source{Kind: reload.ConfigMap, Name: "config"}
	appKV  = reload.Source{Kind: reload.Class, Name: "app-kv"}
)

func uses(s reload.Source, way reload.Way) reload.Reference {
	return reload.Reference{Source: s, Way: way, Container: "app"}
}

// world is a Deployment that reads key PASSWORD of the Secret app-db into a variable, with nothing said about reloads.
type world struct {
	w       reload.Workload
	source  reload.Source
	content reload.Content
	options reload.Options
}

func newWorld() *world {
	key := uses(appDB, reload.Env)
	key.Key = "PASSWORD"
	return &world{
		w: reload.Workload{
			Kind: reload.Deployment, Namespace: "payments", Name: "api", Containers: []string{"app", "proxy"}, References: []reload.Reference{key},
			Annotations: map[string]string{}, TemplateAnnotations: map[string]string{},
		},
		source: appDB, content: reload.Content{Present: true}, options: reload.Options{Keys: reload.DefaultKeys()},
	}
}

func (w *world) decide() reload.Decision { return reload.Decide(&w.w, w.source, w.content, w.options) }

func annotated(pairs ...string) func(*world) {
	return func(w *world) {
		for i := 0; i < len(pairs); i += 2 {
			w.w.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func template(pairs ...string) func(*world) {
	return func(w *world) {
		for i := 0; i < len(pairs); i += 2 {
			w.w.TemplateAnnotations[pairs[i]] = pairs[i+1]
		}
	}
}

func source(s reload.Source, ways ...reload.Way) func(*world) {
	return func(w *world) {
		w.source, w.w.References = s, nil
		for _, way := range ways {
			w.w.References = append(w.w.References, uses(s, way))
		}
	}
}

func synced(w *world) { w.content.Synced = true }

// Every annotation, alone and against the one before it in the order of precedence.
func TestWhatAnnotationsAskFor(t *testing.T) {
	const r = "reloader.stakater.com/"
	restart, skip := "restart", func(why reload.Skip) string { return "nothing: " + string(why) }
	for name, tc := range map[string]struct {
		given []func(*world)
		want  string
	}{
		"no annotation":                       {nil, skip("no_annotation")},
		"auto":                                {[]func(*world){annotated(r+"auto", "true")}, restart},
		"auto, in another spelling of true":   {[]func(*world){annotated(r+"auto", "T")}, restart},
		"auto is false":                       {[]func(*world){annotated(r+"auto", "false")}, skip("no_annotation")},
		"auto is nonsense":                    {[]func(*world){annotated(r+"auto", "yes")}, skip("no_annotation")},
		"auto, not referenced":                {[]func(*world){annotated(r+"auto", "true"), source(appDB)}, skip("no_annotation")},
		"auto, ConfigMap":                     {[]func(*world){annotated(r+"auto", "true"), source(config, reload.Env)}, restart},
		"auto, class with subPath":            {[]func(*world){annotated(r+"auto", "true"), source(appKV, reload.SubPath)}, restart},
		"auto of Secrets":                     {[]func(*world){annotated("secret."+r+"auto", "true")}, restart},
		"auto of Secrets, ConfigMap changed":  {[]func(*world){annotated("secret."+r+"auto", "true"), source(config, reload.Env)}, skip("no_annotation")},
		"auto of ConfigMaps":                  {[]func(*world){annotated("configmap."+r+"auto", "true"), source(config, reload.Env)}, restart},
		"auto of classes":                     {[]func(*world){annotated("secretproviderclass."+r+"auto", "true"), source(appKV, reload.SubPath)}, restart},
		"auto false, auto of Secrets true":    {[]func(*world){annotated(r+"auto", "false", "secret."+r+"auto", "true")}, restart},
		"named":                               {[]func(*world){annotated("secret."+r+"reload", "app-db")}, restart},
		"named among others":                  {[]func(*world){annotated("secret."+r+"reload", "x, app-db ,y")}, restart},
		"named by regular expression":         {[]func(*world){annotated("secret."+r+"reload", "app-.*")}, restart},
		"named by half a name":                {[]func(*world){annotated("secret."+r+"reload", "app")}, skip("no_annotation")},
		"named by alternatives":               {[]func(*world){annotated("secret."+r+"reload", "app|db")}, skip("no_annotation")},
		"named, not referenced":               {[]func(*world){annotated("secret."+r+"reload", "app-db"), source(appDB)}, restart},
		"named after an invalid expression":   {[]func(*world){annotated("secret."+r+"reload", "(,app-db")}, restart},
		"named ConfigMap":                     {[]func(*world){annotated("configmap."+r+"reload", "config"), source(config)}, restart},
		"named class":                         {[]func(*world){annotated("secretproviderclass."+r+"reload", "app-kv"), source(appKV)}, restart},
		"another named, auto not set":         {[]func(*world){annotated("secret."+r+"reload", "other")}, skip("no_annotation")},
		"another named, auto set":             {[]func(*world){annotated("secret."+r+"reload", "other", r+"auto", "true")}, restart},
		"search, source matches":              {[]func(*world){annotated(r+"search", "true"), func(w *world) { w.content.Matched = true }}, restart},
		"search, source does not match":       {[]func(*world){annotated(r+"search", "true")}, skip("no_annotation")},
		"search is not exactly true":          {[]func(*world){annotated(r+"search", "True"), func(w *world) { w.content.Matched = true }}, skip("no_annotation")},
		"search, not referenced":              {[]func(*world){annotated(r+"search", "true"), source(appDB), func(w *world) { w.content.Matched = true }}, skip("no_annotation")},
		"excluded from auto":                  {[]func(*world){annotated(r+"auto", "true", "secrets.exclude."+r+"reload", "x, app-db")}, skip("resource_excluded")},
		"excluded from the named":             {[]func(*world){annotated("secret."+r+"reload", "app-db", "secrets.exclude."+r+"reload", "app-db")}, skip("resource_excluded")},
		"exclusion knows no expressions":      {[]func(*world){annotated(r+"auto", "true", "secrets.exclude."+r+"reload", "app.*")}, restart},
		"excluded ConfigMap":                  {[]func(*world){annotated(r+"auto", "true", "configmaps.exclude."+r+"reload", "config"), source(config, reload.Env)}, skip("resource_excluded")},
		"excluded class":                      {[]func(*world){annotated(r+"auto", "true", "secretproviderclasses.exclude."+r+"reload", "app-kv"), source(appKV, reload.SubPath)}, skip("resource_excluded")},
		"exclusion of another kind":           {[]func(*world){annotated(r+"auto", "true", "configmaps.exclude."+r+"reload", "app-db")}, restart},
		"exclusion on the pod template":       {[]func(*world){annotated(r+"auto", "true"), template("secrets.exclude."+r+"reload", "app-db")}, skip("resource_excluded")},
		"source ignored":                      {[]func(*world){annotated("secret."+r+"reload", "app-db"), func(w *world) { w.content.Ignored = true }}, skip("resource_ignored")},
		"auto on the pod template":            {[]func(*world){template(r+"auto", "true")}, restart},
		"named on the pod template":           {[]func(*world){template("secret."+r+"reload", "app-db"), source(appDB)}, restart},
		"search on the pod template":          {[]func(*world){template(r+"search", "true"), func(w *world) { w.content.Matched = true }}, restart},
		"pod template against auto false":     {[]func(*world){annotated(r+"auto", "false"), template("secret."+r+"reload", "app-db")}, skip("no_annotation")},
		"pod template against another named":  {[]func(*world){annotated("secret."+r+"reload", "other"), template(r+"auto", "true")}, skip("no_annotation")},
		"pod template beside another kind":    {[]func(*world){annotated("configmap."+r+"auto", "true"), template("secret."+r+"auto", "true")}, restart},
		"every workload":                      {[]func(*world){func(w *world) { w.options.AutoReloadAll = true }}, restart},
		"every workload but this one":         {[]func(*world){func(w *world) { w.options.AutoReloadAll = true }, annotated(r+"auto", "false")}, skip("no_annotation")},
		"every workload, not referenced":      {[]func(*world){func(w *world) { w.options.AutoReloadAll = true }, source(appDB)}, skip("no_annotation")},
		"kind of workload ignored":            {[]func(*world){annotated(r+"auto", "true"), func(w *world) { w.options.IgnoredWorkloads = map[reload.WorkloadKind]bool{reload.Deployment: true} }}, skip("workload_kind_ignored")},
		"kind of source ignored":              {[]func(*world){annotated(r+"auto", "true"), func(w *world) { w.options.IgnoredSources = map[reload.SourceKind]bool{reload.Secret: true} }}, skip("resource_kind_ignored")},
		"renamed auto":                        {[]func(*world){func(w *world) { w.options.Keys.Auto = "example.com/auto" }, annotated("example.com/auto", "true")}, restart},
		"auto under its old name":             {[]func(*world){func(w *world) { w.options.Keys.Auto = "example.com/auto" }, annotated(r+"auto", "true")}, skip("no_annotation")},
		"when-stale alone":                    {[]func(*world){annotated("vaultferry.io/reload", "when-stale")}, restart},
		"always alone":                        {[]func(*world){annotated("vaultferry.io/reload", "always"), source(appDB, reload.Volume)}, restart},
		"never":                               {[]func(*world){annotated("vaultferry.io/reload", "never", "secret."+r+"reload", "app-db")}, skip("never")},
		"signal":                              {[]func(*world){annotated("vaultferry.io/reload", "signal"), source(appKV, reload.Volume)}, "signal"},
		"nonsense as mode":                    {[]func(*world){annotated("vaultferry.io/reload", "sometimes", r+"auto", "true")}, restart},
		"when-stale beside a list of another": {[]func(*world){annotated("vaultferry.io/reload", "when-stale", "configmap."+r+"reload", "x")}, skip("no_annotation")},
		"when-stale on the pod template":      {[]func(*world){template("vaultferry.io/reload", "when-stale")}, restart},
		"Job of a CronJob":                    {[]func(*world){annotated(r+"auto", "true"), func(w *world) { w.w.Kind, w.w.OwnedByCronJob = reload.Job, true }}, skip("owned_by_cronjob")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, given := range tc.given {
				given(w)
			}
			d := w.decide()
			got := string(d.Effect)
			if d.Effect == reload.Nothing {
				got += ": " + string(d.Skip)
			}
			if got != tc.want || d.Why == "" {
				t.Fatalf("got %s (%s), want %s", got, d.Why, tc.want)
			}
		})
	}
}

// The table of docs/reload.md: what a change does, by mode, kind of source and way of reading it.
func TestOnlyWhatCannotSeeTheChange(t *testing.T) {
	const auto = "reloader.stakater.com/auto"
	plain := func(*world) {}
	follows := "nothing: follows_changes"
	for _, tc := range []struct {
		mode   string
		given  func(*world)
		source reload.Source
		want   map[reload.Way]string
	}{
		{"when-stale", plain, appDB, map[reload.Way]string{reload.Env: "restart", reload.EnvFrom: "restart", reload.SubPath: "restart", reload.Volume: follows}},
		{"when-stale", plain, config, map[reload.Way]string{reload.Env: "restart", reload.EnvFrom: "restart", reload.SubPath: "restart", reload.Volume: follows}},
		{"when-stale", plain, appKV, map[reload.Way]string{reload.SubPath: "restart", reload.Volume: follows}},
		{"always", plain, appDB, map[reload.Way]string{reload.Env: "restart", reload.SubPath: "restart", reload.Volume: "restart"}},
		{"always", synced, appDB, map[reload.Way]string{reload.Env: "restart", reload.SubPath: "restart", reload.Volume: "restart"}},
		{"always", plain, appKV, map[reload.Way]string{reload.SubPath: "restart", reload.Volume: "restart"}},
		{"", plain, appDB, map[reload.Way]string{reload.Env: "restart", reload.Volume: "restart"}},
		{"", plain, config, map[reload.Way]string{reload.Env: "restart", reload.Volume: "restart"}},
		{"", synced, appDB, map[reload.Way]string{reload.Env: "restart", reload.EnvFrom: "restart", reload.SubPath: "restart", reload.Volume: follows}},
		{"", plain, appKV, map[reload.Way]string{reload.SubPath: "restart", reload.Volume: follows}},
		{"", func(w *world) { w.options.ExactAuto = true }, appKV, map[reload.Way]string{reload.SubPath: "restart", reload.Volume: "restart"}},
		{"", func(w *world) { w.options.ExactAuto, w.content.Synced = true, true }, appDB, map[reload.Way]string{reload.Env: "restart", reload.Volume: "restart"}},
		{"signal", plain, appKV, map[reload.Way]string{reload.SubPath: "signal", reload.Volume: "signal"}},
	} {
		for way, want := range tc.want {
			w := newWorld()
			w.w.Annotations[auto] = "true"
			if tc.mode != "" {
				w.w.Annotations["vaultferry.io/reload"] = tc.mode
			}
			source(tc.source, way)(w)
			tc.given(w)
			d := w.decide()
			got := string(d.Effect)
			if d.Effect == reload.Nothing {
				got += ": " + string(d.Skip)
			}
			if got != want {
				t.Errorf("mode %q, %s read by %s: got %s, want %s", tc.mode, tc.source, way, got, want)
			}
		}
	}
}

func TestJobsAndCronJobs(t *testing.T) {
	for name, tc := range map[string]struct {
		kind   reload.WorkloadKind
		active bool
		mode   string
		want   reload.Effect
	}{
		"CronJob":              {reload.CronJob, true, "when-stale", reload.Nothing},
		"CronJob, always":      {reload.CronJob, false, "always", reload.Restart},
		"running Job":          {reload.Job, true, "when-stale", reload.Restart},
		"finished Job":         {reload.Job, false, "when-stale", reload.Nothing},
		"finished Job, always": {reload.Job, false, "always", reload.Restart},
		"CronJob, signal":      {reload.CronJob, true, "signal", reload.Nothing},
		"running Job, signal":  {reload.Job, true, "signal", reload.Tell},
		"finished Job, signal": {reload.Job, false, "signal", reload.Nothing},
	} {
		w := newWorld()
		w.w.Kind, w.w.Active = tc.kind, tc.active
		w.w.Annotations["vaultferry.io/reload"] = tc.mode
		if got := w.decide(); got.Effect != tc.want || got.Effect == reload.Nothing && got.Skip != reload.SkipNotRunning {
			t.Errorf("%s: got %s %s (%s)", name, got.Effect, got.Skip, got.Why)
		}
	}
}

func TestKeysThatCount(t *testing.T) {
	const named, mode = "secret.reloader.stakater.com/reload", "vaultferry.io/reload"
	for name, tc := range map[string]struct {
		given func(*world)
		want  []string
	}{
		"env, when-stale":            {annotated(mode, "when-stale"), []string{"PASSWORD"}},
		"env, always":                {annotated(mode, "always"), nil},
		"named with a key":           {annotated(named, "app-db/USER"), []string{"USER"}},
		"named with keys":            {annotated(named, "app-db/USER,app-db/PASSWORD"), []string{"USER", "PASSWORD"}},
		"named with a key and whole": {annotated(named, "app-db/USER,app-.*"), nil},
		"named key that is read":     {annotated(named, "app-db/PASSWORD", mode, "when-stale"), []string{"PASSWORD"}},
		"two variables and a subPath": {func(w *world) {
			annotated(mode, "when-stale")(w)
			user := uses(appDB, reload.SubPath)
			user.Key = "USER"
			w.w.References = append(w.w.References, user, w.w.References[0])
		}, []string{"PASSWORD", "USER"}},
		"envFrom besides": {func(w *world) {
			annotated(mode, "when-stale")(w)
			w.w.References = append(w.w.References, uses(appDB, reload.EnvFrom))
		}, nil},
	} {
		w := newWorld()
		tc.given(w)
		d := w.decide()
		if diff := cmp.Diff(tc.want, d.Keys); d.Effect != reload.Restart || diff != "" {
			t.Errorf("%s: %s %s", name, d.Effect, diff)
		}
	}
	w := newWorld()
	annotated(named, "app-db/USER", mode, "when-stale")(w)
	if d := w.decide(); d.Effect != reload.Nothing {
		t.Errorf("a named key that nobody reads at start: got %s", d.Effect)
	}
}

func TestTheContainerThatTells(t *testing.T) {
	for name, tc := range map[string]struct {
		references []reload.Reference
		want       string
	}{
		"first that refers": {[]reload.Reference{{Source: config, Way: reload.Env, Container: "app"}, {Source: appDB, Way: reload.Env, Container: "proxy"}}, "proxy"},
		"init container":    {[]reload.Reference{{Source: appDB, Way: reload.Env, Container: "prepare", Init: true}}, "app"},
		"no reference":      {nil, "app"},
	} {
		w := newWorld()
		w.w.References = tc.references
		annotated("secret.reloader.stakater.com/reload", "app-db")(w)
		if d := w.decide(); d.Container != tc.want {
			t.Errorf("%s: got %q, want %q", name, d.Container, tc.want)
		}
	}
}

func TestWhyNamesContainersAndWays(t *testing.T) {
	w := newWorld()
	annotated("vaultferry.io/reload", "when-stale")(w)
	w.w.References = append(w.w.References, reload.Reference{Source: appDB, Way: reload.SubPath, Container: "proxy"})
	if got, want := w.decide().Why, "Secret app-db is read at start only: container app by env, container proxy by subPath"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// Bad values are told by name, value and what is allowed, each once.
func TestBadValuesAreNamed(t *testing.T) {
	for _, tc := range [][3]string{
		{"reloader.stakater.com/auto", "yes", `"true" or "false"`},
		{"secret.reloader.stakater.com/auto", "on", `"true" or "false"`},
		{"reloader.stakater.com/search", "True", `"true" or "false"`},
		{"configmap.reloader.stakater.com/reload", "(", "names, or regular expressions for whole names"},
		{"reloader.stakater.com/rollout-strategy", "Restart", "rollout, restart"},
		{"deployment.reloader.stakater.com/pause-period", "5", "a duration such as 90s"},
		{"vaultferry.io/reload", "sometimes", "when-stale, always, never, signal"},
		{"vaultferry.io/reload-delay", "-1s", "a duration such as 90s"},
		{"vaultferry.io/reload-min-interval", "1 hour", "a duration such as 90s"},
		{"vaultferry.io/reload-windows", "0 2 * * 3h", "five cron fields and a duration"},
		{"vaultferry.io/reload-dry-run", "1", `"true" or "false"`},
		{"vaultferry.io/reload-method", "delete", "patch, evict"},
		{"vaultferry.io/reload-signal", "SIGKILL", "SIGHUP"},
		{"vaultferry.io/reload-endpoint", "http://example.com:80/", "the pod's own endpoint"},
	} {
		w := newWorld()
		w.w.Annotations[tc[0]] = tc[1]
		problems := w.options.Keys.Problems(&w.w)
		if len(problems) != 1 || problems[0].Annotation != tc[0] || problems[0].Value != tc[1] || !strings.Contains(problems[0].Allowed, tc[2]) {
			t.Errorf("%s: got %v", tc[0], problems)
		}
	}
	w := newWorld()
	if problems := w.options.Keys.Problems(&w.w); len(problems) > 0 {
		t.Errorf("nothing said: got %v", problems)
	}
}

// Precedence, against a plain statement of it: the first rule that applies decides.
func TestPrecedence(t *testing.T) {
	const domain = "reloader.stakater.com/"
	keys := []string{domain + "auto", "secret." + domain + "auto", "secret." + domain + "reload", domain + "search", "secrets.exclude." + domain + "reload"}
	value := map[string]*rapid.Generator[string]{
		keys[0]: rapid.SampledFrom([]string{"", "true", "false"}), keys[1]: rapid.SampledFrom([]string{"", "true", "false"}),
		keys[2]: rapid.SampledFrom([]string{"", "app-db", "other"}), keys[3]: rapid.SampledFrom([]string{"", "true", "false"}),
		keys[4]: rapid.SampledFrom([]string{"", "app-db", "other"}),
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for _, in := range []map[string]string{w.w.Annotations, w.w.TemplateAnnotations} {
			for _, key := range keys {
				if v := value[key].Draw(t, key); v != "" {
					in[key] = v
				}
			}
		}
		w.content.Ignored = rapid.Bool().Draw(t, "ignored")
		w.content.Matched = rapid.Bool().Draw(t, "matched")
		w.options.AutoReloadAll = rapid.Bool().Draw(t, "all")
		if rapid.Bool().Draw(t, "not referenced") {
			w.w.References = nil
		}
		want := func() bool {
			in := w.w.Annotations
			if in[keys[0]]+in[keys[1]]+in[keys[2]]+in[keys[3]] == "" {
				in = w.w.TemplateAnnotations
			}
			exclude, set := w.w.Annotations[keys[4]]
			if !set {
				exclude = w.w.TemplateAnnotations[keys[4]]
			}
			isTrue := func(key string) bool { on, _ := strconv.ParseBool(in[key]); return on }
			switch {
			case w.content.Ignored, exclude == "app-db":
				return false
			case in[keys[2]] == "app-db":
				return true
			case w.w.References == nil:
				return false
			case isTrue(keys[3]) && w.content.Matched, isTrue(keys[0]), isTrue(keys[1]):
				return true
			}
			return w.options.AutoReloadAll && in[keys[0]] == "" && in[keys[1]] == ""
		}()
		if d := w.decide(); (d.Effect == reload.Restart) != want {
			t.Fatalf("got %s (%s), want restart %v", d.Effect, d.Why, want)
		}
	})
}

func TestKindsAreListedOnce(t *testing.T) {
	if kinds := slices.Compact(slices.Sorted(slices.Values(reload.WorkloadKinds()))); len(kinds) != 6 {
		t.Fatalf("got %v", kinds)
	}
}
