// SPDX-License-Identifier: Apache-2.0

//go:build vaultferry_controller

package main

import "github.com/spf13/cobra"

// nodeCommands are the processes of a cluster that this build has.
func nodeCommands(env environment) []*cobra.Command {
	return []*cobra.Command{newControllerCommand(env)}
}
