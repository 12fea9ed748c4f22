// SPDX-License-Identifier: Apache-2.0

package eventgrid

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// maxBody bounds a request's body, in bytes ("Maximum event size", "Batch size").
const maxBody = 1 << 20

// receive answers as soon as there is an event, or with none when the time is up.
func (h *Handler) receive(c *call) *apiError {
	query := c.r.URL.Query()
	most, e := number(query, "maxEvents", 1, 1, 100)
	if e != nil {
		return e
	}
	seconds, e := number(query, "maxWaitTime", 60, 10, 120)
	if e != nil {
		return e
	}
	// Only behind a body that was read does the server see the client go away.
	if _, e := c.read(); e != nil {
		return e
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), time.Duration(seconds)*time.Second)
	defer cancel()
	value := []any{}
	for _, d := range c.route.subscription.queue.receive(ctx, h.cfg.Stop, most) {
		value = append(value, map[string]any{
			"brokerProperties": map[string]any{"lockToken": d.token, "deliveryCount": d.count}, "event": d.event,
		})
	}
	if c.r.Context().Err() != nil {
		// Events that were taken for the client come again when their locks end.
		return nil
	}
	c.reply(http.StatusOK, map[string]any{"value": value})
	return nil
}

// number reads a query parameter that has a default and bounds.
func number(query url.Values, name string, standard, least, most int) (int, *apiError) {
	if !query.Has(name) {
		return standard, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < least || n > most {
		return 0, badRequest("The query parameter %s must be a number between %d and %d.", name, least, most)
	}
	return n, nil
}

func (h *Handler) acknowledge(c *call) *apiError { return c.settle(done) }

func (h *Handler) reject(c *call) *apiError { return c.settle(done) }

func (h *Handler) renewLock(c *call) *apiError { return c.settle(c.route.subscription.queue.renewed) }

func (h *Handler) release(c *call) *apiError {
	delays := []string{"", "0", "10", "60", "600", "3600"}
	text := c.r.URL.Query().Get("releaseDelayInSeconds")
	if !slices.Contains(delays, text) {
		return badRequest("The query parameter releaseDelayInSeconds must be 0, 10, 60, 600 or 3600.")
	}
	seconds, _ := strconv.Atoi(text)
	return c.settle(released(time.Duration(seconds) * time.Second))
}

// settle does something to the events whose lock tokens the body names.
func (c *call) settle(do func(*entry, time.Time) bool) *apiError {
	data, e := c.read()
	if e != nil {
		return e
	}
	var body struct {
		LockTokens []string `json:"lockTokens"`
	}
	if err := json.Unmarshal(data, &body); err != nil || len(body.LockTokens) == 0 {
		return badRequest(`The body must be {"lockTokens": [...]} with at least one lock token.`)
	}
	settled, lost := c.route.subscription.queue.settle(body.LockTokens, do)
	failed := []any{}
	for _, t := range lost {
		// The code and the text are those that the service was seen to answer with.
		failed = append(failed, map[string]any{"lockToken": t, "error": map[string]string{"code": "TokenLost", "message": "Token has expired."}})
	}
	c.reply(http.StatusOK, map[string]any{"succeededLockTokens": append([]string{}, settled...), "failedLockTokens": failed})
	return nil
}

// read reads the body.
func (c *call) read() ([]byte, *apiError) {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The body has more than " + strconv.Itoa(maxBody) + " bytes."}
	}
	if err != nil {
		return nil, badRequest("The body cannot be read.")
	}
	return data, nil
}
