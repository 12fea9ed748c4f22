// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// node is a provider with an emulator behind it.
type node struct {
	dir       string
	processes []*exec.Cmd
	provider  *exec.Cmd
	proxy     string
	metrics   string
	profiles  string
	conn      *grpc.ClientConn
	client    v1alpha1.CSIDriverProviderClient
	// retries counts the calls that had to be made again.
	retries atomic.Int64
}

// measure runs one scenario.
func measure(ctx context.Context, s scenario, o options) (r result, err error) {
	dir, err := os.MkdirTemp("", "vf") // short, because a socket's path has at most 108 bytes
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := newWorld(s)
	if err != nil {
		return r, err
	}
	n := &node{dir: dir}
	defer func() { err = errors.Join(err, n.stop()) }()
	if err := n.start(ctx, w, o); err != nil {
		return r, err
	}
	r.scenario = s
	if r.Idle, err = n.memory("VmRSS"); err != nil {
		return r, err
	}
	began := time.Now()
	if err := n.mountAll(ctx, w, s); err != nil {
		return r, err
	}
	r.Took = time.Since(began).Seconds()
	if r.Published, err = n.memory("VmRSS"); err != nil {
		return r, err
	}
	if err := n.refresh(ctx, w, s, o.pause); err != nil {
		return r, err
	}
	r.Retries = n.retries.Load()
	for key, to := range map[string]*int64{"VmRSS": &r.Settled, "RssAnon": &r.Anonymous, "VmHWM": &r.Peak} {
		if *to, err = n.memory(key); err != nil {
			return r, err
		}
	}
	if o.profile == "" {
		return r, nil
	}
	return r, n.profile(ctx, o.profile, s)
}

// refresh refreshes all volumes again and again.
func (n *node) refresh(ctx context.Context, w *world, s scenario, pause time.Duration) error {
	for range s.Rounds {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if err := n.mountAll(ctx, w, s); err != nil {
			return err
		}
		// As Prometheus does.
		if err := get(ctx, n.metrics, io.Discard); err != nil {
			return err
		}
	}
	return nil
}

// start starts the emulator, then the provider.
func (n *node) start(ctx context.Context, w *world, o options) error {
	state := filepath.Join(n.dir, "state.yaml")
	if err := os.WriteFile(state, w.state(), 0o600); err != nil {
		return err
	}
	ca := filepath.Join(n.dir, "ca.pem")
	//nolint:gosec // the command line says which binary
	emulator := exec.CommandContext(ctx, o.emulator, "serve", "--state="+state, "--ca-cert="+ca, "--ca-key="+filepath.Join(n.dir, "ca-key.pem"),
		"--listen=127.0.0.1:0", "--proxy-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--imds-listen=", "--audit-log="+os.DevNull, "--log-level=error")
	banner, err := emulator.StderrPipe()
	if err != nil {
		return err
	}
	if err := n.run(emulator); err != nil {
		return err
	}
	if n.proxy, err = proxyOf(banner); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	n.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", ports[0])
	n.profiles = fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/heap", ports[1])
	socket := filepath.Join(n.dir, "azure.sock")
	// The flags of the chart, but for the ports.
	args := []string{"provider", "--endpoint=unix://" + socket, fmt.Sprintf("--prometheus-port=%d", ports[0]), fmt.Sprintf("--healthz-port=%d", ports[2])}
	if o.profile != "" {
		args = append(args, "--enable-pprof", fmt.Sprintf("--pprof-port=%d", ports[1]))
	}
	n.provider = exec.CommandContext(ctx, o.provider, args...) //nolint:gosec // the command line says which binary
	n.provider.Env = append(os.Environ(), "HTTPS_PROXY="+n.proxy, "SSL_CERT_FILE="+ca, "NO_PROXY=")
	log, err := os.Create(filepath.Join(n.dir, "provider.log"))
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	n.provider.Stderr = log
	if err := n.run(n.provider); err != nil {
		return err
	}
	n.conn, err = grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	if err != nil {
		return err
	}
	n.client = v1alpha1.NewCSIDriverProviderClient(n.conn)
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := n.client.Version(ready, &v1alpha1.VersionRequest{Version: "v1alpha1"}, grpc.WaitForReady(true)); err != nil {
		return fmt.Errorf("the provider does not answer: %w", n.withLog(err))
	}
	return nil
}

func (n *node) run(command *exec.Cmd) error {
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	if err := command.Start(); err != nil {
		return err
	}
	n.processes = append(n.processes, command)
	return nil
}

// stop ends what was started, the provider first.
func (n *node) stop() error {
	if n.conn != nil {
		n.conn.Close()
	}
	var errs []error
	for i := len(n.processes) - 1; i >= 0; i-- {
		command := n.processes[i]
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Base(command.Path), err))
		}
	}
	return errors.Join(errs...)
}

// mountAll publishes or refreshes all volumes.
func (n *node) mountAll(ctx context.Context, w *world, s scenario) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.Parallel)
	for i := range s.Volumes {
		group.Go(func() error {
			answer, err := n.mount(ctx, w.request(i))
			if err != nil {
				return n.withLog(fmt.Errorf("volume %d: %w", i, err))
			}
			if len(answer.GetFiles()) != objectsPerVolume {
				return fmt.Errorf("volume %d has %d files", i, len(answer.GetFiles()))
			}
			return nil
		})
	}
	return group.Wait()
}

// mount tries again, as kubelet does, where a machine that is busy with other things made a call too slow.
func (n *node) mount(ctx context.Context, request *v1alpha1.MountRequest) (answer *v1alpha1.MountResponse, err error) {
	const attempts = 30
	for range attempts {
		if answer, err = n.client.Mount(ctx, request); status.Code(err) != codes.Unavailable {
			return answer, err
		}
		n.retries.Add(1)
	}
	return nil, err
}

// memory reads a line of /proc/<pid>/status, in bytes (proc_pid_status(5)).
func (n *node) memory(key string) (int64, error) {
	return lab.MemoryOf(strconv.Itoa(n.provider.Process.Pid), key)
}

func (n *node) profile(ctx context.Context, dir string, s scenario) error {
	file, err := os.Create(filepath.Join(dir, strings.ReplaceAll(strings.ReplaceAll(s.Name, ",", ""), " ", "-")+".pb.gz"))
	if err != nil {
		return err
	}
	return errors.Join(get(ctx, n.profiles, file), file.Close())
}

// withLog adds the end of the provider's log.
func (n *node) withLog(err error) error {
	log, readErr := os.ReadFile(filepath.Join(n.dir, "provider.log"))
	if readErr != nil {
		return err
	}
	const most = 2000
	return fmt.Errorf("%w; the provider's log ends with: %s", err, log[max(0, len(log)-most):])
}

func get(ctx context.Context, url string, to io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, answer.Status)
	}
	_, err = io.Copy(to, answer.Body)
	return err
}

var proxyLine = regexp.MustCompile(`^\s*proxy\s+(http://\S+)`)

// proxyOf reads the proxy's address off the emulator's banner, and lets the rest pass.
func proxyOf(banner io.Reader) (string, error) {
	lines := bufio.NewScanner(banner)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if found := proxyLine.FindStringSubmatch(lines.Text()); found != nil {
			go func() { _, _ = io.Copy(os.Stderr, banner) }()
			return found[1], nil
		}
	}
	return "", fmt.Errorf("the emulator did not start: %s", strings.Join(said, "; "))
}

// freePorts returns ports of the loopback interface that were free a moment ago.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// mustJSON is the JSON of what cannot fail to have one.
func mustJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}
