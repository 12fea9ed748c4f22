// SPDX-License-Identifier: Apache-2.0

package procs

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
)

// Check says whether something is as it should be; an error says why not.
type Check func(ctx context.Context) error

// Program is a program that is to run always.
type Program struct {
	Name    string
	Command Command // Output is set by the keeper
	Needs   Check   // awaited before every start; nil needs nothing
	Ready   Check   // asked after every start until it says yes
}

// KeeperConfig is what a Keeper needs.
type KeeperConfig struct {
	Reaper  *Reaper
	LogDir  string                          // a file for each program
	Changed func(programs []record.Program) // called after each change, never twice at once
	Logger  *slog.Logger
}

// Keeper runs programs and starts them again.
type Keeper struct {
	cfg   KeeperConfig
	mu    sync.Mutex
	order []string
	state map[string]*record.Program
}

// NewKeeper makes a keeper.
func NewKeeper(cfg KeeperConfig) *Keeper {
	return &Keeper{cfg: cfg, state: map[string]*record.Program{}}
}

const (
	poll       = 50 * time.Millisecond
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
	settled    = 10 * time.Second // a program that ran this long starts again at once
)

// Keep runs the programs until ctx ends.
func (k *Keeper) Keep(ctx context.Context, programs []Program) {
	for _, program := range programs {
		k.order = append(k.order, program.Name)
		k.state[program.Name] = &record.Program{Name: program.Name, Since: time.Now()}
	}
	var group sync.WaitGroup
	for _, program := range programs {
		group.Go(func() { k.keep(ctx, program) })
	}
	group.Wait()
}

func (k *Keeper) keep(ctx context.Context, program Program) {
	backoff := backoffMin
	for ctx.Err() == nil {
		started := time.Now()
		err := k.runOnce(ctx, program)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > settled {
			backoff = backoffMin
		}
		k.cfg.Logger.Warn("program ended, starting it again", "program", program.Name, "cause", err, "delay", backoff)
		k.change(program.Name, func(p *record.Program) {
			p.PID, p.Ready, p.Message = 0, false, err.Error()
			p.Restarts++
		})
		sleep(ctx, backoff)
		backoff = min(2*backoff, backoffMax)
	}
}

func (k *Keeper) runOnce(ctx context.Context, program Program) error {
	if err := k.await(ctx, program.Name, program.Needs); err != nil {
		return err
	}
	output, err := os.OpenFile(filepath.Join(k.cfg.LogDir, program.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", program.Name, err)
	}
	defer output.Close()
	command := program.Command
	command.Output = output
	pid, ended, err := k.cfg.Reaper.Start(command)
	if err != nil {
		return err
	}
	k.change(program.Name, func(p *record.Program) { p.PID, p.Message = pid, "starting" })
	running, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		if k.await(running, program.Name, program.Ready) == nil {
			k.change(program.Name, func(p *record.Program) { p.Ready, p.Message = true, "" })
		}
	})
	defer watching.Wait()
	defer stop()
	select {
	case status := <-ended:
		return fmt.Errorf("%s %s", program.Name, Describe(status))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await asks check until it says yes and shows why it doesn't yet.
func (k *Keeper) await(ctx context.Context, name string, check Check) error {
	if check == nil {
		return ctx.Err()
	}
	last := ""
	for {
		err := check(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
		if err.Error() != last {
			last = err.Error()
			k.change(name, func(p *record.Program) { p.Message = last })
		}
		sleep(ctx, poll)
	}
}

func (k *Keeper) change(name string, edit func(*record.Program)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	edit(k.state[name])
	k.state[name].Since = time.Now()
	programs := make([]record.Program, 0, len(k.order))
	for _, name := range k.order {
		programs = append(programs, *k.state[name])
	}
	k.cfg.Changed(programs)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
