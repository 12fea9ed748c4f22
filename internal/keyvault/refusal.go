// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// refusal is the body of a vault's error answer, with what of it may be shown.
type refusal struct {
	status  int
	header  http.Header
	code    string
	inner   string
	message string
}

var (
	word          = regexp.MustCompile(`^[A-Za-z0-9]+$`)
	authCode      = regexp.MustCompile(`\bAKV[0-9]{4,6}\b`)
	clientAddress = regexp.MustCompile(`Client address: *([0-9a-fA-F.:]+)`)
)

func isWord(text string) bool { return len(text) <= 64 && word.MatchString(text) }

// readRefusal reads an error answer.
func readRefusal(failed *azcore.ResponseError) refusal {
	r := refusal{status: failed.StatusCode, header: http.Header{}}
	if failed.RawResponse == nil {
		return r
	}
	r.header = failed.RawResponse.Header
	content, err := runtime.Payload(failed.RawResponse)
	if err != nil {
		return r
	}
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Inner   struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	if json.Unmarshal(content, &body) != nil {
		return r
	}
	if isWord(body.Error.Code) {
		r.code = body.Error.Code
	}
	if isWord(body.Error.Inner.Code) {
		r.inner = body.Error.Inner.Code
	}
	r.message = body.Error.Message
	return r
}

// explain turns the library's error into one line in the user's words. The library's own text is never used: it is a dump of
// many lines.
func (r *Reader) explain(ctx context.Context, err error, c call) error {
	if told, ok := errors.AsType[*reason.Error](err); ok {
		return told
	}
	cause := context.Cause(ctx)
	if cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		// Either the caller gave up, or another object's error already says it for the whole vault.
		return cause
	}
	if failed, ok := errors.AsType[*azcore.ResponseError](err); ok {
		answer := readRefusal(failed)
		if answer.status == http.StatusTooManyRequests {
			r.config.Observer.VaultThrottled(c.item.Vault)
			return c.throttled(r.throttle.note(c.hostKey(), retryAfter(answer.header)), "HTTP status 429")
		}
		return c.refused(answer)
	}
	if errors.Is(err, entra.ErrAnswerTooLarge) {
		return c.invalid(entra.ErrAnswerTooLarge.Error())
	}
	if isAnswerFault(err) {
		return c.invalid("the vault's answer could not be understood")
	}
	if cause != nil && c.progress != nil && c.progress.Load() > 0 {
		return c.unfinished(c.progress.Load())
	}
	if cause != nil && errors.Is(err, context.Canceled) {
		// Nobody had more time, which a read that many wait for hears of as a cancellation.
		err = cause
	}
	return c.unanswered(err)
}

// isAnswerFault reports whether an answer came but was broken.
func isAnswerFault(err error) bool {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	return syntax || kind || strings.HasPrefix(err.Error(), "unmarshalling type ")
}

// retryAfter reads how long an answer asks to wait (RFC 9110 §10.2.3, and Azure's finer variants).
func retryAfter(header http.Header) time.Duration {
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if n, err := strconv.Atoi(header.Get(name)); err == nil && n > 0 {
			return time.Duration(min(n, 1<<30)) * time.Millisecond
		}
	}
	value := header.Get("Retry-After")
	if n, err := strconv.Atoi(value); err == nil && n > 0 {
		return time.Duration(min(n, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
