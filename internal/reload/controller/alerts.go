// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Sink is where alerts go.
type Sink string

// The sinks. Raw is any endpoint that takes text.
const (
	Slack      Sink = "slack"
	Teams      Sink = "teams"
	GoogleChat Sink = "gchat"
	Raw        Sink = "raw"
)

// Alerts tell somebody of every reload. Without a URL they are off.
type Alerts struct {
	Sink Sink
	URL  string
	// Info stands before every text, for example the cluster's name.
	Info string
	// HTTP may go through a proxy.
	HTTP *http.Client
}

// Validate reports what is wrong.
func (a Alerts) Validate() error {
	switch a.Sink {
	case Slack, Teams, GoogleChat, Raw:
	default:
		return fmt.Errorf("ALERT_SINK must be slack, teams, gchat or raw, not %q", a.Sink)
	}
	u, err := url.Parse(a.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("ALERT_WEBHOOK_URL must be an http or https URL") // it is a secret: whoever has it may post
	}
	return nil
}

const alertTimeout = 10 * time.Second

// alert tells of a reload. It does not hold up others.
func (c *Controller) alert(w *workload, text string) {
	if c.config.Alerts.URL == "" {
		return
	}
	c.alerts.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), alertTimeout)
		defer cancel()
		if err := c.config.Alerts.send(ctx, text); err != nil {
			c.metrics.failed(failedAlert)
			c.log.Warn("Sending an alert", slog.String("workload", idOf(w).String()), slog.Any("error", err))
		}
	})
}

func (a Alerts) send(ctx context.Context, text string) error {
	if a.Info != "" {
		text = a.Info + " : " + text
	}
	contentType, body := a.message(text)
	client := a.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	return post(ctx, client, a.URL, contentType, body)
}

// message returns the text in the form that the sink takes.
func (a Alerts) message(text string) (contentType, body string) {
	var value any
	switch a.Sink {
	case Slack:
		value = map[string]any{"attachments": []map[string]string{{"text": text, "color": "good", "author_name": "Vaultferry"}}}
	case Teams, GoogleChat:
		value = map[string]string{"text": text}
	default:
		return "text/plain", strings.ReplaceAll(text, "*", "")
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return "text/plain", text // maps of strings have no error
	}
	return "application/json", string(encoded)
}

// postWebhook is what --webhook-url does instead of a restart.
func (c *Controller) postWebhook(ctx context.Context) error {
	if err := c.post(ctx, c.config.WebhookURL, "application/json", `{"webhook":"update successful"}`); err != nil {
		return fmt.Errorf("posting to --webhook-url: %w", err)
	}
	return nil
}

// withoutURL takes the URL out of an error of net/http, since it may hold a token.
func withoutURL(err error) error {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		return inURL.Err
	}
	return err
}
