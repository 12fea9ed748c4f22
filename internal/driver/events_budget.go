// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"time"

	"golang.org/x/time/rate"
)

const (
	// eventLasts is how long what was told about a pod is remembered after its last event.
	eventLasts = 10 * time.Minute
	// eventTexts is how many different messages with one reason a pod gets before the further ones are counted as one.
	eventTexts = 10
	// eventBurst is how many events a pod may have at once, and eventEvery when there is one more.
	eventBurst = 25
	eventEvery = 5 * time.Minute
	// combined begins the message of an event that stands for others of its reason.
	combined = "(combined from similar events): "
)

// toldEvent is an event that was told, perhaps several times.
type toldEvent struct {
	// name is that of the event's object; "" before it is written.
	name  string
	count int
	first time.Time
	last  podEvent
}

// eventBudget decides what is told: the same text on the same pod is one event with a count, a reason with ever other texts becomes one event after the
// first ten, and no pod gets more than 25 at once and one every five minutes from then on. These are the limits of client-go's EventCorrelator.
type eventBudget struct {
	pods map[podRef]*podBudget
	// swept is when pods of which nothing was told for a while were last forgotten.
	swept time.Time
}

type podBudget struct {
	rate *rate.Limiter
	told map[toldKey]*toldEvent
	// texts counts the messages of a reason.
	texts map[toldKey]int
	last  time.Time
}

// toldKey names what is told as one; message is "" for what was combined.
type toldKey struct{ kind, reason, message string }

func newEventBudget() *eventBudget { return &eventBudget{pods: map[podRef]*podBudget{}} }

// spend returns the event that is to be written or counted, nil where the pod has had its share.
func (b *eventBudget) spend(event podEvent) *toldEvent {
	b.sweep(event.at)
	pod := b.pods[event.pod]
	if pod == nil {
		pod = &podBudget{rate: rate.NewLimiter(rate.Every(eventEvery), eventBurst), told: map[toldKey]*toldEvent{}, texts: map[toldKey]int{}}
		b.pods[event.pod] = pod
	}
	pod.last = event.at
	key, all := toldKey{event.kind, event.reason, event.message}, toldKey{kind: event.kind, reason: event.reason}
	told := pod.told[key]
	if told == nil && pod.texts[all] >= eventTexts {
		key, event.message = all, fit(combined+event.message)
		told = pod.told[key]
	}
	if !pod.rate.AllowN(event.at, 1) {
		return nil
	}
	if told == nil {
		told = &toldEvent{first: event.at}
		pod.told[key] = told
		pod.texts[all]++
	}
	told.count++
	told.last = event
	return told
}

// sweep forgets pods of which nothing was told for a while, now and then.
func (b *eventBudget) sweep(now time.Time) {
	if now.Sub(b.swept) < eventLasts {
		return
	}
	b.swept = now
	for name, pod := range b.pods {
		if now.Sub(pod.last) > eventLasts {
			delete(b.pods, name)
		}
	}
}
