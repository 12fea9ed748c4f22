// SPDX-License-Identifier: Apache-2.0

package eventgrid

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/hosts"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// A Broker holds the declared namespaces and the events in their event
// subscriptions. It is safe for concurrent use.
type Broker struct {
	now func() time.Time

	mu         sync.RWMutex
	namespaces []namespace
	// suffix is the parent domain of vaults that events name.
	suffix string
}

type namespace struct {
	state.EventGridNamespace
	id     string
	topics []topic
}

type topic struct {
	name, id      string
	vaults        []string
	subscriptions []subscription
}

type subscription struct {
	state.EventSubscription
	id    string
	queue *queue
}

// NewBroker returns a broker without a namespace. Events bear the time of now.
func NewBroker(now func() time.Time) *Broker { return &Broker{now: now} }

// Declare takes over the namespaces of a state. The queues of event
// subscriptions that were there before stay as they are, with their new
// settings; those of event subscriptions that are gone are lost.
func (b *Broker) Declare(st *state.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := map[string]*queue{}
	for _, s := range b.subscriptions() {
		left[strings.ToLower(s.id)] = s.queue
	}
	b.suffix = hosts.Names{Login: st.Names.Login, VaultSuffix: st.Names.VaultSuffix, Impersonate: *st.Names.Impersonate}.PreferredSuffix()
	b.namespaces = nil
	for _, n := range st.EventGridNamespaces {
		one := namespace{EventGridNamespace: n, id: n.ID(st.SubscriptionID)}
		for _, t := range n.Topics {
			one.topics = append(one.topics, newTopic(one.id, t, left))
		}
		b.namespaces = append(b.namespaces, one)
	}
	for _, q := range left {
		q.close()
	}
}

// newTopic takes the queues that it goes on with out of left.
func newTopic(namespaceID string, t state.EventGridTopic, left map[string]*queue) topic {
	made := topic{name: t.Name, id: arm.EventGridTopicID(namespaceID, t.Name), vaults: t.Vaults}
	for _, s := range t.Subscriptions {
		one := subscription{EventSubscription: s, id: arm.EventSubscriptionID(made.id, s.Name)}
		key, lock := strings.ToLower(one.id), time.Duration(s.LockDuration)
		if one.queue = left[key]; one.queue != nil {
			one.queue.configure(lock, s.MaxDeliveryCount)
			delete(left, key)
		} else {
			one.queue = newQueue(lock, s.MaxDeliveryCount)
		}
		made.subscriptions = append(made.subscriptions, one)
	}
	return made
}

func (b *Broker) subscriptions() []subscription {
	var all []subscription
	for _, n := range b.namespaces {
		for _, t := range n.topics {
			all = append(all, t.subscriptions...)
		}
	}
	return all
}

// VersionCreated implements directory.Listener.
func (b *Broker) VersionCreated(v directory.NewVersion) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var event json.RawMessage
	for _, n := range b.namespaces {
		for _, t := range n.topics {
			if !slices.ContainsFunc(t.vaults, func(name string) bool { return strings.EqualFold(name, v.Vault) }) {
				continue
			}
			if event == nil {
				made, err := newVersionEvent(v, b.suffix, b.now())
				if err != nil {
					// Texts and numbers are always encoded.
					return
				}
				event = made
			}
			t.push(event)
		}
	}
}

func (t topic) push(event json.RawMessage) {
	for _, s := range t.subscriptions {
		s.queue.push(event)
	}
}

// Serves reports whether a namespace of that name is in that region.
func (b *Broker) Serves(name, location string) bool {
	_, ok := b.namespace(name, location)
	return ok
}

func (b *Broker) namespace(name, location string) (namespace, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, n := range b.namespaces {
		if strings.EqualFold(n.Name, name) && strings.EqualFold(n.Location, location) {
			return n, true
		}
	}
	return namespace{}, false
}

func (n namespace) topic(name string) (topic, bool) {
	for _, t := range n.topics {
		if strings.EqualFold(t.name, name) {
			return t, true
		}
	}
	return topic{}, false
}

func (t topic) subscription(name string) (subscription, bool) {
	for _, s := range t.subscriptions {
		if strings.EqualFold(s.Name, name) {
			return s, true
		}
	}
	return subscription{}, false
}

// Namespaces is how many namespaces there are.
func (b *Broker) Namespaces() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.namespaces)
}

// A Subscription tells of an event subscription and what its queue holds.
type Subscription struct {
	ID, Namespace, Topic, Name string
	// Host is the name of the namespace's data plane.
	Host         string
	Vaults       []string
	LockDuration time.Duration
	// MaxDeliveryCount is how often an event is delivered.
	MaxDeliveryCount int
	// Available are events that can be received, Locked those that were, and
	// those that were put off; Dropped are lost.
	Available, Locked, Dropped int
	// Receivers are requests that wait for an event.
	Receivers int
}

// Subscriptions lists all event subscriptions in the order of the state file.
func (b *Broker) Subscriptions() []Subscription {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var all []Subscription
	for _, n := range b.namespaces {
		for _, t := range n.topics {
			for _, s := range t.subscriptions {
				u := s.queue.usage()
				all = append(all, Subscription{
					ID: s.id, Namespace: n.Name, Topic: t.name, Name: s.Name, Host: hosts.EventGridHost(n.Name, n.Location), Vaults: t.vaults,
					LockDuration: time.Duration(s.LockDuration), MaxDeliveryCount: s.MaxDeliveryCount,
					Available: u.available, Locked: u.locked, Dropped: u.dropped, Receivers: u.receivers,
				})
			}
		}
	}
	return all
}
