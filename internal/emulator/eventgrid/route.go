// SPDX-License-Identifier: Apache-2.0

package eventgrid

import (
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
)

// route is what a path asks for.
type route struct {
	// operation is the name of the request in counters and faults: that of the
	// method of the official SDK for Go.
	operation string
	// action is the data action that the caller must be allowed.
	action                      string
	topicName, subscriptionName string
	serve                       func(*Handler, *call) *apiError

	// topic and subscription are those of the names, once found.
	topic        topic
	subscription subscription
}

// parseRoute finds the route of /topics/{topic}:publish and of
// /topics/{topic}/eventsubscriptions/{name}:{verb}. Azure compares names without
// regard to case.
func parseRoute(path string) route {
	path, verb := cutLast(strings.TrimPrefix(path, "/"), ":")
	parts := strings.Split(path, "/")
	if !strings.EqualFold(parts[0], "topics") {
		return route{operation: "Unknown"}
	}
	switch {
	case len(parts) == 2 && parts[1] != "" && strings.EqualFold(verb, "publish"):
		return route{operation: "SendEvents", action: arm.ActionSendEvents, topicName: parts[1], serve: (*Handler).publish}
	case len(parts) == 4 && parts[1] != "" && strings.EqualFold(parts[2], "eventsubscriptions") && parts[3] != "":
		if r, ok := consumerRoute(strings.ToLower(verb)); ok {
			r.action, r.topicName, r.subscriptionName = arm.ActionReceiveEvents, parts[1], parts[3]
			return r
		}
	}
	return route{operation: "Unknown"}
}

func consumerRoute(verb string) (route, bool) {
	r, ok := map[string]route{
		"receive":     {operation: "ReceiveEvents", serve: (*Handler).receive},
		"acknowledge": {operation: "AcknowledgeEvents", serve: (*Handler).acknowledge},
		"release":     {operation: "ReleaseEvents", serve: (*Handler).release},
		"reject":      {operation: "RejectEvents", serve: (*Handler).reject},
		"renewlock":   {operation: "RenewEventLocks", serve: (*Handler).renewLock},
	}[verb]
	return r, ok
}

// cutLast cuts at the last separator; without one all is before.
func cutLast(s, separator string) (before, after string) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):]
	}
	return s, ""
}

// find looks the names up.
func (r *route) find(c *call) *apiError {
	var ok bool
	if r.topic, ok = c.namespace.topic(r.topicName); !ok {
		return notFound("The topic '" + r.topicName + "' does not exist in the namespace '" + c.namespace.Name + "'.")
	}
	if r.subscriptionName == "" {
		return nil
	}
	if r.subscription, ok = r.topic.subscription(r.subscriptionName); !ok {
		return notFound("The event subscription '" + r.subscriptionName + "' does not exist on the topic '" + r.topic.name + "'.")
	}
	return nil
}
