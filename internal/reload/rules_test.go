// SPDX-License-Identifier: Apache-2.0

package reload_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/reload"
)

// What a list spells out is known before it is there; what an expression means is not.
func TestWhatListsNameOutright(t *testing.T) {
	const secrets, configMaps = "secret.reloader.stakater.com/reload", "configmap.reloader.stakater.com/reload"
	for name, tc := range map[string]struct {
		given func(*world)
		want  []reload.Source
	}{
		"nothing":                {annotated(), nil},
		"names":                  {annotated(secrets, "app-db, other"), []reload.Source{appDB, {Kind: reload.Secret, Name: "other"}}},
		"a name with a dot":      {annotated(secrets, "tls.example"), []reload.Source{{Kind: reload.Secret, Name: "tls.example"}}},
		"one key of a name":      {annotated(secrets, "app-db/PASSWORD"), []reload.Source{appDB}},
		"beside expressions":     {annotated(secrets, "app-.*,(,a|b, ,app-db"), []reload.Source{appDB}},
		"of two kinds":           {annotated(secrets, "app-db", configMaps, "config"), []reload.Source{config, appDB}},
		"on the pod template":    {template(secrets, "app-db"), []reload.Source{appDB}},
		"the workload's own win": {func(w *world) { annotated(secrets, "app-db")(w); template(secrets, "other")(w) }, []reload.Source{appDB}},
	} {
		w := newWorld()
		tc.given(w)
		if diff := cmp.Diff(tc.want, w.options.Keys.NamedOutright(&w.w)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
