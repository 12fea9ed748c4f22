// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_driver && !vaultferry_provider && !vaultferry_webhook

package main

import "github.com/spf13/cobra"

// nodeCommands are the processes of a cluster that this build has.
func nodeCommands(env environment) []*cobra.Command {
	return []*cobra.Command{newDriverCommand(env), newProviderCommand(env), newControllerCommand(env), newWebhookCommand(env)}
}
