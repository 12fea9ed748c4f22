// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// announced measures from the write of a value to the vault until the last of 200 volumes holds it, where the vault announces it and the interval is far away.
func (b *bench) announced(ctx context.Context) error {
	const interval, writes = time.Hour, 5
	w := shared(200, 1)
	pods, err := b.cluster.prepareAlone(ctx, w)
	if err != nil {
		return err
	}
	return b.withNode(ctx, nodeSettings{refresh: interval}, func(n *node) error {
		if !n.ours() {
			return nil
		}
		if err := b.publishAll(ctx, n, w, pods); err != nil {
			return err
		}
		controller, err := b.startController(ctx)
		if err != nil {
			return err
		}
		err = b.announcedLag(ctx, n, w, pods, writes)
		if err != nil {
			err = controller.WithLog(err)
		}
		return errors.Join(err, controller.Stop())
	})
}

func (b *bench) announcedLag(ctx context.Context, n *node, w workload, pods []*pod, writes int) error {
	const most = time.Minute
	// The first one waits for the controller to begin.
	if _, err := b.arrival(ctx, n, w, pods, most); err != nil {
		return err
	}
	name := fmt.Sprintf("rotation lag, announced by an event, %d writes, last of %d volumes", writes, w.Volumes)
	r, err := b.measure(ctx, n, result{Group: "events", Name: name, Load: w, N: writes}, func(r *result) error {
		var each []time.Duration
		for i := range writes {
			// Some come while the controller waits for events, some while it pauses after the last one.
			if err := sleep(ctx, time.Duration(i)*300*time.Millisecond); err != nil {
				return err
			}
			took, err := b.arrival(ctx, n, w, pods, most)
			if err != nil {
				return err
			}
			each = append(each, took)
		}
		r.P50, r.Took = milliseconds(quantile(each, 0.5)), milliseconds(quantile(each, 1))
		r.Text = fmt.Sprintf("p50 %s, longest %s", inMilliseconds(r.P50), inMilliseconds(r.Took))
		return nil
	})
	if err != nil {
		return err
	}
	r.aim("≤ 2 s", r.Took <= milliseconds(2*time.Second))
	return nil
}

// startController starts a controller with the rights of the chart, which receives the events of the vault.
func (b *bench) startController(ctx context.Context) (*lab.Process, error) {
	p, err := b.cluster.pod(ctx, lab.Home, lab.ControllerAccount, lab.ControllerAccount)
	if err != nil {
		return nil, err
	}
	token, _, err := b.server.Token(ctx, lab.Home, p.account, p.name, p.uid)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := b.server.Kubeconfig("controller", token)
	if err != nil {
		return nil, err
	}
	tokenFile := filepath.Join(b.dir, "controller-token")
	if err := os.WriteFile(tokenFile, []byte(p.token), 0o600); err != nil {
		return nil, err
	}
	environment := []string{"HTTPS_PROXY=http://" + emulatorProxy, "SSL_CERT_FILE=" + b.azure.ca, "NO_PROXY=127.0.0.1,localhost"}
	return lab.Start(ctx, b.dir, "controller", environment, b.options.controller, "controller", "--kubeconfig="+kubeconfig, "--leader-elect=false",
		"--health-addr=", "--metrics-addr=", "--events-endpoint="+lab.GridEndpoint, "--events-topic="+lab.GridTopic, "--events-subscription="+lab.GridSubscription,
		"--events-client-id="+lab.ControllerClientID, "--events-tenant-id="+lab.Tenant, "--events-token-file="+tokenFile)
}
