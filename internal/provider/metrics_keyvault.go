// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"container/list"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// maxThrottleLabels bounds the vaults that have a throttle count of their own.
	maxThrottleLabels = 50
	// maxExpiries bounds the objects of which something is told.
	maxExpiries = 500
	// expiryLife is how long after an object was last asked for that is told.
	expiryLife = 24 * time.Hour
)

// ObjectRead implements [keyvault.Observer].
func (m *Metrics) ObjectRead(item keyvault.Item, attributes keyvault.Attributes, err error, took time.Duration) {
	m.objects.WithLabelValues(item.Type, outcome(err)).Observe(took.Seconds())
	switch {
	case err == nil:
		m.expiries.note(item, expiry{notBefore: attributes.NotBefore, expires: attributes.Expires})
	case reason.Of(err) == reason.ObjectDisabled.Name:
		m.expiries.note(item, expiry{disabled: true})
	}
}

// ListingRead implements [keyvault.Observer].
func (m *Metrics) ListingRead(objectType string, err error, took time.Duration) {
	m.listings.WithLabelValues(objectType, outcome(err)).Observe(took.Seconds())
}

// VaultThrottled implements [keyvault.Observer].
func (m *Metrics) VaultThrottled(vault string) { m.throttles.note(vault) }

// CacheUsed implements [keyvault.Observer].
func (m *Metrics) CacheUsed(result keyvault.CacheResult) {
	m.lookups.WithLabelValues(string(result)).Inc()
}

// CacheHolds implements [keyvault.Observer].
func (m *Metrics) CacheHolds(answers int, bytes int64) {
	m.answers.Set(float64(answers))
	m.bytes.Set(float64(bytes))
}

// throttles counts throttled answers by vault: the first vaults by their names, all further ones together.
type throttles struct {
	*prometheus.CounterVec

	mu    sync.Mutex
	named map[string]bool
}

func newThrottles() *throttles {
	return &throttles{named: map[string]bool{}, CounterVec: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vaultferry_keyvault_throttled_total", Help: "Answers of a vault that there were too many requests (HTTP status 429).",
	}, []string{"vault"})}
}

func (t *throttles) note(vault string) {
	t.mu.Lock()
	if !t.named[vault] && len(t.named) < maxThrottleLabels {
		t.named[vault] = true
	}
	if !t.named[vault] {
		vault = "other"
	}
	t.mu.Unlock()
	t.WithLabelValues(vault).Inc()
}

// expiries tells from when until when objects are meant to be used, and which are disabled: those asked for last, for as long as somebody has read them lately. It is a
// [prometheus.Collector].
type expiries struct {
	begin, end, off *prometheus.Desc

	mu sync.Mutex
	// byUse holds *expiry, the one read last in front.
	byUse *list.List
	known map[keyvault.Item]*list.Element
}

type expiry struct {
	item keyvault.Item
	// notBefore and expires are the object's attributes; one of them may be the zero time.
	notBefore, expires time.Time
	// disabled says that the vault gave nothing, for that reason.
	disabled bool
	readAt   time.Time
}

func newExpiries() *expiries {
	labels := []string{"vault", "object_type", "object_name", "object_version"}
	return &expiries{
		byUse: list.New(), known: map[keyvault.Item]*list.Element{},
		begin: prometheus.NewDesc("vaultferry_keyvault_object_not_before_timestamp_seconds",
			"From when on an object is meant to be used, in Unix time, by its attribute nbf. Only of objects that have one.", labels, nil),
		end: prometheus.NewDesc("vaultferry_keyvault_object_expiration_timestamp_seconds",
			"When an object expires, in Unix time, by its attribute exp. Only of objects that have one.", labels, nil),
		off: prometheus.NewDesc("vaultferry_keyvault_object_disabled",
			"1 for an object that was disabled when it was last asked for. Only of such objects.", labels, nil),
	}
}

// note remembers what is to be told of item, if there is anything.
func (e *expiries) note(item keyvault.Item, now expiry) {
	item.Optional = false
	now.item, now.readAt = item, time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if element := e.known[item]; element != nil {
		e.forget(element)
	}
	if now.notBefore.IsZero() && now.expires.IsZero() && !now.disabled {
		return
	}
	if e.byUse.Len() >= maxExpiries {
		e.forget(e.byUse.Back())
	}
	e.known[item] = e.byUse.PushFront(&now)
}

func (e *expiries) forget(element *list.Element) {
	delete(e.known, e.byUse.Remove(element).(*expiry).item)
}

// Describe implements [prometheus.Collector].
func (e *expiries) Describe(ch chan<- *prometheus.Desc) {
	ch <- e.begin
	ch <- e.end
	ch <- e.off
}

// Collect implements [prometheus.Collector].
func (e *expiries) Collect(ch chan<- prometheus.Metric) {
	for _, x := range e.current() {
		labels := []string{x.item.Vault, x.item.Type, x.item.Name, x.item.Version}
		if x.disabled {
			ch <- prometheus.MustNewConstMetric(e.off, prometheus.GaugeValue, 1, labels...)
		}
		for desc, at := range map[*prometheus.Desc]time.Time{e.begin: x.notBefore, e.end: x.expires} {
			if !at.IsZero() {
				ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(at.Unix()), labels...)
			}
		}
	}
}

// current forgets what nobody has read for long and returns the others.
func (e *expiries) current() []expiry {
	e.mu.Lock()
	defer e.mu.Unlock()
	for last := e.byUse.Back(); last != nil && time.Since(last.Value.(*expiry).readAt) > expiryLife; last = e.byUse.Back() {
		e.forget(last)
	}
	var all []expiry
	for element := e.byUse.Front(); element != nil; element = element.Next() {
		all = append(all, *element.Value.(*expiry))
	}
	return all
}
