// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vaultferry/vaultferry/test/cluster/internal/cgroups"
	"github.com/vaultferry/vaultferry/test/cluster/internal/filelock"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/parts"
	"github.com/vaultferry/vaultferry/test/cluster/internal/pki"
	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
	"github.com/vaultferry/vaultferry/test/cluster/internal/render"
)

// Options are what a cluster is started with.
type Options struct {
	Issuer   string        // ServiceAccount issuer; "" is the default
	AuditLog bool          // write an audit log
	Timeout  time.Duration // until the cluster is ready
	// Build gives the directory of each part's binaries.
	Build func(ctx context.Context) (map[string]string, error)
}

// SupervisorCommand is the hidden command that becomes the supervisor, with the
// cluster's name as its argument. Its file 3 is the listening socket; file 4
// carries the lock that says that it lives.
const SupervisorCommand = "internal-supervisor"

// Up makes the cluster run and waits until it is ready. It gives false when it
// ran already.
func (c Cluster) Up(ctx context.Context, options Options) (bool, error) {
	state, _, err := c.Find()
	if err != nil {
		return false, err
	}
	var built map[string]string
	if state != Running {
		if built, err = options.Build(ctx); err != nil {
			return false, err
		}
	}
	lock, err := c.lock(ctx)
	if err != nil {
		return false, err
	}
	defer lock.Release()
	alive, err := filelock.Try(c.Layout.AliveLock())
	if errors.Is(err, filelock.ErrHeld) {
		if err := c.sameSettings(options); err != nil {
			return false, err
		}
		if err := c.await(ctx, options.Timeout); !errors.Is(err, errEnded) {
			return false, err
		}
		// It was on its way out, as one is that was killed a moment ago.
		alive, err = filelock.Try(c.Layout.AliveLock())
	}
	if err != nil {
		return false, err
	}
	defer alive.Release()
	if built == nil { // it ended since we looked
		if built, err = options.Build(ctx); err != nil {
			return false, err
		}
	}
	return true, c.start(ctx, options, built, alive)
}

func (c Cluster) sameSettings(options Options) error {
	var settings record.Cluster
	if found, err := record.Read(c.Layout.Record(), &settings); err != nil || !found {
		return err
	}
	if settings.Issuer != options.Issuer || settings.AuditLog != options.AuditLog {
		return fmt.Errorf("cluster %q runs with other settings (--service-account-issuer %q, --audit-log=%v): run `down` first, or `up` with the same",
			c.Layout.Name, settings.Issuer, settings.AuditLog)
	}
	return nil
}

func (c Cluster) start(ctx context.Context, options Options, built map[string]string, alive *filelock.Lock) error {
	if err := c.clean(ctx); err != nil {
		return err
	}
	listener, err := c.prepare(options, built)
	if err != nil {
		return err
	}
	defer listener.Close()
	done := c.Step(fmt.Sprintf("starting cluster %s", c.Layout.Name))
	err = c.launch(listener, alive)
	// The supervisor has both now; its end must show.
	listener.Close()
	_ = alive.Release()
	if err == nil {
		err = c.await(ctx, options.Timeout)
	}
	done(err)
	if err != nil {
		// Its state stays for a look at the logs.
		return errors.Join(err, c.kill(context.WithoutCancel(ctx)))
	}
	return nil
}

// clean removes what a killed run left, but for the state to go on with.
func (c Cluster) clean(ctx context.Context) error {
	if err := c.killKnown(ctx); err != nil {
		return err
	}
	node := c.Layout.Node(0)
	for _, path := range []string{c.Layout.Supervisor(), node.Status(), node.Process()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cleaning up after a killed run: %w", err)
		}
	}
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return cgroups.Remove(limited, c.Layout.Cgroup())
}

// prepare makes everything that the supervisor finds ready.
func (c Cluster) prepare(options Options, built map[string]string) (net.Listener, error) {
	var settings record.Cluster
	if _, err := record.Read(c.Layout.Record(), &settings); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Layout.State(), 0o755); err != nil {
		return nil, fmt.Errorf("making the cluster's state directory: %w", err)
	}
	listener, err := listen(settings.Port)
	if err != nil {
		return nil, err
	}
	settings = record.Cluster{
		Name: c.Layout.Name, Nodes: 1, Version: parts.KubernetesVersion, Parts: built,
		Port:   listener.Addr().(*net.TCPAddr).Port,
		Issuer: options.Issuer, AuditLog: options.AuditLog, Snapshotter: snapshotter(c.Layout.State()),
	}
	err = c.write(settings)
	if err != nil {
		listener.Close()
	}
	return listener, err
}

func (c Cluster) write(settings record.Cluster) error {
	node := c.Layout.Node(0)
	err := pki.Ensure(pki.Config{
		Dir: c.pki(), NodeNames: []string{node.Name}, NodeIPs: []string{node.IP()},
		ServiceIP: layout.APIServiceIP, Domain: layout.ClusterDomain, Now: time.Now(),
	})
	if err != nil {
		return err
	}
	if err := c.writeKubeconfig(settings.Port); err != nil {
		return err
	}
	hosts := filepath.Join(c.Layout.State(), "hosts")
	if _, err := os.Stat(hosts); err != nil {
		if err := os.WriteFile(hosts, nil, 0o644); err != nil {
			return fmt.Errorf("making the cluster's hosts file: %w", err)
		}
	}
	for _, cgroup := range []string{c.Layout.SystemCgroup(), c.Layout.NodeCgroup(0)} {
		if err := cgroups.Make(cgroup); err != nil {
			return err
		}
	}
	return record.Write(c.Layout.Record(), settings)
}

func (c Cluster) pki() string { return filepath.Join(c.Layout.State(), "pki") }

func (c Cluster) writeKubeconfig(port int) error {
	config := render.Kubeconfig{
		Name:   "vaultferry-cluster-" + c.Layout.Name,
		Server: "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
	}
	for file, into := range map[string]*[]byte{"ca.crt": &config.CA, "admin.crt": &config.Cert, "admin.key": &config.Key} {
		content, err := os.ReadFile(filepath.Join(c.pki(), file))
		if err != nil {
			return fmt.Errorf("writing the kubeconfig: %w", err)
		}
		*into = content
	}
	content, err := config.YAML()
	if err != nil {
		return err
	}
	return record.WriteFile(c.Layout.Kubeconfig(), content)
}

// listen opens a port of the machine's loopback, the one before if it is free.
func listen(port int) (net.Listener, error) {
	if port != 0 {
		if listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return listener, nil
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a port for the API server on 127.0.0.1: %w", err)
	}
	return listener, nil
}

// snapshotter is what containerd keeps images with: an overlay cannot lie on
// another one, as in a container.
func snapshotter(dir string) string {
	var found unix.Statfs_t
	if err := unix.Statfs(dir, &found); err == nil && found.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native"
	}
	return "overlayfs"
}

// launch starts the supervisor, which outlives this process.
func (c Cluster) launch(listener net.Listener, alive *filelock.Lock) error {
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	defer socket.Close()
	log, err := os.OpenFile(c.Layout.SupervisorLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("opening the supervisor's log: %w", err)
	}
	defer log.Close()
	command := exec.Command("/proc/self/exe", SupervisorCommand, c.Layout.Name)
	command.Args[0] = "vaultferry-cluster"
	command.Dir = "/"
	command.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{socket, alive.File()}
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNET, Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	go func() { _ = command.Wait() }() // so that it doesn't stay a zombie while this process lives
	return nil
}
