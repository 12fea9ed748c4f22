// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// An Error is an answer that refuses, with the code that Entra ID would use
// ("Microsoft Entra authentication and authorization error codes").
type Error struct {
	// Code is the number behind AADSTS; 0 for what is not Entra ID's.
	Code int
	// Status is the HTTP status.
	Status int
	// Name is the OAuth error.
	Name string
	// Text is the description without the code and the trace ids.
	Text string
	// Detail says more to those who read the sign-in log. Clients never see it.
	Detail string
}

// Error makes an Error usable as a Go error.
func (e *Error) Error() string {
	text := e.prefix() + e.Text
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

func (e *Error) prefix() string {
	if e.Code == 0 {
		return ""
	}
	return fmt.Sprintf("AADSTS%d: ", e.Code)
}

const (
	docsLink  = "https://docs.microsoft.com/en-us/azure/active-directory/develop/workload-identity-federation"
	learnLink = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
	caseLink  = "https://learn.microsoft.com/en-us/entra/identity-platform/reference-breaking-changes#august-2024"
	mismatch  = "No matching federated identity record found for presented assertion"
	pleaseFix = "Please check your federated identity credential Subject, Audience and Issuer against the presented assertion."
)

func invalidClient(code int, format string, args ...any) *Error {
	return &Error{Code: code, Status: http.StatusUnauthorized, Name: "invalid_client", Text: fmt.Sprintf(format, args...)}
}

func invalidRequest(code int, format string, args ...any) *Error {
	return &Error{Code: code, Status: http.StatusBadRequest, Name: "invalid_request", Text: fmt.Sprintf(format, args...)}
}

func errTenant(tenant, name string) *Error {
	e := invalidRequest(90002, "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. "+
		"Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", tenant)
	e.Name = name
	return e
}

func errMissing(parameter string) *Error {
	return invalidRequest(900144, "The request body must contain the following parameter: '%s'.", parameter)
}

func errApplication(clientID, tenant string) *Error {
	e := invalidRequest(700016, "Application with identifier '%s' was not found in the directory '%s'. "+
		"This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. "+
		"You may have sent your authentication request to the wrong tenant.", clientID, tenant)
	e.Name = "unauthorized_client"
	return e
}

func errResource(resource, tenant string) *Error {
	e := invalidRequest(500011, "The resource principal named %s was not found in the tenant named %s. "+
		"This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. "+
		"You might have sent your authentication request to the wrong tenant.", resource, tenant)
	e.Name = "invalid_resource"
	return e
}

func errEndpoint(detail string) *Error {
	e := invalidRequest(90061, "Request to External OIDC endpoint failed.")
	e.Detail = detail
	return e
}

// body is the JSON of an error answer.
type body struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Codes       []int  `json:"error_codes"`
	Timestamp   string `json:"timestamp"`
	TraceID     string `json:"trace_id"`
	Correlation string `json:"correlation_id"`
	URI         string `json:"error_uri"`
}

func (c *call) fail(e *Error) {
	c.result = e
	if e.Code == 0 {
		c.reply(e.Status, map[string]string{"error": e.Name, "error_description": e.Text})
		return
	}
	timestamp := c.now.UTC().Format("2006-01-02 15:04:05") + "Z"
	c.reply(e.Status, body{
		Error: e.Name,
		Description: fmt.Sprintf("%s%s Trace ID: %s Correlation ID: %s Timestamp: %s",
			e.prefix(), e.Text, c.traceID, c.correlationID, timestamp),
		Codes: []int{e.Code}, Timestamp: timestamp, TraceID: c.traceID, Correlation: c.correlationID,
		URI: fmt.Sprintf("https://%s/error?code=%d", c.r.Host, e.Code),
	})
}

// reply keeps the answer; send sends it once the request is on record.
func (c *call) reply(status int, v any) {
	c.status = status
	c.body, _ = json.Marshal(v)
}

func (c *call) send() {
	if c.status == 0 {
		return
	}
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.WriteHeader(c.status)
	c.w.Write(c.body) //nolint:errcheck,gosec // the client is gone; JSON is no page
}

// instant is the form of times in AADSTS700024.
func instant(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.0000000") + "Z"
}
