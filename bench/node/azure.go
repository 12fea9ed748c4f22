// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
)

const (
	// Sizes of what the emulator is told of; a workload uses a part of it.
	maxIdentities, maxObjects = 200, 1000

	emulatorAdmin, emulatorProxy = "127.0.0.1:8444", "127.0.0.1:8080"
)

// azure is the emulator, every answer of which is late.
type azure struct {
	process *lab.Process
	ca      string
	client  admin.Client
	late    fault.Fault
}

func startAzure(ctx context.Context, dir, program, keys string, latency time.Duration) (*azure, error) {
	state := filepath.Join(dir, "azure.yaml")
	if err := os.WriteFile(state, lab.AzureState(keys, namespace, maxIdentities, maxObjects), 0o600); err != nil {
		return nil, err
	}
	a := &azure{ca: filepath.Join(dir, "azure-ca.pem"), client: admin.Client{URL: "http://" + emulatorAdmin, HTTP: http.DefaultClient}, late: fault.Fault{Latency: fault.Duration(latency)}}
	var err error
	if a.process, err = lab.Start(ctx, dir, "azure-emulator", nil, program, "serve", "--state="+state, "--ca-cert="+a.ca, "--ca-key="+filepath.Join(dir, "azure-ca-key.pem"),
		"--proxy-listen="+emulatorProxy, "--admin-listen="+emulatorAdmin, "--imds-listen=", "--audit-log="+os.DevNull, "--log-level=error"); err != nil {
		return nil, err
	}
	if err := lab.Eventually(ctx, 30*time.Second, 50*time.Millisecond, func(ctx context.Context) error {
		return a.client.Do(ctx, http.MethodPost, "/faults", a.late, nil)
	}); err != nil {
		return a, a.process.WithLog(err)
	}
	return a, nil
}

// set writes a new version of an object.
func (a *azure) set(ctx context.Context, i int, generation string) error {
	value := lab.ValueOf(i, generation)
	return a.client.Do(ctx, http.MethodPut, "/vaults/"+lab.Vault+"/secrets/"+lab.Object(i), admin.SecretRequest{Value: &value}, nil)
}

// requests are how many the emulator answered since its start.
func (a *azure) requests(ctx context.Context) (int, error) {
	var all []record.Count
	if err := a.client.Do(ctx, http.MethodGet, "/requests", nil, &all); err != nil {
		return 0, err
	}
	total := 0
	for _, c := range all {
		total += c.Count
	}
	return total, nil
}

// refuse makes every read of an object fail until the returned function is called. Of the faults that fit a request the emulator takes the oldest, so that
// the one that makes everything late has to come again.
func (a *azure) refuse(ctx context.Context, i int) (func(context.Context) error, error) {
	var refusal fault.Fault
	return func(ctx context.Context) error {
			return a.client.Do(ctx, http.MethodDelete, "/faults?id="+refusal.ID, nil, nil)
		}, errors.Join(
			a.client.Do(ctx, http.MethodDelete, "/faults", nil, nil),
			a.client.Do(ctx, http.MethodPost, "/faults", fault.Fault{Object: lab.Object(i), Status: http.StatusNotFound, Latency: a.late.Latency}, &refusal),
			a.client.Do(ctx, http.MethodPost, "/faults", a.late, nil),
		)
}
