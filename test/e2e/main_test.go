// SPDX-License-Identifier: Apache-2.0

// Package e2e runs Vaultferry on a real Kubernetes: real kubelet, containerd and API server, the Helm chart, and the Azure emulator in
// Azure's place. Each test is one scenario that a user would recognise.
package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	system   = "kube-system"
	chartDir = "../../charts/vaultferry"
	vault    = "kv-platform-prod"
	tenant   = "ffffffff-1111-2222-3333-444444444444"
	// announcedVault is the vault whose new versions are announced to the controller.
	announcedVault = "kv-announced"
	// canary begins every secret value of this suite, so that the last test can look for values where none may be.
	canary = "canary-8f3ad1-"
	// syncedCanary begins those that classes mirror into Kubernetes Secrets: they may be in etcd, and nowhere else either.
	syncedCanary = "synced-canary-2c71-"
)

// world is a cluster with Vaultferry and the emulator.
type world struct {
	name       string
	kube       kubernetes.Interface
	kubeconfig string
	config     *rest.Config
	applier    *applier
	command    string // of test/cluster
	appImage   string
	vaultID    string

	once    sync.Once
	started bool
	failed  error // how its start ended
	// last is closed when the last of the tests that run alone has ended.
	last chan struct{}
	// others counts the tests that use it, for the one that looks when they have ended.
	others sync.WaitGroup
}

// A cluster for each test would take hours. On the shared one tests run beside each other, on the rough one those that kill things, in turn, and
// in turn on the quiet one those that count what happens when nothing should, or that replace a part.
//
//nolint:gochecknoglobals // TestMain ends what they hold, and Go's tests have no other place for it
var (
	shared = &world{name: "e2e", command: clusterCommand}
	rough  = &world{name: "e2e-rough", command: clusterCommand}
	quiet  = &world{name: "e2e-quiet", command: clusterCommand}
)

// bringing is held while a cluster comes up: one after the other is up sooner than all at once.
var bringing sync.Mutex //nolint:gochecknoglobals // Go's tests have no other place for it

var clusterCommand = filepath.Join("..", "..", "dist", "cluster") //nolint:gochecknoglobals // a constant

