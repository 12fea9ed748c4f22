// SPDX-License-Identifier: Apache-2.0

package eventgrid

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"
)

// maxBatch is how many events a request may have ("Events per request").
const maxBatch = 1000

// publish puts events of a client into a topic: one CloudEvent, or a batch.
func (h *Handler) publish(c *call) *apiError {
	data, e := c.read()
	if e != nil {
		return e
	}
	var events []json.RawMessage
	switch kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); kind {
	case "application/cloudevents+json":
		events = []json.RawMessage{data}
	case "application/cloudevents-batch+json":
		if err := json.Unmarshal(data, &events); err != nil || len(events) > maxBatch {
			return badRequest("The body must be a JSON array of up to %d CloudEvents.", maxBatch)
		}
	default:
		return &apiError{http.StatusUnsupportedMediaType, "UnsupportedMediaType",
			"The Content-Type must be application/cloudevents+json or application/cloudevents-batch+json. The emulator does not take the binary content mode."}
	}
	for i, event := range events {
		if err := checkEvent(event); err != nil {
			return badRequest("The event with index %d is no CloudEvent: %v.", i, err)
		}
	}
	for _, event := range events {
		c.route.topic.push(event)
	}
	c.reply(http.StatusOK, map[string]any{})
	return nil
}

// checkEvent checks the attributes of a CloudEvent 1.0 in JSON ("JSON Event
// Format for CloudEvents"). Extensions are taken as they are.
func checkEvent(event json.RawMessage) error {
	var e struct {
		ID          string           `json:"id"`
		Source      string           `json:"source"`
		Type        string           `json:"type"`
		SpecVersion string           `json:"specversion"`
		Subject     *string          `json:"subject"`
		Time        *string          `json:"time"`
		Data        *json.RawMessage `json:"data"`
		DataBase64  []byte           `json:"data_base64"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return errors.New("it must be a JSON object whose attributes are texts")
	}
	for _, required := range []struct{ name, value string }{{"id", e.ID}, {"source", e.Source}, {"type", e.Type}} {
		if required.value == "" {
			return fmt.Errorf("%s is required", required.name)
		}
	}
	if e.SpecVersion != "1.0" {
		return errors.New("specversion must be 1.0")
	}
	if e.Time != nil {
		if _, err := time.Parse(time.RFC3339, *e.Time); err != nil {
			return errors.New("time must be a time of RFC 3339")
		}
	}
	if e.Data != nil && e.DataBase64 != nil {
		return errors.New("data and data_base64 exclude each other")
	}
	return nil
}
