// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/vaultferry/vaultferry/internal/keyvault"
)

const (
	// nameInAlias stands for the object's name in the objectAlias of a selector.
	nameInAlias = "{name}"
	// maxMatches bounds how many objects one selector may find: each costs a request to the vault.
	maxMatches = 500
	// maxPattern bounds a regular expression, in bytes.
	maxPattern = 1000
)

// selector finds objects by what a listing of the vault tells. All conditions that are set must hold.
type selector struct {
	prefix  string
	pattern *regexp.Regexp
	tags    map[string]string
}

// matches reports whether the selector selects an object.
func (s *selector) matches(listed keyvault.Listed) bool {
	if !listed.Attributes.Enabled || !s.admits(listed.Name) {
		return false
	}
	for name, want := range s.tags {
		if got, ok := listed.Tags[name]; !ok || got != want {
			return false
		}
	}
	return true
}

// admits reports whether an object of that name can be selected.
func (s *selector) admits(name string) bool {
	return strings.HasPrefix(name, s.prefix) && (s.pattern == nil || s.pattern.MatchString(name))
}

// aliasFor is the path of the object name's file.
func aliasFor(template, name string) string { return strings.ReplaceAll(template, nameInAlias, name) }

// selector reads the fields that select; nil if the entry has none.
func (e *entry) selector() *selector {
	s := &selector{prefix: e.text("namePrefix"), tags: e.tags()}
	pattern := e.text("namePattern")
	if s.prefix == "" && pattern == "" && len(s.tags) == 0 {
		return nil
	}
	if e.text("objectName") != "" {
		e.wrong("objectName", "objectName names one object; namePrefix, namePattern and tags select many: remove one of the two")
	}
	if s.prefix != "" && !keyvault.ValidName(s.prefix) {
		e.wrong("namePrefix", "namePrefix %s begins no name: names are letters, digits and hyphens", quote(s.prefix))
	}
	if pattern != "" {
		s.pattern = e.pattern(pattern)
	}
	return s
}

// pattern compiles an expression that must match a whole name.
func (e *entry) pattern(text string) *regexp.Regexp {
	if len(text) > maxPattern {
		e.wrong("namePattern", "namePattern is longer than %d characters", maxPattern)
		return nil
	}
	// Alone first: within the parentheses, a stray one in it could close them.
	switch allowed, err := e.left.pattern(text); {
	case err != nil:
		e.wrong("namePattern", "namePattern %s is not a regular expression (RE2): %v", quote(text), err)
		return nil
	case !allowed:
		e.wrong("namePattern", "namePattern %s: the patterns of this class are too large together with their repetitions written out: "+
			"shorten them, or use smaller numbers in {}", quote(text))
		return nil
	}
	compiled, err := regexp.Compile(`^(?:` + text + `)$`)
	if err != nil {
		e.wrong("namePattern", "namePattern %s is not a regular expression (RE2): %v", quote(text), err)
	}
	return compiled
}

// tags reads a mapping, or text like "k=v,k2=v2".
func (e *entry) tags() map[string]string {
	node := e.fields["tags"]
	if node == nil || isNull(node) {
		return nil
	}
	tags := map[string]string{}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			value := e.left.resolve(node.Content[i+1])
			if node.Content[i].Kind != yaml.ScalarNode || value == nil || value.Kind != yaml.ScalarNode {
				e.wrong("tags", "the tag %s should have a single value", quote(node.Content[i].Value))
				continue
			}
			e.addTag(tags, node.Content[i].Value, value.Value, isNull(value))
		}
	case yaml.ScalarNode:
		for pair := range strings.SplitSeq(e.text("tags"), ",") {
			if strings.TrimSpace(pair) == "" {
				continue
			}
			name, value, ok := strings.Cut(pair, "=")
			if !ok {
				e.wrong("tags", "tags holds %s, should be like name=value,name2=value2", quote(strings.TrimSpace(pair)))
				continue
			}
			e.addTag(tags, name, value, false)
		}
	default:
		e.wrong("tags", "tags should be a mapping, or text like name=value,name2=value2")
	}
	return tags
}

func (e *entry) addTag(tags map[string]string, name, value string, null bool) {
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if null {
		value = ""
	}
	if _, twice := tags[name]; name == "" || twice {
		e.wrong("tags", "tags names %s twice, or not at all", quote(name))
		return
	}
	tags[name] = value
}

// checkSelected refuses what makes no sense for many objects.
func (e *entry) checkSelected(o object) {
	if !strings.Contains(o.path, nameInAlias) {
		e.wrong("objectAlias", "objectAlias %s would be the same file for every object that is selected: put %s into it",
			quote(o.path), nameInAlias)
	}
	if o.item.Version != "" {
		e.wrong("objectVersion", "objectVersion is one object's: not with namePrefix, namePattern or tags")
	}
	if o.history > 1 {
		e.wrong("objectVersionHistory", "objectVersionHistory is one object's: not with namePrefix, namePattern or tags")
	}
}