func TestMain(m *testing.M) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "end-to-end tests skipped: they need root on Linux, for a local cluster")
		return
	}
	// What client-go says by itself is about connections to pods that are ended on purpose.
	klog.SetLogger(logr.Discard())
	flag.Parse()
	if err := prepareTurns(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	for _, w := range []*world{shared, rough, quiet} {
		defer func() {
			if err := w.end(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}()
	}
	return m.Run()
}

// start brings up the cluster with the chart and the emulator, once. What it needs in dist/ is built by "make test-e2e".
func (w *world) start() error {
	w.once.Do(func() {
		w.started = true
		w.failed = w.bringUp()
	})
	return w.failed
}

// end takes the cluster down, if it is up and nobody wants to look at it.
func (w *world) end() error {
	if !w.started || os.Getenv("E2E_KEEP") != "" {
		return nil
	}
	w.started = false
	_, err := w.cluster("down")
	return err
}

func (w *world) bringUp() error {
	bringing.Lock()
	defer bringing.Unlock()
	version := os.Getenv("VERSION")
	if version == "" {
		return fmt.Errorf("run the end-to-end tests with: make test-e2e")
	}
	if err := w.up(version); err != nil {
		return err
	}
	if err := w.install(version); err != nil {
		return err
	}
	return w.fillVault()
}

// up brings up the cluster, with the images on its node.
func (w *world) up(version string) error {
	if _, err := w.cluster("up", "--timeout", "5m", "--audit-log"); err != nil {
		return err
	}
	config, err := w.cluster("kubeconfig")
	if err != nil {
		return err
	}
	w.kubeconfig = string(bytes.TrimSpace(config))
	if w.config, err = clientcmd.BuildConfigFromFlags("", w.kubeconfig); err != nil {
		return err
	}
	w.config.QPS = -1
	if w.kube, err = kubernetes.NewForConfig(w.config); err != nil {
		return err
	}
	if w.applier, err = newApplier(w.config); err != nil {
		return err
	}
	for _, image := range []string{"vaultferry", "azure-emulator", "demo-app", "thirdparty", "sdkapp"} {
		if _, err := w.cluster("load-image", filepath.Join("..", "..", "dist", image+".tar")); err != nil {
			return err
		}
	}
	w.appImage = "localhost/vaultferry/demo-app:" + version
	return nil
}

// helm runs a pinned Helm, "helm3" or "helm4", against the cluster.
func (w *world) helm(version string, args ...string) ([]byte, error) {
	path, err := command(nil, filepath.Join("..", "..", "tools", "tool.sh"), version)
	if err != nil {
		return nil, err
	}
	return command(nil, string(bytes.TrimSpace(path)), append(args, "--kubeconfig", w.kubeconfig, "--namespace", system)...)
}

// The labels of namespaces in which the webhook mutates and checks, and in which the policy makes the label of workload identity mandatory. All other
// scenes are without, since many of them apply what the webhook would refuse.
const (
	webhookLabel = "vaultferry-e2e-webhook"
	policyLabel  = "vaultferry-e2e-policy"
)

// emulated is the state of the emulator at the start: the vault that announces, and how its events reach the controller. The rest is made as people make it.
const emulated = `{
  "managedIdentities": [{"name": "id-controller", "clientId": "` + controllerID + `", "federatedCredentials": [{
    "name": "controller", "issuer": "https://kubernetes.default.svc.cluster.local", "subject": "system:serviceaccount:kube-system:vaultferry-controller"}]}],
  "vaults": [{"name": "` + announcedVault + `"}],
  "eventGridNamespaces": [{"name": "eg-platform", "topics": [{
    "name": "keyvault", "vaults": ["` + announcedVault + `"], "subscriptions": [{"name": "vaultferry"}]}]}],
  "roleAssignments": [{"role": "EventGrid Data Receiver", "assignee": "id-controller", "scope": "eg-platform/topics/keyvault/eventSubscriptions/vaultferry"}]
}`

const controllerID = "22223333-bbbb-4444-cccc-5555dddd6666"

func (w *world) install(version string) error {
	_, err := w.helm("helm4", "upgrade", "--install", "vaultferry", chartDir, "--wait", "--timeout", "3m",
		"--set", "image.repository=localhost/vaultferry/vaultferry,image.tag="+version,
		"--set", "logVerbosity=4",
		"--set", "enableSecretRotation=true,rotationPollInterval=10s,syncSecret.enabled=true,reload.enabled=true",
		"--set", "webhook.enabled=true,webhook.azureTenantID="+tenant+",webhook.validation.enabled=true,webhook.validation.secretOwners=true",
		"--set", "labelPolicy.enabled=true,labelPolicy.exemptClasses={keeper}",
		"--set-string", "webhook.namespaceSelector.matchLabels."+webhookLabel+"=on,labelPolicy.namespaceSelector.matchLabels."+policyLabel+"=on",
		"--set", "emulator.enabled=true,emulator.image.repository=localhost/vaultferry/azure-emulator,emulator.image.tag="+version,
		"--set-json", "emulator.state="+emulated,
		"--set", "controller.events.endpoint=https://eg-platform.westeurope-1.eventgrid.azure.net,controller.events.topic=keyvault,controller.events.subscription=vaultferry",
		"--set", "controller.events.clientID="+controllerID+",controller.events.tenantID="+tenant)
	return err
}

// fillVault makes the vault and the secrets that every scene reads.
func (w *world) fillVault() error {
	id, err := w.az(nil, "keyvault", "create", "--name", vault, "-o", "tsv", "--query", "id")
	if err != nil {
		return err
	}
	w.vaultID = string(bytes.TrimSpace(id))
	for _, name := range []string{"db-connection-string", "api-key", "disabled"} {
		if _, err := w.az([]byte(canary+name), "keyvault", "secret", "set", "--vault-name", vault, "--name", name, "--file", "-"); err != nil {
			return err
		}
	}
	// What classes of the tests mirror into Secrets.
	if _, err := w.az([]byte(syncedCanary), "keyvault", "secret", "set", "--vault-name", vault, "--name", "app-db-connection", "--file", "-"); err != nil {
		return err
	}
	_, err = w.az(nil, "keyvault", "secret", "set-attributes", "--vault-name", vault, "--name", "disabled", "--enabled=false")
	return err
}

// cluster runs the command of test/cluster.
func (w *world) cluster(args ...string) ([]byte, error) {
	return command(nil, w.command, append([]string{"--name", w.name}, args...)...)
}

// kubectl runs kubectl with stdin as its standard input.
func (w *world) kubectl(stdin []byte, args ...string) ([]byte, error) {
	return command(stdin, w.command, append([]string{"--name", w.name, "kubectl", "--"}, args...)...)
}

// az speaks to the emulator in the words of Azure's command line.
func (w *world) az(stdin []byte, args ...string) ([]byte, error) {
	pod, err := w.podOfApp("azure-emulator")
	if err != nil {
		return nil, err
	}
	return w.exec(stdin, system, pod, append([]string{"/azure-emulator"}, args...)...)
}

func command(stdin []byte, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %v: %w\n%s", filepath.Base(name), args, err, stderr.String())
	}
	return stdout.Bytes(), nil
}
