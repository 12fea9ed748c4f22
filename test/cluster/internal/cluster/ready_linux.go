// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/vaultferry/vaultferry/test/cluster/internal/filelock"
	"github.com/vaultferry/vaultferry/test/cluster/internal/kubeapi"
	"github.com/vaultferry/vaultferry/test/cluster/internal/record"
)

// errEnded says that there is no supervisor any more.
var errEnded = errors.New("the supervisor ended")

// await waits until the cluster can be used: every program is ready, the node
// too, and pods of the namespace default have their ServiceAccount.
func (c Cluster) await(ctx context.Context, timeout time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := c.ready(limited)
		if err == nil {
			return nil
		}
		// A supervisor that has ended has let go of its lock.
		if alive, lockErr := filelock.Try(c.Layout.AliveLock()); lockErr == nil {
			_ = alive.Release()
			return fmt.Errorf("%w: cluster %q, see %s", errEnded, c.Layout.Name, c.Layout.SupervisorLog())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limited.Done():
			return fmt.Errorf("cluster %q is not ready after %s: %w; see the logs in %s", c.Layout.Name, timeout, err, c.Layout.Node(0).Logs())
		case <-ticker.C:
		}
	}
}

// ready says what is still missing.
func (c Cluster) ready(ctx context.Context) error {
	node := c.Layout.Node(0)
	var status record.Node
	found, err := record.Read(node.Status(), &status)
	if err != nil {
		return err
	}
	if !found {
		return errors.New("the node is starting")
	}
	for _, program := range status.Programs {
		if !program.Ready {
			return fmt.Errorf("%s: %s", program.Name, program.Message)
		}
	}
	var settings record.Cluster
	if _, err := record.Read(c.Layout.Record(), &settings); err != nil {
		return err
	}
	api, err := kubeapi.New(kubeapi.Config{
		Server: "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(settings.Port)), PKI: c.pki(),
	})
	if err != nil {
		return err
	}
	defer api.Close()
	if err := nodeReady(ctx, api, node.Name); err != nil {
		return err
	}
	return api.Get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
}

func nodeReady(ctx context.Context, api *kubeapi.Client, name string) error {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := api.Get(ctx, "/api/v1/nodes/"+name, &node); err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" {
			return nil
		}
		if condition.Type == "Ready" {
			return fmt.Errorf("node %s is not Ready: %s", name, condition.Message)
		}
	}
	return fmt.Errorf("node %s has not said yet how it is", name)
}
