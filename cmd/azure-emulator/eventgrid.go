// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"

	"github.com/spf13/cobra"
)

func newEventGrid(c *client) *cobra.Command {
	return group("eventgrid", "Look at Event Grid namespaces, which the state file declares",
		group("namespace", "Look at namespaces",
			group("topic", "Look at topics",
				group("event-subscription", "Look at event subscriptions and their queues", eventSubscriptionList(c)))))
}

func eventSubscriptionList(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the event subscriptions of all topics, with what waits in their queues", Args: cobra.NoArgs,
		Example: "  azure-emulator eventgrid namespace topic event-subscription list -o table",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.print(cmd, http.MethodGet, "/event-subscriptions", nil, column{"Namespace", "namespace"}, column{"Topic", "topic"}, column{"Name", "name"},
				column{"Vaults", "vaults"}, column{"Available", "available"}, column{"Locked", "locked"}, column{"Dropped", "dropped"}, column{"Receivers", "receivers"})
		},
	}
}
