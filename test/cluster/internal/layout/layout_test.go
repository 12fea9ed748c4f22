// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"demo": true, "a": true, "a-1": true, strings.Repeat("a", 30): true,
		"": false, "1a": false, "-a": false, "a-": false, "A": false, "a_b": false, "a/b": false, "..": false, strings.Repeat("a", 31): false,
	} {
		err := CheckName(name)
		if good != (err == nil) {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil && !strings.Contains(err.Error(), "--name") {
			t.Errorf("%q: the error %q names no flag", name, err)
		}
	}
}

// Two clusters, and two nodes of one, share no place.
func TestPlacesAreApart(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"one", "one-two"} {
		l := New(name)
		places := []string{
			l.State(), l.Record(), l.Kubeconfig(), l.Supervisor(), l.SupervisorLog(), l.CommandLock(), l.AliveLock(), l.Cgroup(), l.SystemCgroup(),
		}
		for index := range 3 {
			node := l.Node(index)
			places = append(places, node.Name, node.Dir, node.Status(), node.Process(), node.Logs(), l.NodeCgroup(index))
		}
		for _, place := range places {
			if before, ok := seen[place]; ok {
				t.Errorf("%s belongs to %s and to %s", place, before, name)
			}
			seen[place] = name
		}
	}
	one := New("one")
	if a, b := one.Node(0), one.Node(1); a.IP() == b.IP() || a.Link() == b.Link() || a.PodCIDR() == b.PodCIDR() {
		t.Errorf("two nodes with the same addresses: %+v %+v", a, b)
	}
	if dir := one.Node(0).InNode(); dir != NodeState+"/node-0" {
		t.Errorf("the node sees its directory at %s", dir)
	}
}
