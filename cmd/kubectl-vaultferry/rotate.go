// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/kube"
	"github.com/vaultferry/vaultferry/internal/mounts"
)

const rotateLong = `Ask for the objects of a SecretProviderClass to be fetched again now, and wait until every mount has done so.

The request is the annotation vaultferry.io/rotate-requested-at of the class. The driver of each node sees it at once, passes over what its provider
holds in memory, and notes it in the pod's status, whether or not a value has changed. It works without
--enable-secret-rotation too, within an hour of the mount: without it and without sync, kubelet brings no newer token.`

// rotationReport is the machine-readable answer.
type rotationReport struct {
	typeMeta
	Namespace string `json:"namespace"`
	Class     string `json:"class"`
	Request   string `json:"request"`
	Complete  bool   `json:"complete"`
	mounts.Progress
}

func newRotate(a *app) *cobra.Command {
	var o output
	var timeout time.Duration
	wait := true
	cmd := &cobra.Command{
		Use: "rotate class/NAME", Short: "Fetch the objects of a class again now, and wait until every mount has them",
		Long: rotateLong,
		Example: "  kubectl vaultferry rotate class/app-kv -n payments\n\n  # in a script\n" +
			"  kubectl vaultferry rotate class/app-kv -n payments --timeout 5m -o json",
		ValidArgsFunction: a.completeObjects(classKind()),
		RunE: func(cmd *cobra.Command, args []string) error {
			object, err := parseObject(args, classKind())
			if err != nil {
				return err
			}
			return a.rotate(cmd.Context(), &o, object, wait, timeout)
		},
	}
	o.flag(cmd)
	cmd.Flags().BoolVar(&wait, "wait", true, "wait until every mount has fetched its objects")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait")
	return cmd
}

func (a *app) rotate(ctx context.Context, o *output, object objectRef, wait bool, timeout time.Duration) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	namespace, err := a.namespace(false)
	if err != nil {
		return err
	}
	rotation, err := mounts.Rotate(ctx, client, namespace, object.name)
	if kube.Missing(err) {
		return a.missing(ctx, client, object, namespace)
	}
	if err != nil {
		return err
	}
	report := rotationReport{typeMeta: kind("Rotation"), Namespace: namespace, Class: object.name, Request: rotation.Request}
	if !wait {
		return o.show(a, report, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "secretproviderclass/%s: rotation requested\n", object.name)
			return err
		})
	}
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	report.Progress, err = rotation.Wait(waiting, a.tellProgress)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	report.Complete = err == nil
	if err := o.show(a, report, func(w io.Writer) error { return writeRotation(w, report, timeout) }); err != nil {
		return err
	}
	if !report.Complete {
		return errFound
	}
	return nil
}

// tellProgress keeps a person informed: on a terminal in one line that is written over, otherwise in a line each.
func (a *app) tellProgress(p mounts.Progress) {
	line := fmt.Sprintf("%d of %s done", p.Done, plural(p.Mounts, "mount", "mounts"))
	if a.terminal != nil && a.terminal(a.err) {
		fmt.Fprintf(a.err, "\r\x1b[K%s", line)
		if p.Done == p.Mounts {
			fmt.Fprintln(a.err)
		}
		return
	}
	a.note("%s", line)
}

func writeRotation(w io.Writer, r rotationReport, timeout time.Duration) error {
	if r.Complete {
		text := fmt.Sprintf("secretproviderclass/%s: fetched for %s, %d changed", r.Class, plural(r.Mounts, "mount", "mounts"), r.Changed)
		if r.Mounts == 0 {
			text = fmt.Sprintf("secretproviderclass/%s: no pod mounts it, so there was nothing to fetch", r.Class)
		}
		_, err := fmt.Fprintln(w, text)
		return err
	}
	fmt.Fprintf(w, "secretproviderclass/%s: %d of %s not done after %s\n", r.Class, len(r.Waiting), plural(r.Mounts, "mount", "mounts"), timeout)
	for _, m := range r.Waiting {
		why := m.Message
		if why == "" {
			why = "has not answered; look at the driver on its node: kubectl vaultferry doctor"
		}
		if _, err := fmt.Fprintf(w, "  pod %s on node %s: %s\n", m.Pod, m.Node, why); err != nil {
			return err
		}
	}
	return nil
}
