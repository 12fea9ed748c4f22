// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/kube/apigroup"
)

const (
	// FieldManager is the field manager of every write.
	FieldManager = "vaultferry-announce"

	// pause is between two receptions: however often an object changes, its classes are asked for no more often, and what changes meanwhile is one request.
	pause = time.Second
	// writers is how many classes are asked for at the same time.
	writers      = 8
	writeTimeout = 10 * time.Second
	retryFirst   = time.Second
	retryMost    = time.Minute
)

// Source is where events come from. [Grid] is one.
type Source interface {
	// Receive waits for events and returns them, or none after a while.
	Receive(ctx context.Context) ([]Delivery, error)
	// Acknowledge takes events away, so that they do not come again.
	Acknowledge(ctx context.Context, locks []string) error
}

// Config is what a Controller needs. All fields but Wrote are required.
type Config struct {
	API     *rest.Config
	Source  Source
	Log     *slog.Logger
	Metrics *Metrics
	// Wrote, where set, is called for each request that writes.
	Wrote func(resource string)
}

// Controller asks for rotations when events announce new versions. One of them should run in a cluster; a second one would share the events with it.
type Controller struct {
	Config
	client  rest.Interface
	classes cache.SharedIndexInformer
	// failing is the text of the failure that was told last, by stage; "" where all is well.
	failing map[string]string
	// asked are the values of the annotation that were written and that the cache does not show yet, by the class's uid.
	asked map[types.UID]string
}

// New returns a Controller, which works while [Controller.Run] runs.
func New(c Config) (*Controller, error) {
	if c.Wrote == nil {
		c.Wrote = func(string) {}
	}
	client, err := apigroup.NewClient(c.API)
	if err != nil {
		return nil, err
	}
	controller := &Controller{Config: c, client: client, failing: map[string]string{}, asked: map[types.UID]string{}, classes: cache.NewSharedIndexInformer(
		cache.NewListWatchFromClient(client, v1.SecretProviderClassResource().Resource, metav1.NamespaceAll, fields.Everything()),
		&v1.SecretProviderClass{}, 0, cache.Indexers{})}
	return controller, controller.classes.SetTransform(slim)
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { c.classes.RunWithContext(ctx) })
	// An event that is handled before all classes are known would be lost for the others.
	if !cache.WaitForCacheSync(ctx.Done(), c.classes.HasSynced) {
		return nil // ctx has ended
	}
	c.Log.InfoContext(ctx, "Receiving events of Key Vault")
	c.receive(ctx)
	return nil
}

