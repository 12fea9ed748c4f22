// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/messaging"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/eventgrid/aznamespaces"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/go-cmp/cmp"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

// gridState has a vault whose events go to a topic with two event subscriptions,
// and one whose events go nowhere. ops may do everything with events, and nobody
// may send them; ci may receive from one event subscription.
const gridState = `
applications:
- {name: ci, clientId: 11111111-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: ci-secret}]}
- {name: nobody, clientId: 22222222-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: nobody-secret}]}
- {name: ops, clientId: 55555555-aaaa-2222-bbbb-3333cccc4444, secrets: [{value: ops-secret}]}
vaults:
- name: kv-objects
  softDeleteRetentionDays: 7
  certificateIssuers: [test-ca]
  secrets: [{name: declared, value: old}]
- {name: kv-quiet}
eventGridNamespaces:
- name: eg-platform
  topics:
  - name: keyvault
    vaults: [kv-objects]
    subscriptions: [{name: vaultferry, lockDuration: 3s}, {name: audit}]
roleAssignments:
- {role: Key Vault Administrator, assignee: ci, scope: kv-objects}
- {role: Key Vault Administrator, assignee: ci, scope: kv-quiet}
- {role: EventGrid Data Receiver, assignee: ci, scope: eg-platform/topics/keyvault/eventSubscriptions/vaultferry}
- {role: EventGrid Data Sender, assignee: nobody, scope: eg-platform}
- {role: EventGrid Data Contributor, assignee: ops, scope: eg-platform}
`

const (
	gridURL   = "https://eg-platform.westeurope-1.eventgrid.azure.net"
	gridScope = "https://eventgrid.azure.net/.default"
	opsApp    = "55555555-aaaa-2222-bbbb-3333cccc4444"
)

// once are options of a client that does not try again.
func (r *running) once() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: r.http, Retry: policy.RetryOptions{MaxRetries: -1}}
}

func (r *running) receiver(app, secret, subscription string) *aznamespaces.ReceiverClient {
	r.t.Helper()
	return must(aznamespaces.NewReceiverClient(gridURL, "keyvault", subscription, r.armCredential(r.t, app, secret),
		&aznamespaces.ReceiverClientOptions{ClientOptions: r.once()}))(r.t)
}

// queue is what the admin API says of an event subscription.
func (r *running) queue(name string) admin.EventSubscription {
	r.t.Helper()
	var all []admin.EventSubscription
	r.adminDo("GET", "/event-subscriptions", nil, &all)
	for _, one := range all {
		if one.Name == name {
			return one
		}
	}
	return admin.EventSubscription{}
}

func (r *running) setSecret(vault, name, value string) *azsecrets.ID {
	r.t.Helper()
	credential, options := r.ciCredential()
	set := must(secretsClient(r.t, vault, credential, options).SetSecret(r.t.Context(), name, azsecrets.SetSecretParameters{Value: &value}, nil))(r.t)
	return set.ID
}

