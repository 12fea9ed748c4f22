// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/fault"
	"github.com/vaultferry/vaultferry/internal/emulator/limit"
	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

// Reload reads the state file again. If there is anything wrong with it the
// state stays as it is, and the error is kept for the status as well.
func (e *Emulator) Reload() error {
	if e.cfg.StateFile == "" {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	st, files, err := state.Load(e.cfg.StateFile)
	e.watched = files
	var faults []fault.Fault
	if err == nil {
		faults, err = declaredFaults(e.cfg.StateFile, st.Faults)
	}
	var limits []limit.Limit
	if err == nil {
		limits, err = declaredLimits(e.cfg.StateFile, st.Limits)
	}
	e.stateError = err
	if err != nil {
		return err
	}
	e.clock.declare(time.Duration(st.ClockOffset))
	// Before the vaults, so that new topics get the events of new versions.
	e.events.Declare(st)
	e.stateError = e.directory.Apply(st)
	e.faults.Declare(faults)
	e.limits.Declare(limits)
	e.stateLoaded = e.cfg.Now()
	return e.stateError
}

func declaredFaults(file string, list []state.Fault) ([]fault.Fault, error) {
	var faults []fault.Fault
	var problems []error
	for i, f := range list {
		one := fault.Fault{
			Service: f.Service, Vault: f.Vault, Operation: f.Operation, Identity: f.Identity, Object: f.Object,
			Status: f.Status, RetryAfter: fault.Duration(f.RetryAfter), Latency: fault.Duration(f.Latency),
			Reset: f.Reset, Blackhole: f.Blackhole, Count: f.Count, Path: f.Path, Truncate: f.Truncate, Garbage: f.Garbage, Huge: f.Huge,
		}
		if err := one.Check(); err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: faults[%d]: %w", file, f.Line, i, err))
		}
		faults = append(faults, one)
	}
	return faults, errors.Join(problems...)
}

func declaredLimits(file string, list []state.Limit) ([]limit.Limit, error) {
	var limits []limit.Limit
	var problems []error
	for i, l := range list {
		one := limit.Limit{
			Vault: l.Vault, Azure: l.Azure, Window: limit.Duration(l.Window), RetryAfter: limit.Duration(l.RetryAfter),
			Transactions: l.Transactions, Writes: l.Writes, KeyCreate: l.KeyCreate,
			RSA2048: l.RSA2048, RSA3072: l.RSA3072, RSA4096: l.RSA4096, EC: l.EC,
		}
		if err := one.Check(); err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: limits[%d]: %w", file, l.Line, i, err))
		}
		limits = append(limits, one)
	}
	return limits, errors.Join(problems...)
}

// watch reloads when the state file, or a file that it names, has changed and
// come to rest. It compares contents: a kubelet swaps links above the file, an
// editor replaces it, and neither shows in the same way.
func (e *Emulator) watch(ctx context.Context) {
	if e.cfg.StateFile == "" {
		return
	}
	ticker := time.NewTicker(e.cfg.PollInterval)
	defer ticker.Stop()
	loaded := e.fingerprint()
	before := loaded
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := e.fingerprint()
		if now != loaded && now == before {
			if err := e.Reload(); err != nil {
				e.cfg.Log.Error("the state file has changed and cannot be used, keeping the state as it is", "file", e.cfg.StateFile, "error", err)
			} else {
				e.cfg.Log.Info("state file reloaded", "file", e.cfg.StateFile)
			}
			loaded = now
		}
		before = now
	}
}

// settle finishes certificates whose time has come while there are topics that
// wait for the event of it. Otherwise a vault does so when it is looked at.
func (e *Emulator) settle(ctx context.Context) {
	ticker := time.NewTicker(e.cfg.PollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if e.events.Namespaces() == 0 {
			continue
		}
		for _, v := range e.directory.Vaults() {
			v.Certificates.Settle()
		}
	}
}

func (e *Emulator) fingerprint() [sha256.Size]byte {
	e.mu.Lock()
	files := e.watched
	e.mu.Unlock()
	sum := sha256.New()
	for _, name := range files {
		data, err := os.ReadFile(name)
		content := sha256.Sum256(data)
		fmt.Fprintf(sum, "%s\x00%x\x00%t\x00", name, content, err != nil)
	}
	return [sha256.Size]byte(sum.Sum(nil))
}
