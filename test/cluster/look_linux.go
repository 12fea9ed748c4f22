// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/test/cluster/internal/cluster"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
)

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster and everything of it, but for the built programs",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			existed, err := a.cluster().Down(command.Context())
			if err == nil && !existed {
				fmt.Fprintf(a.stderr, "cluster %s doesn't exist\n", a.name)
			}
			return err
		},
	}
}

// view is what status and list show of a cluster.
type view struct {
	Name       string           `json:"name"`
	State      cluster.State    `json:"state"`
	Ready      bool             `json:"ready"`
	Server     string           `json:"server,omitempty"`
	Kubeconfig string           `json:"kubeconfig,omitempty"`
	Version    string           `json:"version,omitempty"`
	StateDir   string           `json:"stateDir,omitempty"`
	LogDir     string           `json:"logDir,omitempty"`
	Supervisor int              `json:"supervisorPID,omitempty"`
	NodePID    int              `json:"nodePID,omitempty"`
	NodeName   string           `json:"nodeName,omitempty"`
	NodeIP     string           `json:"nodeIP,omitempty"`
	Programs   []record.Program `json:"programs,omitempty"`
}

func viewOf(name string) (view, error) {
	places := layout.New(name)
	shown := view{Name: name}
	found := cluster.Cluster{Layout: places}
	state, supervisor, err := found.Find()
	if err != nil {
		return shown, err
	}
	shown.State = state
	if state == cluster.Absent {
		return shown, nil
	}
	node := places.Node(0)
	shown.StateDir, shown.LogDir = places.State(), node.Logs()
	if state == cluster.Stopped {
		return shown, nil
	}
	var settings record.Cluster
	var process record.Process
	var status record.Node
	for path, into := range map[string]any{places.Record(): &settings, node.Process(): &process, node.Status(): &status} {
		if _, err := record.Read(path, into); err != nil {
			return shown, err
		}
	}
	shown.Server = fmt.Sprintf("https://127.0.0.1:%d", settings.Port)
	shown.Kubeconfig, shown.Version = places.Kubeconfig(), settings.Version
	shown.Supervisor, shown.NodePID, shown.NodeName, shown.NodeIP = supervisor.PID, process.PID, node.Name, node.IP()
	shown.Programs = status.Programs
	shown.Ready = len(status.Programs) > 0 && !slices.ContainsFunc(status.Programs, func(p record.Program) bool { return !p.Ready })
	return shown, nil
}

func (a *app) statusCommand() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "status",
		Short: "Show how the cluster and its programs do",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			shown, err := viewOf(a.name)
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(a.stdout, shown)
			}
			return writeStatus(a.stdout, shown)
		},
	}
	addOutputFlag(command, &output)
	return command
}

func (a *app) listCommand() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the clusters of this machine",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			names, err := cluster.Names(layout.DefaultStateRoot)
			if err != nil {
				return err
			}
			views := []view{}
			for _, name := range names {
				shown, err := viewOf(name)
				if err != nil {
					return err
				}
				views = append(views, shown)
			}
			if output == "json" {
				return writeJSON(a.stdout, views)
			}
			table := tabwriter.NewWriter(a.stdout, 0, 0, 3, ' ', 0)
			fmt.Fprintln(table, "NAME\tSTATE\tREADY\tSERVER")
			for _, shown := range views {
				fmt.Fprintf(table, "%s\t%s\t%v\t%s\n", shown.Name, shown.State, shown.Ready, shown.Server)
			}
			return table.Flush()
		},
	}
	addOutputFlag(command, &output)
	return command
}

func addOutputFlag(command *cobra.Command, output *string) {
	command.Flags().StringVarP(output, "output", "o", "text", "how to print: text or json")
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	command.PreRunE = func(*cobra.Command, []string) error {
		if *output != "text" && *output != "json" {
			return fmt.Errorf("--output %q: use text or json", *output)
		}
		return nil
	}
}

func writeJSON(to io.Writer, value any) error {
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func writeStatus(to io.Writer, shown view) error {
	table := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "cluster\t%s\nstate\t%s\n", shown.Name, shown.State)
	if shown.State == cluster.Running {
		fmt.Fprintf(table, "server\t%s\nkubeconfig\t%s\nnode\t%s (%s)\nlogs\t%s\n", shown.Server, shown.Kubeconfig, shown.NodeName, shown.NodeIP, shown.LogDir)
	}
	if err := table.Flush(); err != nil || len(shown.Programs) == 0 {
		return err
	}
	fmt.Fprintln(table, "\nPROGRAM\tREADY\tRESTARTS\tSINCE\tMESSAGE")
	for _, program := range shown.Programs {
		fmt.Fprintf(table, "%s\t%v\t%d\t%s\t%s\n", program.Name, program.Ready, program.Restarts,
			time.Since(program.Since).Round(time.Second), program.Message)
	}
	return table.Flush()
}

func (a *app) logsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "logs [PROGRAM]",
		Short: "Print the log of one of the cluster's programs; without a name, list them",
		Example: `  cluster logs
  cluster logs kubelet`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names, _ := a.logNames()
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := a.logNames()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				fmt.Fprintln(a.stdout, strings.Join(names, "\n"))
				return nil
			}
			if !slices.Contains(names, args[0]) {
				return fmt.Errorf("no program of cluster %q has a log called %q: use one of %s", a.name, args[0], strings.Join(names, ", "))
			}
			return a.printLog(args[0])
		},
	}
	return command
}

func (a *app) printLog(program string) error {
	places := layout.New(a.name)
	path := filepath.Join(places.Node(0).Logs(), program+".log")
	if program == "supervisor" {
		path = places.SupervisorLog()
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the log of %s: %w", program, err)
	}
	defer file.Close()
	_, err = io.Copy(a.stdout, file)
	return err
}

func (a *app) logNames() ([]string, error) {
	entries, err := os.ReadDir(layout.New(a.name).Node(0).Logs())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cluster %q doesn't exist: run `up` first", a.name)
	}
	if err != nil {
		return nil, fmt.Errorf("listing the logs of cluster %q: %w", a.name, err)
	}
	names := []string{"supervisor"}
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), ".log"); ok {
			names = append(names, name)
		}
	}
	return names, nil
}