// A consumer that waits has the event of a new version at once, and again until
// it acknowledges.
func TestGoSDKEventGrid(t *testing.T) {
	r := start(t, gridState)
	client, ctx := r.receiver(ciApp, "ci-secret", "vaultferry"), t.Context()
	type result struct {
		response aznamespaces.ReceiveEventsResponse
		err      error
		at       time.Time
	}
	received := make(chan result, 1)
	go func() {
		response, err := client.ReceiveEvents(ctx, &aznamespaces.ReceiveEventsOptions{MaxEvents: ptr[int32](100), MaxWaitTime: ptr[int32](120)})
		received <- result{response, err, time.Now()}
	}()
	eventually(t, "the consumer waits", func() bool { return r.queue("vaultferry").Receivers == 1 })
	set := time.Now()
	id := r.setSecret(objectsURL, "Db", dbSecret)
	got := <-received
	if got.err != nil || len(got.response.Details) != 1 || got.at.Sub(set) > 30*time.Second {
		t.Fatalf("received %+v after %s", got, got.at.Sub(set))
	}
	first := got.response.Details[0]
	checkSecretEvent(t, first.Event, *id, r.clock.now())

	again := must(client.ReceiveEvents(ctx, nil))(t).Details
	if len(again) != 1 || again[0].Event.ID != first.Event.ID || *first.BrokerProperties.DeliveryCount != 1 || *again[0].BrokerProperties.DeliveryCount != 2 {
		t.Fatalf("not acknowledged, received again: %+v", again)
	}
	stale, token := *first.BrokerProperties.LockToken, *again[0].BrokerProperties.LockToken
	acknowledged := must(client.AcknowledgeEvents(ctx, []string{stale, token}, nil))(t)
	if !cmp.Equal(acknowledged.SucceededLockTokens, []string{token}) || len(acknowledged.FailedLockTokens) != 1 {
		t.Fatalf("acknowledged: %+v", acknowledged)
	}
	if lost := acknowledged.FailedLockTokens[0]; *lost.LockToken != stale || *lost.Error.Code != "TokenLost" || lost.Error.Error() != "Token has expired." {
		t.Errorf("lost: %+v", lost)
	}
	if q := r.queue("vaultferry"); q.Available+q.Locked+q.Dropped != 0 {
		t.Errorf("acknowledged events are still there: %+v", q)
	}
	if q := r.queue("audit"); q.Available != 1 || time.Duration(q.LockDuration) != time.Minute || q.Endpoint != gridURL {
		t.Errorf("the other event subscription: %+v", q)
	}
	if n := r.count("ReceiveEvents", 200); n != 2 {
		t.Errorf("%d receives on record, want 2", n)
	}
}

