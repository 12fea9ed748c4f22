// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/doctor"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/kube"
	"github.com/vaultferry/vaultferry/internal/mounts"
)

const doctorLong = `Check the installation: the kinds, the CSIDriver object, driver and provider on each node, tokens and issuer for workload identity, rights, policies and
certificates. Each check that fails comes with a hint. What you may not read is skipped and named.

With --bundle the results, the objects of the installation and the logs of its pods are written to a file for a support case. Secrets and environment
variables are never in it, and what looks like a credential is blotted out.`

// doctorReport is the machine-readable answer.
type doctorReport struct {
	typeMeta
	// State is ok, warning or failed.
	State  doctor.State    `json:"state"`
	Checks []doctor.Result `json:"checks"`
}

func newDoctor(a *app) *cobra.Command {
	var o output
	var wait time.Duration
	var bundle string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the installation", Long: doctorLong, Args: noArgs,
		Example: "  kubectl vaultferry doctor\n\n  # after an installation: until all is well, five minutes at most\n  kubectl vaultferry doctor --wait 5m\n\n" +
			"  # for a support case\n  kubectl vaultferry doctor --bundle vaultferry-support.tar.gz",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), &o, wait, bundle) },
	}
	o.flag(cmd)
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for failing checks to pass")
	cmd.Flags().StringVar(&bundle, "bundle", "", "file to write a support bundle to, a gzipped tar")
	return cmd
}

func (a *app) doctor(ctx context.Context, o *output, wait time.Duration, bundle string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	results, err := a.check(ctx, client, wait)
	if err != nil {
		return err
	}
	report := doctorReport{kind("DoctorReport"), doctor.Worst(results), results}
	if err := o.show(a, report, func(w io.Writer) error { return writeResults(w, a.painter(w), results, o.format == wide) }); err != nil {
		return err
	}
	if bundle != "" {
		if err := a.writeBundle(ctx, client, bundle, report); err != nil {
			return err
		}
	}
	if report.State == doctor.Failed {
		return errFound
	}
	return nil
}

// check runs the checks, again and again until none fails or the time is over. An API server that does not answer, too, is waited for.
func (a *app) check(ctx context.Context, client *kube.Client, wait time.Duration) ([]doctor.Result, error) {
	const pause = 2 * time.Second
	deadline := time.Now().Add(wait)
	told := ""
	for {
		results, err := doctor.Run(ctx, client, reach)
		waiting := "the API server cannot be asked yet"
		if err == nil {
			failing := 0
			for _, r := range results {
				if r.State == doctor.Failed {
					failing++
				}
			}
			if failing == 0 {
				return results, ctx.Err()
			}
			waiting = plural(failing, "check does", "checks do") + " not pass yet"
		}
		if ctx.Err() != nil || !time.Now().Add(pause).Before(deadline) {
			return results, cmp.Or(ctx.Err(), err)
		}
		if waiting != told {
			a.note("waiting: %s", waiting)
			told = waiting
		}
		select {
		case <-ctx.Done():
			return results, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// reach asks whether a URL answers from here.
func reach(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := entra.HTTPClient(entra.NewTransport(http.ProxyFromEnvironment), 1<<20).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}

func writeResults(w io.Writer, p painter, results []doctor.Result, all bool) error {
	group := ""
	bad, skipped := 0, 0
	for _, r := range results {
		if r.Group != group {
			if group != "" {
				fmt.Fprintln(w)
			}
			group = r.Group
			fmt.Fprintln(w, p.bold(group))
		}
		m := map[doctor.State]mark{doctor.OK: markOK, doctor.Warning: markWarn, doctor.Failed: markBroken, doctor.Skipped: markUnknown}[r.State]
		line := "  " + p.mark(m) + " " + r.Title
		if r.State != doctor.OK {
			line += " " + p.in(m.color, "["+string(r.State)+"]")
		}
		if r.Detail != "" && (all || r.State != doctor.OK) {
			line += p.dim(": " + r.Detail)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
		if r.Hint != "" {
			fmt.Fprintf(w, "      %s\n", r.Hint)
		}
		switch r.State {
		case doctor.Failed, doctor.Warning:
			bad++
		case doctor.Skipped:
			skipped++
		case doctor.OK:
		}
	}
	verdict := "all checks passed"
	if bad > 0 {
		verdict = plural(bad, "check needs", "checks need") + " attention"
	}
	if skipped > 0 {
		verdict += fmt.Sprintf(", %d skipped", skipped)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict)
	return err
}

func (a *app) writeBundle(ctx context.Context, client *kube.Client, name string, report doctorReport) error {
	files := []doctor.File{}
	add := func(name string, data any) {
		if content, err := json.MarshalIndent(data, "", "  "); err == nil {
			files = append(files, doctor.File{Name: name, Content: content})
		}
	}
	add("doctor.json", report)
	if classes, _, err := mounts.Overview(ctx, client, ""); err == nil {
		add("status.json", statusReport{kind("Status"), classes})
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("--bundle: %w", err)
	}
	if err := doctor.Bundle(ctx, file, client, files, time.Now()); err != nil {
		file.Close()
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	a.note("wrote %s; look through it before you give it away", name)
	return nil
}
