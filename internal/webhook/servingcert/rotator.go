// SPDX-License-Identifier: Apache-2.0

package servingcert

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// resync is how often everything is looked at although nothing is due and no watch has told of a change.
	resync = 10 * time.Minute
	// After a failure the next try comes soon, then ever later.
	firstRetry, lastRetry = 200 * time.Millisecond, 30 * time.Second
)

// ErrConflict is what an [API] answers where somebody else has written in the meantime.
var ErrConflict = errors.New("somebody else has written in the meantime")

// Configuration is a webhook configuration of the API server.
type Configuration struct {
	Kind, Name, Version string
	// Bundles are the caBundles of its webhooks.
	Bundles [][]byte
}

// API is the API server as the [Rotator] needs it.
type API interface {
	// Secret returns data and resource version of the Secret.
	Secret(ctx context.Context) (data map[string][]byte, version string, err error)
	// SaveSecret replaces the Secret's data if it still has the version.
	SaveSecret(ctx context.Context, data map[string][]byte, version string) error
	// Configurations returns the webhook configurations.
	Configurations(ctx context.Context) ([]Configuration, error)
	// SaveBundle sets the caBundle of each of the configuration's webhooks if it still has its version.
	SaveBundle(ctx context.Context, c Configuration, bundle []byte) error
	// Watch calls changed when the Secret or a configuration may have changed, until ctx ends.
	Watch(ctx context.Context, changed func())
}

// Rotator holds the serving certificate of one replica. [Rotator.Run] keeps it.
type Rotator struct {
	api    API
	policy Policy
	log    *slog.Logger

	mu   sync.Mutex
	leaf *tls.Certificate
	// bundles are the caBundles of the configurations as they were last seen.
	bundles [][]byte
	failure error
	// known is the signing CA that all configurations have carried since knownSince.
	known      []byte
	knownSince time.Time
}

// NewRotator returns a Rotator without a certificate.
func NewRotator(api API, policy Policy, log *slog.Logger) *Rotator {
	return &Rotator{api: api, policy: policy, log: log, failure: errors.New("the serving certificate has not been read yet")}
}

// GetCertificate is for [tls.Config].
func (r *Rotator) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaf == nil {
		return nil, r.failure
	}
	return r.leaf, nil
}

// NotAfter is the end of the serving certificate; it is zero while there is none.
func (r *Rotator) NotAfter() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaf == nil {
		return time.Time{}
	}
	return r.leaf.Leaf.NotAfter
}