func checkSecretEvent(t *testing.T, e messaging.CloudEvent, id azsecrets.ID, now time.Time) {
	t.Helper()
	vault := "/subscriptions/" + subscriptionID + "/resourceGroups/rg-platform/providers/Microsoft.KeyVault/vaults/kv-objects"
	if e.SpecVersion != "1.0" || e.Source != vault || *e.Subject != "Db" || e.Type != "Microsoft.KeyVault.SecretNewVersionCreated" || e.ID == "" {
		t.Errorf("event %+v", e)
	}
	if age := now.Sub(*e.Time); age < 0 || age > time.Minute {
		t.Errorf("the event is %s old", age)
	}
	var data map[string]any
	if err := json.Unmarshal(e.Data.([]byte), &data); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"Id": string(id), "VaultName": "kv-objects", "ObjectType": "Secret", "ObjectName": "Db", "Version": id.Version(), "NBF": nil, "EXP": nil,
	}
	if diff := cmp.Diff(want, data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

// What else a consumer can do with an event.
func TestGoSDKEventGridSettle(t *testing.T) {
	r := start(t, gridState)
	client, ctx := r.receiver(opsApp, "ops-secret", "audit"), t.Context()
	receive := func() (token string, count int32) {
		t.Helper()
		details := must(client.ReceiveEvents(ctx, nil))(t).Details
		if len(details) != 1 {
			t.Fatalf("received %+v", details)
		}
		return *details[0].BrokerProperties.LockToken, *details[0].BrokerProperties.DeliveryCount
	}
	r.setSecret(objectsURL, "db", "x")
	token, _ := receive()
	renewed := must(client.RenewEventLocks(ctx, []string{token}, nil))(t)
	released := must(client.ReleaseEvents(ctx, []string{token}, nil))(t)
	if len(renewed.SucceededLockTokens) != 1 || len(released.SucceededLockTokens) != 1 {
		t.Errorf("renewed %+v, released %+v", renewed, released)
	}
	token, count := receive()
	if count != 2 {
		t.Errorf("released: delivery %d, want 2", count)
	}
	later := must(client.ReleaseEvents(ctx, []string{token}, &aznamespaces.ReleaseEventsOptions{ReleaseDelayInSeconds: ptr(aznamespaces.ReleaseDelayOneHour)}))(t)
	if q := r.queue("audit"); len(later.SucceededLockTokens) != 1 || q.Locked != 1 || q.Available != 0 {
		t.Errorf("released for later: %+v %+v", later, q)
	}
	if lost := must(client.RejectEvents(ctx, []string{token}, nil))(t); len(lost.FailedLockTokens) != 1 {
		t.Errorf("rejected after the release: %+v", lost)
	}
	r.setSecret(objectsURL, "db", "y")
	token, _ = receive()
	if rejected := must(client.RejectEvents(ctx, []string{token}, nil))(t); len(rejected.SucceededLockTokens) != 1 {
		t.Errorf("rejected: %+v", rejected)
	}
	if q := r.queue("audit"); q.Locked != 1 || q.Available != 0 {
		t.Errorf("after all that: %+v", q)
	}
}

// A sender's own events arrive as they were sent.
func TestGoSDKEventGridPublish(t *testing.T) {
	r := start(t, gridState)
	ctx := t.Context()
	sender := must(aznamespaces.NewSenderClient(gridURL, "keyvault", r.armCredential(t, nobodyApp, "nobody-secret"),
		&aznamespaces.SenderClientOptions{ClientOptions: r.once()}))(t)
	event := func(kind string, data any) *messaging.CloudEvent {
		e := must(messaging.NewCloudEvent("/tests", kind, data, &messaging.CloudEventOptions{Extensions: map[string]any{"traceparent": "00-1"}}))(t)
		return &e
	}
	if _, err := sender.SendEvent(ctx, event("one", map[string]int{"n": 1}), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := sender.SendEvents(ctx, []*messaging.CloudEvent{event("two", nil), event("three", []byte{0, 1})}, nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range must(r.receiver(opsApp, "ops-secret", "audit").ReceiveEvents(ctx, &aznamespaces.ReceiveEventsOptions{MaxEvents: ptr[int32](100)}))(t).Details {
		data, _ := d.Event.Data.([]byte)
		got = append(got, strings.Join([]string{d.Event.Type, string(data), d.Event.Extensions["traceparent"].(string)}, " "))
	}
	if diff := cmp.Diff([]string{`one {"n":1} 00-1`, "two  00-1", "three \x00\x01 00-1"}, got); diff != "" {
		t.Error(diff)
	}
}

// Refusals arrive as the SDK's errors.
func TestGoSDKEventGridErrors(t *testing.T) {
	r := start(t, gridState)
	receive := func(client *aznamespaces.ReceiverClient) func() error {
		return func() error { _, err := client.ReceiveEvents(t.Context(), nil); return err }
	}
	wantCode(t, "a sender's role", 403, "Forbidden", receive(r.receiver(nobodyApp, "nobody-secret", "vaultferry")))
	wantCode(t, "a role at another event subscription", 403, "Forbidden", receive(r.receiver(ciApp, "ci-secret", "audit")))
	wantCode(t, "unknown event subscription", 404, "NotFound", receive(r.receiver(opsApp, "ops-secret", "nope")))
	wrongAudience := must(aznamespaces.NewReceiverClient(gridURL, "keyvault", "audit", audienceOf{r.armCredential(t, opsApp, "ops-secret"), vaultScope},
		&aznamespaces.ReceiverClientOptions{ClientOptions: r.once()}))(t)
	wantCode(t, "a token for vaults", 401, "Unauthorized", receive(wrongAudience))
	for _, host := range []string{"eg-unknown.westeurope-1.eventgrid.azure.net", "eg-platform.northeurope-1.eventgrid.azure.net"} {
		client := must(aznamespaces.NewReceiverClient("https://"+host, "keyvault", "audit", r.armCredential(t, opsApp, "ops-secret"),
			&aznamespaces.ReceiverClientOptions{ClientOptions: r.once()}))(t)
		if err := receive(client)(); err == nil || !strings.Contains(err.Error(), "no such host "+host) {
			t.Errorf("%s: %v", host, err)
		}
	}
	r.adminDo("POST", "/faults", map[string]any{"service": "eventgrid", "operation": "ReceiveEvents", "identity": "ops", "status": 503, "count": 1}, nil)
	wantCode(t, "a fault", 503, "ServiceUnavailable", receive(r.receiver(opsApp, "ops-secret", "audit")))
	if n := r.count("ReceiveEvents", 503); n != 1 {
		t.Errorf("%d failed receives on record, want 1", n)
	}
}

// audienceOf gets tokens for something else than what is asked for.
type audienceOf struct {
	azcore.TokenCredential
	scope string
}

func (a audienceOf) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	options.Scopes = []string{a.scope}
	return a.TokenCredential.GetToken(ctx, options)
}
