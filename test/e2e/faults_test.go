// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	everyFault  = flag.Bool("faults", false, "cause every fault, not only those that are quickly over")
	faultReport = flag.String("fault-report", "", "write the results to this file, as rows of a Markdown table")
)

// fault is something that goes wrong while pods start, secrets change and Secrets are mirrored.
type fault struct {
	name string
	// quick says that it is part of every run of the suite.
	quick bool
	// lasts is how long it stays in force.
	lasts time.Duration
	// breaks causes it; mends ends it, and is nil for what ends by itself.
	breaks, mends func(f *strained)
}

func faults() []fault {
	return []fault{
		{name: "driver killed, 5 times", quick: true, breaks: killed("/vaultferry-driver", 5)},
		{name: "provider killed, 5 times", quick: true, breaks: killed("/vaultferry-provider", 5)},
		{name: "controller killed, 5 times", breaks: killed("/vaultferry-controller", 5)},
		{name: "kubelet killed, twice", breaks: killed("kubelet", 2)},
		{name: "containerd killed, twice", breaks: killed("containerd", 2)},
		{name: "API server killed, twice", breaks: killed("kube-apiserver", 2)},
		{name: "API server hung", lasts: 2 * time.Minute, breaks: signalled("kube-apiserver", syscall.SIGSTOP), mends: signalled("kube-apiserver", syscall.SIGCONT)},
		{name: "vault answers 429", lasts: 20 * time.Second, breaks: azure("vault", "--status", "429", "--retry-after", "5s"), mends: azureMended},
		{name: "vault answers 500", quick: true, lasts: 12 * time.Second, breaks: azure("vault", "--status", "500"), mends: azureMended},
		{name: "vault cuts connections", lasts: 20 * time.Second, breaks: azure("vault", "--reset"), mends: azureMended},
		{name: "vault takes 30 s to answer", lasts: 45 * time.Second, breaks: azure("vault", "--latency", "30s"), mends: azureMended},
		{name: "vault's bodies are cut short", lasts: 20 * time.Second, breaks: azure("vault", "--truncate", "20"), mends: azureMended},
		{name: "vault's bodies are garbage", quick: true, lasts: 12 * time.Second, breaks: azure("vault", "--garbage"), mends: azureMended},
		{name: "Entra ID never answers", lasts: 30 * time.Second, breaks: azure("entra", "--blackhole"), mends: azureMended},
		{name: "signing keys of Entra ID rotated", breaks: func(f *strained) { f.must(f.az(nil, "signing-key", "rotate")) }},
		{name: "clock of Azure 2 h ahead", lasts: 20 * time.Second, breaks: clock("2h"), mends: clock("0s")},
		{name: "clock of Azure 10 min behind", lasts: 20 * time.Second, breaks: clock("-10m"), mends: clock("0s")},
		{name: "volumes full", quick: true, lasts: 12 * time.Second, breaks: (*strained).fillVolumes, mends: (*strained).emptyVolumes},
		{name: "volumes out of inodes", lasts: 20 * time.Second, breaks: inodes("10"), mends: inodes("0")},
		{name: "driver out of file descriptors", lasts: 20 * time.Second, breaks: descriptors("/vaultferry-driver", 0), mends: descriptors("/vaultferry-driver", 1024)},
		{name: "provider out of file descriptors", lasts: 20 * time.Second, breaks: descriptors("/vaultferry-provider", 0), mends: descriptors("/vaultferry-provider", 1024)},
		{name: "provider's socket replaced by a stale one", lasts: 15 * time.Second, breaks: (*strained).staleSocket, mends: killed("/vaultferry-provider", 1)},
		{name: "two drivers at once, in an upgrade", breaks: (*strained).upgradeWithSurge},
		// 30 refreshes of each volume: as many as in an hour at the default interval.
		{name: "nothing, for an hour's refreshes", lasts: 5 * time.Minute, breaks: func(*strained) {}},
		// The last one: the emulator has forgotten all after it.
		{name: "node rebooted", breaks: (*strained).reboot},
	}
}