// receive handles events until ctx ends.
func (c *Controller) receive(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		wait := pause
		switch ok, more := c.turn(ctx); {
		case !ok:
			wait = backOff(failures)
			failures++
		case more:
			wait, failures = 0, 0
		default:
			failures = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// backOff is how long to wait after a failure: twice as long each time, and not at the same moment as others.
func backOff(failures int) time.Duration {
	wait := retryMost
	if failures < 6 {
		wait = min(retryFirst<<failures, retryMost)
	}
	return wait/2 + rand.N(wait/2+1) //nolint:gosec // it spreads retries, and is no secret
}

// turn handles what the next reception brings, and reports whether all of it worked, and whether more waits already: what has piled up while no controller
// was there must not wait for a pause after each hundred.
func (c *Controller) turn(ctx context.Context) (ok, more bool) {
	deliveries, err := c.Source.Receive(ctx)
	if ctx.Err() != nil {
		return true, false
	}
	if c.tell(ctx, stageReceive, err); err != nil {
		return false, false
	}
	if len(deliveries) == 0 {
		return true, false
	}
	more = len(deliveries) >= maxEvents
	done, err := c.handle(ctx, deliveries)
	if c.tell(ctx, stageRequest, err); len(done) == 0 {
		return err == nil, more
	}
	failed := c.Source.Acknowledge(ctx, done)
	if ctx.Err() != nil {
		return true, false
	}
	c.tell(ctx, stageAcknowledge, failed)
	return err == nil && failed == nil, more
}

// told are what a person reads of a failure at each stage, and of its end.
func told(stage string) (failure, end string) {
	switch stage {
	case stageReceive:
		return "Receiving events of Key Vault fails; changed objects are found at the next interval meanwhile", "Events of Key Vault are received again"
	case stageRequest:
		return "Asking for the rotation of announced objects fails; their events come again", "Rotations are asked for again"
	}
	return "Acknowledging events fails; they come again", "Events are acknowledged again"
}

// tell counts a failure, and logs it once, however often it repeats, and its end.
func (c *Controller) tell(ctx context.Context, stage string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
		c.Metrics.failures.WithLabelValues(stage).Inc()
	}
	failure, end := told(stage)
	switch {
	case text == c.failing[stage]:
		return
	case err != nil:
		c.Log.WarnContext(ctx, failure, slog.Any("error", err)) //nolint:sloglint // one of a few constants
	default:
		c.Log.InfoContext(ctx, end) //nolint:sloglint // one of a few constants
	}
	c.failing[stage] = text
}

// handle asks for the rotation of all classes that the events concern, and returns the locks of the events with which nothing is left to do.
func (c *Controller) handle(ctx context.Context, deliveries []Delivery) (done []string, err error) {
	announced := map[string]change{} // by lock
	for _, d := range deliveries {
		if one, ok := c.understand(ctx, d); ok {
			announced[d.Lock] = one
		}
	}
	var failed map[*class]error
	if len(announced) > 0 {
		failed = c.requestAll(ctx, mounting(c.classes.GetStore(), slices.Collect(maps.Values(announced))))
	}
	for _, d := range deliveries {
		one, ok := announced[d.Lock]
		if !ok || !slices.ContainsFunc(slices.Collect(maps.Keys(failed)), func(c *class) bool { return c.concerns(one) }) {
			done = append(done, d.Lock)
		}
	}
	return done, firstOf(failed)
}

// firstOf returns the failure of the first class by name, and says how many more there are; nil where there is none but that a class is stale.
func firstOf(failed map[*class]error) error {
	var names []string
	reasons := map[string]error{}
	for one, why := range failed {
		if name := one.Namespace + "/" + one.Name; !errors.Is(why, errStale) {
			names = append(names, name)
			reasons[name] = why
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	if more := len(names) - 1; more > 0 {
		return fmt.Errorf("class %s, and %d more: %w", names[0], more, reasons[names[0]])
	}
	return fmt.Errorf("class %s: %w", names[0], reasons[names[0]])
}

// understand returns what an event announces, false where that is nothing.
func (c *Controller) understand(ctx context.Context, d Delivery) (change, bool) {
	if kindOf(d.Type) == "" {
		c.Metrics.received.WithLabelValues(resultIgnored).Inc()
		return change{}, false
	}
	one, err := parse(d)
	if err != nil {
		c.Metrics.received.WithLabelValues(resultInvalid).Inc()
		c.Log.WarnContext(ctx, "An event cannot be understood and is dropped", slog.String("type", d.Type), slog.Any("error", err))
		return change{}, false
	}
	c.Metrics.received.WithLabelValues(resultNewVersion).Inc()
	if !d.Time.IsZero() {
		c.Metrics.delay.Observe(max(0, time.Since(d.Time)).Seconds())
	}
	c.Log.InfoContext(ctx, "New version announced", slog.String("vault", one.vault), slog.String("type", one.kind),
		slog.String("object", one.name), slog.String("version", one.version))
	return one, true
}

// requestAll asks for the rotation of classes, a few at a time, and returns those for which that failed.
func (c *Controller) requestAll(ctx context.Context, classes []*class) map[*class]error {
	var (
		group  errgroup.Group
		mu     sync.Mutex
		failed = map[*class]error{}
	)
	group.SetLimit(writers)
	if len(c.asked) > len(c.classes.GetStore().ListKeys()) {
		clear(c.asked) // most are of classes that are gone
	}
	for _, one := range classes {
		value := c.next(one)
		group.Go(func() error {
			if err := c.request(ctx, one, value); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[one] = err
			}
			return nil
		})
	}
	_ = group.Wait() // failures are kept one by one
	return failed
}

// next returns the value that asks for the rotation of a class. It is later than the one before it, also where the cache does not show that yet: the same
// value again would ask for nothing.
func (c *Controller) next(one *class) string {
	last := one.requested
	if written, ok := c.asked[one.UID]; ok {
		if written == last || v1.RotateRequestMet(written, last) {
			delete(c.asked, one.UID)
		} else {
			last = written
		}
	}
	value := v1.NextRotateRequest(last, time.Now())
	c.asked[one.UID] = value
	return value
}

// errStale says that a class is not the one any more that the cache shows. Its event comes again, and by then the cache knows.
var errStale = errors.New("the class was made anew or is gone")

// request asks for the rotation of a class. The class's uid keeps it from one that was made anew.
func (c *Controller) request(ctx context.Context, one *class, value string) error {
	type metadata struct {
		UID         types.UID         `json:"uid"`
		Annotations map[string]string `json:"annotations"`
	}
	body, err := json.Marshal(map[string]metadata{"metadata": {one.UID, map[string]string{v1.RotateAnnotation: value}}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	c.Wrote(v1.SecretProviderClassResource().Resource)
	err = c.client.Patch(types.MergePatchType).Namespace(one.Namespace).Resource(v1.SecretProviderClassResource().Resource).Name(one.Name).
		Param("fieldManager", FieldManager).Body(body).Do(ctx).Error()
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return errStale
	}
	if err == nil {
		c.Metrics.requests.Inc()
	}
	return err
}