// Run keeps certificate, Secret and configurations until ctx ends.
func (r *Rotator) Run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.api.Watch(ctx, func() {
			select {
			case changed <- struct{}{}:
			default: // one look is enough for all changes before it
			}
		})
	}()
	defer func() { <-watched }()
	retry := firstRetry
	for {
		wait, err := r.reconcile(ctx)
		if err != nil {
			wait = retry/2 + rand.N(retry) //nolint:gosec // replicas that collide should not collide again; no secret
			retry = min(2*retry, lastRetry)
			if ctx.Err() == nil && !errors.Is(err, ErrConflict) {
				r.log.ErrorContext(ctx, "Serving certificate", slog.Any("error", err), slog.Duration("retry", wait))
			}
		} else {
			retry = firstRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// reconcile looks once, and returns when to look again. The configurations are read before the Secret: whatever bundle the Secret
// says then is not older than what a configuration of that version may get.
func (r *Rotator) reconcile(ctx context.Context) (time.Duration, error) {
	configurations, err := r.api.Configurations(ctx)
	if err != nil {
		return 0, r.failed(err)
	}
	data, version, err := r.api.Secret(ctx)
	if err != nil {
		return 0, r.failed(err)
	}
	now, have := time.Now(), parse(data)
	settled, settles := r.settled(have, configurations, now)
	want, changed, err := r.policy.renew(have, now, settled)
	if err != nil {
		return 0, r.failed(err)
	}
	if changed {
		if err := r.saveSecret(ctx, want, version); err != nil {
			return 0, r.failed(err)
		}
		settled, settles = r.settled(want, configurations, now)
	}
	if err := r.publish(ctx, configurations, want.bundle()); err != nil {
		return 0, r.failed(err)
	}
	r.use(want, configurations)
	return r.wait(want, now, settled, settles), nil
}

func (r *Rotator) saveSecret(ctx context.Context, m material, version string) error {
	data, err := m.encode()
	if err != nil {
		return err
	}
	if err := r.api.SaveSecret(ctx, data, version); err != nil {
		return err
	}
	r.log.InfoContext(ctx, "Serving certificate renewed", slog.Time("until", m.leaf.Leaf.NotAfter), slog.Int("authorities", len(m.authorities)),
		slog.Time("authority-until", m.authorities[0].NotAfter))
	return nil
}

// publish gives the bundle to the configurations that have another one.
func (r *Rotator) publish(ctx context.Context, configurations []Configuration, bundle []byte) error {
	for i, c := range configurations {
		same := true
		for j := range c.Bundles {
			same = same && bytes.Equal(c.Bundles[j], bundle)
		}
		if same {
			continue
		}
		if err := r.api.SaveBundle(ctx, c, bundle); err != nil {
			return err
		}
		r.log.InfoContext(ctx, "The API server trusts the webhook", slog.String("kind", c.Kind), slog.String("name", c.Name))
		for j := range c.Bundles {
			configurations[i].Bundles[j] = bundle
		}
	}
	return nil
}

// settled tells whether API servers have had time to learn of the CA that signs, and from when on they have.
func (r *Rotator) settled(m material, configurations []Configuration, now time.Time) (bool, time.Time) {
	if len(m.authorities) == 0 {
		return false, now
	}
	signing := m.authorities[0]
	for _, c := range configurations {
		for _, bundle := range c.Bundles {
			if !carries(bundle, signing) {
				r.known = nil
				return false, now.Add(r.policy.Settle)
			}
		}
	}
	if !bytes.Equal(r.known, signing.Raw) {
		r.known, r.knownSince = signing.Raw, now
	}
	from := r.knownSince.Add(r.policy.Settle)
	return !now.Before(from), from
}

// use makes m what this replica serves.
func (r *Rotator) use(m material, configurations []Configuration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaf, r.failure, r.bundles = m.leaf, nil, nil
	for _, c := range configurations {
		r.bundles = append(r.bundles, c.Bundles...)
	}
}

// failed notes why the last look failed.
func (r *Rotator) failed(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
	return err
}

// wait returns how long nothing is due.
func (r *Rotator) wait(m material, now time.Time, settled bool, settles time.Time) time.Duration {
	next := resync
	for _, at := range []time.Time{renewal(m.leaf.Leaf), renewal(m.authorities[0])} {
		if at.After(now) {
			next = min(next, at.Sub(now))
		}
	}
	if renew, _ := r.policy.leafDue(m, now); renew && !settled {
		next = min(next, max(settles.Sub(now), time.Second))
	}
	return next
}

// Ready tells whether this replica can serve the API server: it shakes hands with itself at address, trusting what each webhook configuration
// tells API servers to trust.
func (r *Rotator) Ready(ctx context.Context, address string) error {
	r.mu.Lock()
	leaf, bundles, failure := r.leaf, r.bundles, r.failure
	r.mu.Unlock()
	if leaf == nil {
		return failure
	}
	checked := map[string]bool{}
	for _, bundle := range bundles {
		if checked[string(bundle)] {
			continue
		}
		checked[string(bundle)] = true
		if err := Handshake(ctx, address, r.policy.DNSNames[0], bundle); err != nil {
			return fmt.Errorf("an API server would not trust this webhook: %w", err)
		}
	}
	return nil
}
