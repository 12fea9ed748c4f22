// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

// kubelet calls a CSI driver as kubelet does.
type kubelet struct {
	conn *grpc.ClientConn
	node csi.NodeClient
	pods string
}

// callTimeout is kubelet's own for CSI calls.
const callTimeout = 2 * time.Minute

func connect(ctx context.Context, socket, pods string) (*kubelet, error) {
	// The socket comes up while it is waited for, and gRPC's own second between two tries would be most of that time.
	soon := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1, MaxDelay: 20 * time.Millisecond}, MinConnectTimeout: time.Second}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"), grpc.WithConnectParams(soon))
	if err != nil {
		return nil, err
	}
	k := &kubelet{conn: conn, node: csi.NewNodeClient(conn), pods: pods}
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := k.node.NodeGetInfo(ready, &csi.NodeGetInfoRequest{}, grpc.WaitForReady(true)); err != nil {
		conn.Close()
		return nil, fmt.Errorf("the driver does not answer on %s: %w", socket, err)
	}
	return k, nil
}

func (k *kubelet) target(p *pod) string {
	return filepath.Join(k.pods, p.uid, "volumes", "kubernetes.io~csi", "secrets", "mount")
}

// publish is kubelet's call for an ephemeral volume of the pod, the first one or a repeated one (requiresRepublish).
func (k *kubelet) publish(ctx context.Context, p *pod, class string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	tokens, err := json.Marshal(map[string]any{lab.Audience: map[string]any{"token": p.token, "expirationTimestamp": p.expires}})
	if err != nil {
		return err
	}
	_, err = k.node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: "csi-" + p.uid, TargetPath: k.target(p), Readonly: true,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
		VolumeContext: map[string]string{
			"secretProviderClass":                      class,
			"csi.storage.k8s.io/pod.name":              p.name,
			"csi.storage.k8s.io/pod.namespace":         namespace,
			"csi.storage.k8s.io/pod.uid":               p.uid,
			"csi.storage.k8s.io/serviceAccount.name":   p.account,
			"csi.storage.k8s.io/serviceAccount.tokens": string(tokens),
			"csi.storage.k8s.io/ephemeral":             "true",
		},
	})
	return err
}

func (k *kubelet) unpublish(ctx context.Context, p *pod) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := k.node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: "csi-" + p.uid, TargetPath: k.target(p)})
	return err
}

// read returns a file of the pod's volume as a container sees it.
func (k *kubelet) read(p *pod, file string) (string, error) {
	content, err := os.ReadFile(filepath.Join(k.target(p), file))
	return string(content), err
}

// calls are what calls that were made side by side took.
type calls struct {
	Took   time.Duration
	Each   []time.Duration
	Errors int
	First  error
}

// perSecond is how many calls there were in each second of the whole.
func (c calls) perSecond() float64 { return float64(len(c.Each)) / c.Took.Seconds() }

// inFlight makes n calls, so many at a time.
func inFlight(ctx context.Context, workers, n int, call func(context.Context, int) error) (calls, error) {
	c := calls{Each: make([]time.Duration, n)}
	var mu sync.Mutex
	began := time.Now()
	err := lab.Side(ctx, workers, n, func(ctx context.Context, i int) error {
		started := time.Now()
		err := call(ctx, i)
		c.Each[i] = time.Since(started)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			c.Errors++
			if c.First == nil {
				c.First = err
			}
		}
		return nil
	})
	c.Took = time.Since(began)
	return c, errors.Join(err, ctx.Err())
}
