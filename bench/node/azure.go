// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/record"
)

const (
	tenant = "ffffffff-1111-2222-3333-444444444444"
	vault  = "kv-bench"
	// Sizes of what the emulator is told of; a workload uses a part of it.
	maxIdentities, maxObjects = 200, 1000

	emulatorAdmin, emulatorProxy = "127.0.0.1:8444", "127.0.0.1:8080"
)

// azure is the emulator, every answer of which is late.
type azure struct {
	process *process
	ca      string
	client  admin.Client
}

func startAzure(ctx context.Context, dir, program, keys string, latency time.Duration) (*azure, error) {
	state := filepath.Join(dir, "azure.yaml")
	if err := os.WriteFile(state, azureState(keys), 0o600); err != nil {
		return nil, err
	}
	a := &azure{ca: filepath.Join(dir, "azure-ca.pem"), client: admin.Client{URL: "http://" + emulatorAdmin, HTTP: http.DefaultClient}}
	var err error
	if a.process, err = start(ctx, dir, "azure-emulator", nil, program, "serve", "--state="+state, "--ca-cert="+a.ca, "--ca-key="+filepath.Join(dir, "azure-ca-key.pem"),
		"--proxy-listen="+emulatorProxy, "--admin-listen="+emulatorAdmin, "--imds-listen=", "--audit-log="+os.DevNull, "--log-level=error"); err != nil {
		return nil, err
	}
	late := fault.Fault{Latency: fault.Duration(latency)}
	if err := eventually(ctx, 30*time.Second, 50*time.Millisecond, func(ctx context.Context) error {
		return a.client.Do(ctx, http.MethodPost, "/faults", late, nil)
	}); err != nil {
		return a, a.process.withLog(err)
	}
	return a, nil
}

func account(i int) string  { return fmt.Sprintf("sa-%d", i) }
func clientID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1) }
func object(i int) string   { return fmt.Sprintf("secret-%d", i) }

// valueOf is about as long as a connection string.
func valueOf(i int, generation string) string {
	return strings.Repeat(fmt.Sprintf("%08d", i), 15) + fmt.Sprintf("%8s", generation)
}

// azureState is the emulator's state file.
func azureState(keys string) []byte {
	var b strings.Builder
	quoted, err := json.Marshal(keys)
	if err != nil {
		panic(err) // of a string
	}
	fmt.Fprintf(&b, "tenants: [{id: %s}]\nissuers: [{url: %q, jwks: %s}]\nmanagedIdentities:\n", tenant, issuer, quoted)
	for i := range maxIdentities {
		fmt.Fprintf(&b, "- {name: app-%d, clientId: %s, federatedCredentials: [{issuer: %q, subject: %q}]}\n", i, clientID(i), issuer, "system:serviceaccount:"+namespace+":"+account(i))
	}
	fmt.Fprintf(&b, "vaults:\n- name: %s\n  secrets:\n", vault)
	for i := range maxObjects {
		fmt.Fprintf(&b, "  - {name: %s, value: %q}\n", object(i), valueOf(i, "first"))
	}
	b.WriteString("roleAssignments:\n")
	for i := range maxIdentities {
		fmt.Fprintf(&b, "- {role: Key Vault Secrets User, assignee: app-%d, scope: %s}\n", i, vault)
	}
	return []byte(b.String())
}

// set writes a new version of an object.
func (a *azure) set(ctx context.Context, i int, generation string) error {
	value := valueOf(i, generation)
	return a.client.Do(ctx, http.MethodPut, "/vaults/"+vault+"/secrets/"+object(i), admin.SecretRequest{Value: &value}, nil)
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

// refuse makes every read of an object fail until the returned function is called.
func (a *azure) refuse(ctx context.Context, i int) (func(context.Context) error, error) {
	var f fault.Fault
	err := a.client.Do(ctx, http.MethodPost, "/faults", fault.Fault{Object: object(i), Status: http.StatusNotFound}, &f)
	return func(ctx context.Context) error {
		return a.client.Do(ctx, http.MethodDelete, "/faults?id="+f.ID, nil, nil)
	}, err
}
