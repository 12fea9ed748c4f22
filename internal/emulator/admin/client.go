// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// A Client calls the API.
type Client struct {
	// URL is the API's address, e.g. http://127.0.0.1:8444.
	URL string
	// Token is the bearer token, if the API asks for one.
	Token string
	// HTTP is the client to use.
	HTTP *http.Client
}

// An APIError is a refusal by the API.
type APIError struct {
	Status  int
	Code    string
	Message string
}

// Error returns the API's own message.
func (e *APIError) Error() string { return e.Message }

// Do sends in as JSON, unless it is nil, and reads the answer into out, unless
// that is nil. A refusal comes back as *APIError.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	body, err := c.Stream(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("reading the emulator's answer: %w", err)
	}
	return nil
}

// Stream is Do for an answer that the caller reads and closes.
func (c *Client) Stream(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var content io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path, content)
	if err != nil {
		return nil, fmt.Errorf("calling the emulator: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("calling the emulator at %s (is it running? start it with: azure-emulator serve): %w", c.URL, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp.Body, nil
}

func refusal(resp *http.Response) error {
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Error.Message == "" {
		return &APIError{Status: resp.StatusCode, Message: "the emulator answered " + resp.Status + "; is the address that of its admin API?"}
	}
	return &APIError{resp.StatusCode, body.Error.Code, body.Error.Message}
}
