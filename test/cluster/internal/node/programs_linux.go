// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vaultferry/vaultferry/test/cluster/internal/kubeapi"
	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
	"github.com/vaultferry/vaultferry/test/cluster/internal/procs"
	"github.com/vaultferry/vaultferry/test/cluster/internal/render"
)

// boot knows the node's programs and what has to come before what.
type boot struct {
	settings render.Node
	reaper   *procs.Reaper
	logger   *slog.Logger
	started  time.Time

	mu      sync.Mutex
	api     *kubeapi.Client
	pause   bool // the pause image is there
	objects bool // the first objects are there
}

// path is what the node's programs find other programs by, apart from the
// parts: mount, iptables and the like come from the machine.
const machinePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const (
	containerdSocket = "/run/containerd/containerd.sock"
	etcdAddress      = "127.0.0.1:2379"
)

func (b *boot) environment() []string {
	search := machinePath
	for _, part := range []string{"runc", "containerd", "cni", "kubernetes"} {
		search = filepath.Join(b.settings.Bin, part) + ":" + search
	}
	return []string{"PATH=" + search, "HOME=/root", "LANG=C.UTF-8"}
}

func (b *boot) command(part, binary, name string, args ...string) procs.Command {
	return procs.Command{
		Path: filepath.Join(b.settings.Bin, part, binary),
		Args: append([]string{name}, args...),
		Env:  b.environment(),
	}
}

func (b *boot) kubernetes(name string, flags []string) procs.Command {
	return b.command("kubernetes", "kubernetes", name, flags...)
}

func (b *boot) programs() []procs.Program {
	s := b.settings
	return []procs.Program{
		{
			Name: "etcd", Command: b.kubernetes("etcd", s.EtcdFlags()),
			Ready: listens("tcp", etcdAddress),
		},
		{
			Name:    "containerd",
			Command: b.command("containerd", "containerd", "containerd", "--config", filepath.Join(s.Config, "containerd.toml")),
			Ready:   b.pauseImage,
		},
		{
			Name: "kube-apiserver", Command: b.kubernetes("kube-apiserver", s.APIServerFlags()),
			Needs: listens("tcp", etcdAddress), Ready: b.apiReady,
		},
		{
			Name: "kube-controller-manager", Command: b.kubernetes("kube-controller-manager", s.ControllerManagerFlags()),
			Needs: b.apiReady, Ready: healthy("https://127.0.0.1:10257/healthz"),
		},
		{
			Name: "kube-scheduler", Command: b.kubernetes("kube-scheduler", s.SchedulerFlags()),
			Needs: b.apiReady, Ready: healthy("https://127.0.0.1:10259/healthz"),
		},
		{
			Name: "kubelet", Command: b.kubernetes("kubelet", s.KubeletFlags()),
			Needs: both(b.pauseImage, b.apiReady), Ready: healthy("http://127.0.0.1:10248/healthz"),
		},
		{
			Name: "kube-proxy", Command: b.kubernetes("kube-proxy", s.ProxyFlags()),
			Needs: both(b.apiReady, b.registered), Ready: healthy("http://127.0.0.1:10256/healthz"),
		},
		{
			Name:    "coredns",
			Command: b.command("coredns", "coredns", "coredns", "-conf", filepath.Join(s.Config, "Corefile")),
			Needs:   both(b.apiReady, b.firstObjects), Ready: both(healthy("http://127.0.0.1:8181/ready"), resolves),
		},
	}
}

// client makes the API client once.
func (b *boot) client() (*kubeapi.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.api != nil {
		return b.api, nil
	}
	api, err := kubeapi.New(kubeapi.Config{
		Server: fmt.Sprintf("https://127.0.0.1:%d", layout.APIPort), PKI: b.settings.PKI,
	})
	b.api = api
	return api, err
}

func (b *boot) apiReady(ctx context.Context) error {
	api, err := b.client()
	if err != nil {
		return err
	}
	return api.Get(ctx, "/readyz", nil)
}

// registered awaits the Node object, which kube-proxy would otherwise ask for
// with growing pauses.
func (b *boot) registered(ctx context.Context) error {
	api, err := b.client()
	if err != nil {
		return err
	}
	return api.Get(ctx, "/api/v1/nodes/"+b.settings.Node.Name, nil)
}

func (b *boot) firstObjects(ctx context.Context) error {
	api, err := b.client()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.objects {
		return nil
	}
	for _, object := range render.Objects(b.settings.Node.IP()) {
		if err := api.Apply(ctx, object.Path, []byte(object.Manifest)); err != nil {
			return fmt.Errorf("making the cluster's DNS known: %w", err)
		}
	}
	b.objects = true
	return nil
}

// pauseImage imports the sandbox image as soon as containerd answers.
func (b *boot) pauseImage(ctx context.Context) error {
	if err := listens("unix", containerdSocket)(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause {
		return nil
	}
	output, err := os.OpenFile(filepath.Join(b.settings.Node.InNode(), "log", "images.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("opening the log of image imports: %w", err)
	}
	defer output.Close()
	command := b.command("containerd", "ctr", "ctr", render.ImportArgs(b.settings.Snapshotter, filepath.Join(b.settings.Bin, "pause", "pause.tar"))...)
	command.Output = output
	if err := b.reaper.RunCommand(ctx, command); err != nil {
		return fmt.Errorf("importing the pause image: %w", err)
	}
	b.pause = true
	return nil
}
