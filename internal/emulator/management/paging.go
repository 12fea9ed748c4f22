// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
)

// Page sizes. An answer may be shorter than what was asked for by $top, so
// small pages are what clients have to be ready for.
const (
	identityPage   = 20
	credentialPage = 10
	vaultPage      = 20
	assignmentPage = 50
)

// page answers with the part of a list that the request asks for.
func (c *call) page(all []any, most int) *apiError {
	query := c.r.URL.Query()
	size := most
	if text := query.Get("$top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return &apiError{http.StatusBadRequest, "InvalidQueryParameter", "The value '" + text + "' of the query parameter '$top' is not a positive number."}
		}
		size = min(size, n)
	}
	from, ok := fromToken(query)
	if !ok || from > len(all) {
		return &apiError{http.StatusBadRequest, "InvalidSkipToken", "The skip token is not one that this service gave out."}
	}
	to := min(from+size, len(all))
	answer := object{"value": append([]any{}, all[from:to]...)}
	if to < len(all) {
		next := url.Values{}
		for _, name := range []string{"api-version", "$filter", "$top"} {
			if query.Has(name) {
				next.Set(name, query.Get(name))
			}
		}
		next.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(to))))
		answer["nextLink"] = "https://" + c.r.Host + c.r.URL.EscapedPath() + "?" + next.Encode()
	}
	c.reply(http.StatusOK, answer)
	return nil
}

func fromToken(query url.Values) (int, bool) {
	text := query.Get("$skiptoken")
	if text == "" {
		text = query.Get("$skipToken")
	}
	if text == "" {
		return 0, true
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(string(data))
	return n, err == nil && n >= 0
}
