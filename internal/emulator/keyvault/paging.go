// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxPage is the largest page, and the default ("maxresults").
const maxPage = 25

// skipToken is what $skiptoken holds, as JSON in base64.
type skipToken struct {
	NextMarker     string `json:"NextMarker"`
	TargetLocation int    `json:"TargetLocation"`
}

// page reads where a list is to go on and how long it may get.
func (c *call) page() (after string, limit int, e *apiError) {
	query := c.r.URL.Query()
	limit = maxPage
	if text := query.Get("maxresults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return "", 0, badProperty("maxresults", "it must be a number from 1 to 25")
		}
		limit = n
	}
	if text := query.Get("$skiptoken"); text != "" {
		var t skipToken
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil || json.Unmarshal(data, &t) != nil {
			return "", 0, badProperty("$skiptoken", "it is not one that this service gave out")
		}
		after = t.NextMarker
	}
	return after, limit, nil
}

// replyPage answers with a page; last is the last item's place in the order.
func (c *call) replyPage(items []any, last string, more bool) {
	answer := map[string]any{"value": items, "nextLink": nil}
	if more {
		answer["nextLink"] = c.nextLink(last)
	}
	c.reply(http.StatusOK, answer)
}

// nextLink is absolute and has a port, always, as in Azure.
func (c *call) nextLink(last string) string {
	data, _ := json.Marshal(skipToken{NextMarker: last})
	host := c.host
	if !strings.Contains(host, ":") {
		host += ":443"
	}
	query := c.r.URL.Query()
	link := "https://" + host + strings.TrimRight(c.r.URL.EscapedPath(), "/") +
		"?api-version=" + url.QueryEscape(query.Get("api-version")) +
		"&$skiptoken=" + url.QueryEscape(base64.StdEncoding.EncodeToString(data))
	if n := query.Get("maxresults"); n != "" {
		link += "&maxresults=" + n
	}
	return link
}
