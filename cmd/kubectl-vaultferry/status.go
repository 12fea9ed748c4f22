// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/kube"
	"github.com/vaultferry/vaultferry/internal/mounts"
)

// statusReport is the machine-readable answer.
type statusReport struct {
	typeMeta
	Classes []mounts.Class `json:"classes"`
}

func newStatus(a *app) *cobra.Command {
	var o output
	var all, watch bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show classes with their mounts, versions, failures, stale consumers and reloads", Args: noArgs,
		Long: "Show the SecretProviderClasses with what is mounted from them: on which nodes, at which versions, when it last changed, what fails, and which\n" +
			"containers hold on to an old value until they start again. RELOADED is when the reload controller last restarted a workload for the class or its\n" +
			"Secrets, PENDING how many restarts wait. -o wide lists each mount and each reload.",
		Example: "  kubectl vaultferry status -n payments\n  kubectl vaultferry status -A -o wide\n  kubectl vaultferry status -A -w",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			namespace, err := a.namespace(all)
			if err != nil {
				return err
			}
			if watch {
				err := a.watchStatus(cmd.Context(), &o, client, namespace)
				if cmd.Context().Err() != nil {
					return errWatched
				}
				return err
			}
			return a.status(cmd.Context(), &o, client, namespace)
		},
	}
	o.flag(cmd)
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "of all namespaces")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print again whenever something changes")
	return cmd
}

func (a *app) status(ctx context.Context, o *output, client *kube.Client, namespace string) error {
	classes, unread, err := mounts.Overview(ctx, client, namespace)
	if err != nil {
		return err
	}
	if unread.Secrets != nil {
		a.note("stale consumers of Secrets are not known: %v", unread.Secrets)
	}
	if unread.Workloads != nil {
		a.note("not all reloads are known: %v", unread.Workloads)
	}
	if len(classes) == 0 && !o.machine() {
		where := "in namespace " + namespace
		if namespace == "" {
			where = "in the cluster"
		}
		a.note("there is no SecretProviderClass %s", where)
		return nil
	}
	if classes == nil {
		classes = []mounts.Class{}
	}
	return o.show(a, statusReport{kind("Status"), classes}, func(w io.Writer) error {
		return writeStatus(w, a.painter(w), classes, o.format == wide)
	})
}

// watchStatus prints again whenever a pod status changes, and now and then, since pods change too.
func (a *app) watchStatus(ctx context.Context, o *output, client *kube.Client, namespace string) error {
	const atLeastEvery = 30 * time.Second
	for {
		w, err := client.WatchStatuses(ctx, namespace)
		if err != nil {
			return err
		}
		if a.terminal(a.out) && !o.machine() {
			fmt.Fprint(a.out, "\x1b[H\x1b[2J")
		}
		if err := a.status(ctx, o, client, namespace); err != nil {
			w.Stop()
			return err
		}
		if o.format == "yaml" {
			fmt.Fprintln(a.out, "---")
		} else if !o.machine() {
			fmt.Fprintln(a.out)
		}
		select {
		case <-ctx.Done():
			w.Stop()
			return ctx.Err()
		case <-w.ResultChan():
		case <-time.After(atLeastEvery):
		}
		w.Stop()
	}
}

func writeStatus(w io.Writer, p painter, classes []mounts.Class, each bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NAMESPACE\tCLASS\tVAULT\tMOUNTS\tNODES\tVERSIONS\tFAILING\tSTALE\tCHANGED\tRELOADED\tPENDING")
	for _, c := range classes {
		reloaded, pending := c.Reloaded()
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%d\t%d\t%s\t%s\t%d\n", c.Namespace, c.Name, orDash(c.Vault), len(c.Mounts), nodes(c), versions(c),
			c.Failing, len(c.Stale), when(c.Changed), when(reloaded), pending)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, c := range classes {
		writeTrouble(w, p, c)
	}
	if !each {
		return nil
	}
	if err := writeMounts(w, classes); err != nil {
		return err
	}
	return writeReloads(w, classes)
}