// Whatever goes wrong: files are whole, and never go away or back to an older version; no container starts without them; the Secret is neither lost nor
// older; and when it is over, everything has the newest value, and nothing is left over. Pods come and go and the secret changes all the time.
func TestFaults(t *testing.T) {
	f := newStrained(t, alone(t, rough))
	var rows []byte
	for _, fault := range faults() {
		if !fault.quick && !*everyFault {
			continue
		}
		t.Run(fault.name, func(t *testing.T) {
			f := f.in(t)
			fault.breaks(f)
			// The fault itself is what takes time here.
			time.Sleep(fault.lasts)
			if fault.mends != nil {
				fault.mends(f)
			}
			mended := time.Now()
			f.converges()
			took := time.Since(mended).Round(100 * time.Millisecond)
			f.nothingLeft()
			state := f.watch.report(t)
			t.Logf("everything is as it should be %s after the fault; %s", took, state)
			rows = fmt.Appendf(rows, "| %s | %s | %s | %s |\n", fault.name, fault.lasts, took, state)
		})
	}
	if *faultReport != "" {
		if err := os.WriteFile(*faultReport, rows, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// killed kills a program so many times, at random moments.
func killed(program string, times int) func(*strained) {
	return func(f *strained) {
		for range times {
			f.tryKill(program)
			time.Sleep(rand.N(3 * time.Second)) // the moment is the point
		}
	}
}

func signalled(program string, signal syscall.Signal) func(*strained) {
	return func(f *strained) {
		if err := syscall.Kill(f.awaitProcess(program), signal); err != nil {
			f.t.Fatal(err)
		}
	}
}

func azure(service string, args ...string) func(*strained) {
	return func(f *strained) {
		f.must(f.az(nil, append([]string{"fault", "set", "--service", service, "--identity", "id-" + f.namespace}, args...)...))
	}
}

func azureMended(f *strained) { f.must(f.az(nil, "fault", "clear")) }

func clock(offset string) func(*strained) {
	return func(f *strained) { f.must(f.az(nil, "clock", "set", "--offset="+offset)) }
}

const filler = "filler"

// fillVolumes leaves no byte in the volumes of the pods that stay.
func (f *strained) fillVolumes() {
	for _, volume := range f.steadyVolumes() {
		file, err := os.Create(filepath.Join(volume, filler))
		if err != nil {
			f.t.Fatal(err)
		}
		for block := make([]byte, 1<<20); err == nil && len(block) > 0; block = block[:len(block)/2] {
			for err == nil {
				_, err = file.Write(block)
			}
			if errors.Is(err, syscall.ENOSPC) {
				err = nil
			}
		}
		if err = errors.Join(err, file.Close()); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *strained) emptyVolumes() {
	for _, volume := range f.steadyVolumes() {
		if err := os.Remove(filepath.Join(volume, filler)); err != nil && !errors.Is(err, os.ErrNotExist) {
			f.t.Error(err)
		}
	}
}

// inodes limits those of the volumes of the pods that stay; "0" is no limit.
func inodes(count string) func(*strained) {
	return func(f *strained) {
		f.must(f.cluster("exec", "--", "sh", "-c",
			`for m in /var/lib/kubelet/pods/*/volumes/kubernetes.io~csi/kv/mount; do mount -o remount,nr_inodes=`+count+` "$m" || true; done`))
	}
}

// descriptors lets a process open only so many files more than it has open; 0 for none at all.
func descriptors(program string, more int) func(*strained) {
	return func(f *strained) {
		pid := f.awaitProcess(program)
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			f.t.Fatal(err)
		}
		// As the process's own user: root may not where it lacks CAP_SYS_RESOURCE.
		limit := exec.Command("prlimit", "--pid", strconv.Itoa(pid), fmt.Sprintf("--nofile=%d:", len(open)+more))
		limit.SysProcAttr = &syscall.SysProcAttr{Credential: credentialOf(f.t, pid)}
		if out, err := limit.CombinedOutput(); err != nil {
			f.t.Fatalf("%v: %s", err, out)
		}
	}
}

// credentialOf is the user and group of a process. They are not the owner of its files in /proc: the process keeps its memory to itself.
func credentialOf(t *testing.T, pid int) *syscall.Credential {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	c := &syscall.Credential{NoSetGroups: true}
	for line := range strings.Lines(string(status)) {
		var id uint32
		if n, _ := fmt.Sscanf(line, "Uid:\t%d", &id); n == 1 {
			c.Uid = id
		}
		if n, _ := fmt.Sscanf(line, "Gid:\t%d", &id); n == 1 {
			c.Gid = id
		}
	}
	return c
}

// staleSocket puts a socket where nobody listens in the place of the provider's, as if a provider of the same user had left it.
func (f *strained) staleSocket() {
	path := filepath.Join(f.root(), "run/secrets-store-csi-providers/azure.sock")
	var old unix.Stat_t
	if err := unix.Lstat(path, &old); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		f.t.Fatal(err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		f.t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Lchown(path, int(old.Uid), int(old.Gid)); err != nil {
		f.t.Fatal(err)
	}
}

// upgradeWithSurge rolls the driver out so that the new pod runs before the old one ends.
func (f *strained) upgradeWithSurge() {
	const set = "daemonset/secrets-store-csi-driver"
	f.must(f.kubectl(nil, "-n", system, "patch", set, "--type=merge", "-p",
		`{"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}}}`))
	f.must(f.kubectl(nil, "-n", system, "rollout", "restart", set))
	f.must(f.kubectl(nil, "-n", system, "rollout", "status", set, "--timeout=2m"))
}

// reboot ends all of the node at once and starts it again: mounts are gone, the API server's objects are not. The emulator forgets with its node.
func (f *strained) reboot() {
	up := f.watch.reboots()
	record, err := os.ReadFile(filepath.Join("/var/lib/vaultferry-cluster", f.name, "supervisor.json"))
	if err != nil {
		f.t.Fatal(err)
	}
	var supervisor struct{ PID int }
	if err := json.Unmarshal(record, &supervisor); err != nil || supervisor.PID <= 1 {
		f.t.Fatalf("the supervisor's record %q: %v", record, err)
	}
	if err := syscall.Kill(supervisor.PID, syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
	f.must(f.cluster("up", "--timeout", "5m", "--audit-log"))
	up()
	f.eventually("the emulator to be back, and filled", 3*time.Minute, func() (bool, string) {
		err := f.fillVault()
		return err == nil, fmt.Sprint(err)
	})
	f.clientID = f.must(f.az(nil, "identity", "create", "--name", "id-"+f.namespace, "-o", "tsv", "--query", "clientId"))
	f.clientParam = f.clientID
	f.grant()
	f.federate(federation{})
	f.applyClass()
}
