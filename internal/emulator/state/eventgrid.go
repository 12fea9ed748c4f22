// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
)

// Bounds and defaults of an event subscription ("QueueInfo" of
// Microsoft.EventGrid/namespaces/topics/eventSubscriptions).
const (
	DefaultEventLock = 60 * time.Second
	// MaxEventLock is Azure's longest lock. Its shortest is DefaultEventLock; the
	// emulator takes shorter ones, for tests.
	MaxEventLock           = 300 * time.Second
	DefaultEventDeliveries = 10
)

// An EventGridNamespace is an Event Grid namespace with its topics.
type EventGridNamespace struct {
	Name          string           `yaml:"name"`
	ResourceGroup string           `yaml:"resourceGroup"`
	Location      string           `yaml:"location"`
	Topics        []EventGridTopic `yaml:"topics"`
}

// An EventGridTopic is a topic of a namespace.
type EventGridTopic struct {
	Name string `yaml:"name"`
	// Vaults are declared vaults whose events the topic gets: each stands for
	// the vault's system topic with an event subscription that delivers here.
	Vaults []string `yaml:"vaults"`
	// Subscriptions are event subscriptions with the delivery mode queue.
	Subscriptions []EventSubscription `yaml:"subscriptions"`
}

// An EventSubscription gets each event of its topic once, in a queue of its own.
type EventSubscription struct {
	Name string `yaml:"name"`
	// LockDuration is how long a received event is kept from others.
	LockDuration Duration `yaml:"lockDuration"`
	// MaxDeliveryCount is how often an event is delivered before it is dropped.
	MaxDeliveryCount int `yaml:"maxDeliveryCount"`
}

// ID is the namespace's resource id.
func (n EventGridNamespace) ID(subscription string) string {
	return arm.EventGridNamespaceID(subscription, n.ResourceGroup, n.Name)
}

var (
	eventGridName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]{1,48}[0-9A-Za-z]$`)
	regionName    = regexp.MustCompile(`^[a-z][a-z0-9]*$`)
)

const eventGridNameRule = "must have 3 to 50 letters, digits and hyphens, and neither start nor end with a hyphen"

// eventGrid checks the namespaces, once all vaults are known.
func (c *checker) eventGrid(st *State) {
	if len(st.EventGridNamespaces) > 0 && !*st.Names.Impersonate {
		c.add("eventGridNamespaces", "need names.impersonate: a namespace has no name but its public one")
	}
	seen := map[string]bool{}
	for i := range st.EventGridNamespaces {
		n, path := &st.EventGridNamespaces[i], fmt.Sprintf("eventGridNamespaces[%d]", i)
		c.eventGridName(seen, path+".name", "Event Grid namespace", n.Name)
		for _, v := range st.Vaults {
			if strings.EqualFold(v.Name, n.Name) {
				c.add(path+".name", "a vault is called %q too, and the scopes of roleAssignments could mean either; rename one", n.Name)
			}
		}
		fill(&n.ResourceGroup, st.ResourceGroup)
		fill(&n.Location, st.Location)
		if !regionName.MatchString(n.Location) {
			c.add(path+".location", "must be the short name of a region such as westeurope: it is part of the namespace's host name")
		}
		topics := map[string]bool{}
		for j := range n.Topics {
			c.eventGridTopic(fmt.Sprintf("%s.topics[%d]", path, j), st, &n.Topics[j], topics)
		}
	}
}

func (c *checker) eventGridName(seen map[string]bool, path, what, name string) {
	if !eventGridName.MatchString(name) {
		c.add(path, "%s", eventGridNameRule)
	}
	c.unique(seen, path, what, name)
}

func (c *checker) eventGridTopic(path string, st *State, t *EventGridTopic, topics map[string]bool) {
	c.eventGridName(topics, path+".name", "topic", t.Name)
	vaults := map[string]bool{}
	for i, name := range t.Vaults {
		at := fmt.Sprintf("%s.vaults[%d]", path, i)
		if declared, ok := vaultNamed(st, name); ok {
			t.Vaults[i] = declared
		} else {
			c.add(at, "%q is not among vaults", name)
		}
		c.unique(vaults, at, "vault", name)
	}
	subscriptions := map[string]bool{}
	for i := range t.Subscriptions {
		s, at := &t.Subscriptions[i], fmt.Sprintf("%s.subscriptions[%d]", path, i)
		c.eventGridName(subscriptions, at+".name", "event subscription", s.Name)
		if s.LockDuration == 0 {
			s.LockDuration = Duration(DefaultEventLock)
		}
		if s.LockDuration < 0 || s.LockDuration > Duration(MaxEventLock) {
			c.add(at+".lockDuration", "must be positive and at most %gs; Azure takes %gs to %gs", MaxEventLock.Seconds(), DefaultEventLock.Seconds(), MaxEventLock.Seconds())
		}
		if s.MaxDeliveryCount == 0 {
			s.MaxDeliveryCount = DefaultEventDeliveries
		}
		if s.MaxDeliveryCount < 0 {
			c.add(at+".maxDeliveryCount", "must be at least 1")
		}
	}
}

func vaultNamed(st *State, name string) (string, bool) {
	for _, v := range st.Vaults {
		if strings.EqualFold(v.Name, name) {
			return v.Name, true
		}
	}
	return "", false
}

// eventGridScope finds the resource id of a declared namespace, or of a topic or
// event subscription of one, that a scope names.
func (c *checker) eventGridScope(path string, st *State, scope string) (id string, found bool) {
	name, rest, _ := strings.Cut(scope, "/")
	for _, n := range st.EventGridNamespaces {
		if !strings.EqualFold(n.Name, name) {
			continue
		}
		if !n.has(rest) {
			c.add(path, "%q is no topic or event subscription of the namespace %q declared here; write %s/topics/<topic>/eventSubscriptions/<event subscription>", scope, n.Name, n.Name)
		}
		return strings.TrimSuffix(n.ID(st.SubscriptionID)+"/"+rest, "/"), true
	}
	return "", false
}

// has reports whether a namespace has a topic or event subscription; "" is the
// namespace itself.
func (n EventGridNamespace) has(path string) bool {
	if path == "" {
		return true
	}
	parts := strings.Split(path, "/")
	for _, t := range n.Topics {
		if len(parts) < 2 || !strings.EqualFold(parts[0], "topics") || !strings.EqualFold(parts[1], t.Name) {
			continue
		}
		if len(parts) == 2 {
			return true
		}
		for _, s := range t.Subscriptions {
			if len(parts) == 4 && strings.EqualFold(parts[2], "eventSubscriptions") && strings.EqualFold(parts[3], s.Name) {
				return true
			}
		}
	}
	return false
}