func nodes(c mounts.Class) int {
	found := map[string]bool{}
	for _, m := range c.Mounts {
		found[m.Node] = true
	}
	return len(found)
}

// versions says whether all mounts hold the same.
func versions(c mounts.Class) string {
	if len(c.Mounts) == 0 {
		return "-"
	}
	var behind []string
	for _, id := range slices.Sorted(maps.Keys(c.Versions)) {
		if len(c.Versions[id]) > 1 {
			behind = append(behind, fmt.Sprintf("%s at %d", id, len(c.Versions[id])))
		}
	}
	if len(behind) == 0 {
		return "same"
	}
	return strings.Join(behind, ", ")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func when(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return at.Format(time.RFC3339)
}

func writeTrouble(w io.Writer, p painter, c mounts.Class) {
	for _, m := range c.Mounts {
		if m.Reason != "" {
			fmt.Fprintf(w, "\n%s failing: pod %s/%s on node %s\n    %s\n", p.mark(markBroken), m.Namespace, m.Pod, m.Node, m.Message)
			fmt.Fprintf(w, "    look closer: kubectl vaultferry explain pod/%s --namespace %s\n", m.Pod, m.Namespace)
		}
		if m.Unsynced != "" {
			fmt.Fprintf(w, "\n%s not synced: Secrets of class %s/%s (pod %s)\n    %s\n", p.mark(markBroken), m.Namespace, c.Name, m.Pod, m.Unsynced)
		}
	}
	for _, s := range c.Stale {
		fmt.Fprintf(w, "\n%s stale: pod %s/%s, container %s\n    %s\n    start it anew: %s\n", p.mark(markWarn), c.Namespace, s.Pod, s.Container, s.Use, s.Fix)
	}
	for _, r := range c.Reloads {
		if r.RolloutFailed() {
			fmt.Fprintf(w, "\n%s reload failed: %s %s/%s, at %s\n    %s\n", p.mark(markWarn), r.Kind, r.Namespace, r.Name, when(&r.Last.At), r.FailedText())
		}
		if r.Pending != nil {
			fmt.Fprintf(w, "\n%s reload pending: %s %s/%s, since %s\n    %s\n    it waits: %s\n", p.mark(markWarn), r.Kind, r.Namespace, r.Name,
				when(&r.Pending.Since), r.Pending.Why, r.Pending.Wait())
		}
		if r.Unreadable != "" {
			fmt.Fprintf(w, "\n%s reload not known: %s %s/%s\n    %s\n", p.mark(markUnknown), r.Kind, r.Namespace, r.Name, r.Unreadable)
		}
	}
}

// writeReloads writes the last reload of each workload.
func writeReloads(w io.Writer, classes []mounts.Class) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	head := "\nNAMESPACE\tWORKLOAD\tCLASS\tRELOADED\tACTION\tWHY\n"
	for _, c := range classes {
		for _, r := range c.Reloads {
			if r.Last == nil {
				continue
			}
			fmt.Fprintf(table, "%s%s\t%s\t%s\t%s\t%s\t%s\n", head, r.Namespace, r.Kind+"/"+r.Name, c.Name, when(&r.Last.At), r.Last.Action, r.Last.Why)
			head = ""
		}
	}
	return table.Flush()
}

func writeMounts(w io.Writer, classes []mounts.Class) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "\nNAMESPACE\tPOD\tCLASS\tNODE\tOBJECT\tVERSION\tCHANGED\tREASON")
	for _, c := range classes {
		for _, m := range c.Mounts {
			for _, id := range slices.Sorted(maps.Keys(m.Objects)) {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Namespace, m.Pod, c.Name, m.Node, id, m.Objects[id], when(m.Changed), orDash(m.Reason))
			}
			if len(m.Objects) == 0 {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t-\t-\t%s\t%s\n", m.Namespace, m.Pod, c.Name, m.Node, when(m.Changed), orDash(m.Reason))
			}
		}
	}
	return table.Flush()
}
