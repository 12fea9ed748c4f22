// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// process is a controller that was started here.
type process struct {
	command *exec.Cmd
	log     *tail
	metrics string
}

// startController starts the controller as the chart does, but for the lease: only this one works.
func (b *bench) startController(ctx context.Context) (*process, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	p := &process{log: &tail{}, metrics: "http://" + address + "/metrics"}
	p.command = exec.CommandContext(context.WithoutCancel(ctx), b.controller, "controller", "--kubeconfig="+b.kubeconfig, "--leader-elect=false", //nolint:gosec // as flags say
		"--health-addr=", "--metrics-addr="+address, "--reload=true", "--reload-addr=")
	p.command.Env = append(os.Environ(), "POD_NAMESPACE="+controllerNamespace)
	p.command.Stdout, p.command.Stderr = p.log, p.log
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C ends it in its order
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the controller: %w", err)
	}
	err = b.eventually(ctx, "the controller to begin", func(ctx context.Context) (bool, error) {
		_, err := p.requests(ctx)
		return err == nil, nil
	})
	if err != nil {
		return nil, errors.Join(p.withLog(err), p.stop())
	}
	return p, nil
}

// stop ends the process: asks first, and kills after ten seconds.
func (p *process) stop() error {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(10*time.Second, func() { _ = p.command.Process.Kill() })
	defer timer.Stop()
	if err := p.command.Wait(); err != nil {
		return p.withLog(fmt.Errorf("the controller: %w", err))
	}
	return nil
}

func (p *process) withLog(err error) error {
	return fmt.Errorf("%w; its log ends with: %s", err, p.log)
}

// memory returns a line of /proc/<pid>/status, in bytes (proc_pid_status(5)).
func (p *process) memory(key string) (int64, error) {
	return lab.MemoryOf(strconv.Itoa(p.command.Process.Pid), key)
}

var requestLine = regexp.MustCompile(`(?m)^rest_client_requests_total\{.*\bmethod="([A-Z]+)".*\} (\S+)$`)

// requests returns how many requests the controller has sent to the API server, by method.
func (p *process) requests(ctx context.Context) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.metrics, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, p.withLog(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	for _, match := range requestLine.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			return nil, err
		}
		found[match[1]] += n
	}
	if len(found) == 0 {
		return nil, errors.New("the controller counts no requests")
	}
	return found, nil
}

func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	const most = 2000
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-most):]
	return len(p), nil
}

// String returns it.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
