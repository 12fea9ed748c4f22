// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
)

// An EventSubscription is an event subscription of an Event Grid namespace's
// topic, with what waits in its queue. Unlike az's it is flat.
type EventSubscription struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Topic     string `json:"topic"`
	Type      string `json:"type"`
	// Endpoint is the namespace's URL, which clients are given.
	Endpoint         string         `json:"endpoint"`
	Vaults           []string       `json:"vaults"`
	LockDuration     fault.Duration `json:"lockDuration"`
	MaxDeliveryCount int            `json:"maxDeliveryCount"`
	// Available events can be received. Locked ones were, or are put off.
	// Dropped ones are lost: too many, or delivered too often.
	Available int `json:"available"`
	Locked    int `json:"locked"`
	Dropped   int `json:"dropped"`
	// Receivers are requests that wait for an event.
	Receivers int `json:"receivers"`
}

func (s *Server) listEventSubscriptions(*http.Request) (any, error) {
	list := []EventSubscription{}
	for _, e := range s.cfg.Events.Subscriptions() {
		list = append(list, EventSubscription{
			ID: e.ID, Name: e.Name, Namespace: e.Namespace, Topic: e.Topic, Type: arm.TypeEventSubscription,
			Endpoint: "https://" + e.Host, Vaults: append([]string{}, e.Vaults...),
			LockDuration: fault.Duration(e.LockDuration), MaxDeliveryCount: e.MaxDeliveryCount,
			Available: e.Available, Locked: e.Locked, Dropped: e.Dropped, Receivers: e.Receivers,
		})
	}
	return list, nil
}
