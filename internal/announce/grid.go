// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/eventgrid/aznamespaces"

	"github.com/vaultferry/vaultferry/internal/entra"
)

const (
	// maxEvents is the most that one reception brings (Microsoft Learn, "Event Grid namespaces: Receive Cloud Events").
	maxEvents = 100
	// waitSeconds is how long Event Grid holds a reception open for an event to come; receiveTimeout leaves it some time to answer.
	waitSeconds    = 60
	receiveTimeout = 90 * time.Second
	ackTimeout     = 30 * time.Second
	// maxAnswer bounds an answer, in bytes: events of Key Vault have less than 1 KiB, and others may come with them.
	maxAnswer = 16 << 20
)

// GridConfig says where events are pulled from. All fields are required.
type GridConfig struct {
	// Endpoint is the namespace's URL, such as https://eg-platform.westeurope-1.eventgrid.azure.net.
	Endpoint string
	// Topic and Subscription are the names of the namespace's topic and of its event subscription, whose delivery mode is queue.
	Topic, Subscription string
	// Login is who pulls.
	Login *Login
	// Transport carries the requests to Event Grid; see [entra.NewTransport].
	Transport http.RoundTripper
	// ApplicationID begins the User-Agent header, at most 24 characters without spaces.
	ApplicationID string
}

// Grid receives events by pull delivery (Microsoft Learn, "Pull delivery with Event Grid namespaces"), with Azure's own library.
type Grid struct {
	config GridConfig
	host   string

	mu sync.Mutex
	// client is nil after a token was rejected: it keeps the token for as long as it lives.
	client *aznamespaces.ReceiverClient
}

// NewGrid returns a Grid. Errors name the field.
func NewGrid(c GridConfig) (*Grid, error) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil:
		return nil, fmt.Errorf("endpoint must be a namespace's URL such as https://eg-platform.westeurope-1.eventgrid.azure.net, not %q", c.Endpoint)
	case c.Topic == "":
		return nil, errors.New("topic is missing: the name of the namespace's topic")
	case c.Subscription == "":
		return nil, errors.New("subscription is missing: the name of the topic's event subscription")
	}
	return &Grid{config: c, host: u.Host}, nil
}

// receiver returns the client in use.
func (g *Grid) receiver() (*aznamespaces.ReceiverClient, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client != nil {
		return g.client, nil
	}
	client, err := aznamespaces.NewReceiverClient("https://"+g.host, g.config.Topic, g.config.Subscription, g.config.Login, &aznamespaces.ReceiverClientOptions{
		ClientOptions: azcore.ClientOptions{
			Transport: entra.HTTPClient(g.config.Transport, maxAnswer),
			Telemetry: policy.TelemetryOptions{ApplicationID: g.config.ApplicationID},
			// Who receives tries again by itself, and says what is wrong meanwhile.
			Retry: policy.RetryOptions{MaxRetries: -1},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the client of Event Grid: %w", err)
	}
	g.client = client
	return client, nil
}

// Receive implements [Source].
func (g *Grid) Receive(ctx context.Context) ([]Delivery, error) {
	client, err := g.receiver()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, receiveTimeout)
	defer cancel()
	answer, err := client.ReceiveEvents(ctx, &aznamespaces.ReceiveEventsOptions{MaxEvents: to.Ptr[int32](maxEvents), MaxWaitTime: to.Ptr[int32](waitSeconds)})
	if err != nil {
		return nil, g.explain(err)
	}
	deliveries := make([]Delivery, 0, len(answer.Details))
	for _, one := range answer.Details {
		if one.BrokerProperties == nil || one.BrokerProperties.LockToken == nil {
			continue // it can be neither acknowledged nor told from another
		}
		d := Delivery{Lock: *one.BrokerProperties.LockToken, Type: one.Event.Type}
		if one.Event.Time != nil {
			d.Time = *one.Event.Time
		}
		d.Data, _ = one.Event.Data.([]byte) // the library's form of JSON; nothing else can be understood
		deliveries = append(deliveries, d)
	}
	return deliveries, nil
}

// Acknowledge implements [Source].
func (g *Grid) Acknowledge(ctx context.Context, locks []string) error {
	client, err := g.receiver()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	answer, err := client.AcknowledgeEvents(ctx, locks, nil)
	if err != nil {
		return g.explain(err)
	}
	if n := len(answer.FailedLockTokens); n > 0 {
		why := "no reason given"
		if e := answer.FailedLockTokens[0].Error; e != nil && e.Message != nil {
			why = *e.Message
		}
		return fmt.Errorf("%d of %d events could not be acknowledged, and come again: %s", n, len(locks), why)
	}
	return nil
}

// explain says what is wrong and what mends it. What Entra ID refuses is a reason of package reason already.
func (g *Grid) explain(err error) error {
	refused, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("reaching %s: no answer in time: %w", g.host, context.DeadlineExceeded)
		}
		if unreachable, ok := errors.AsType[*url.Error](err); ok {
			return fmt.Errorf("reaching %s: %w", g.host, unreachable.Err)
		}
		return err
	}
	place := fmt.Sprintf("event subscription %q of topic %q in %s", g.config.Subscription, g.config.Topic, g.host)
	switch refused.StatusCode {
	case http.StatusUnauthorized:
		g.config.Login.reject()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.client = nil
		return fmt.Errorf("the token of identity %s was rejected by %s (401 %s); a new one is fetched. Where that repeats, the role \"EventGrid Data Receiver\" may be missing", g.config.Login.ClientID, g.host, refused.ErrorCode)
	case http.StatusForbidden:
		return fmt.Errorf("identity %s may not receive from %s (403 %s): assign it the role \"EventGrid Data Receiver\" there, and look at the namespace's "+
			"firewall; new assignments take some minutes to work", g.config.Login.ClientID, place, refused.ErrorCode)
	case http.StatusNotFound:
		return fmt.Errorf("there is no %s (404 %s): check the names; the subscription's delivery mode must be queue", place, refused.ErrorCode)
	}
	return fmt.Errorf("the answer for %s is %d %s", place, refused.StatusCode, refused.ErrorCode)
}
