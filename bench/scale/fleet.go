// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"

	"github.com/vaultferry/vaultferry/bench/internal/lab"
)

const (
	namespace = "scale"
	// apiWorkers is how many requests the simulation itself makes to the API server at a time.
	apiWorkers = 16
)

// secretsOf are the secrets of an identity's class.
func secretsOf(identity, objects int) []int {
	all := make([]int, objects)
	for i := range all {
		all[i] = identity*objects + i
	}
	return all
}

// furnish makes what the nodes need in the API server: classes, nodes, pods, and for each node the token that its driver has there.
func (s *simulation) furnish(ctx context.Context) ([]nodeConfig, error) {
	if err := s.server.CreateNamespace(ctx, apiWorkers, namespace, s.Identities); err != nil {
		return nil, err
	}
	proofs, err := s.proofs(ctx)
	if err != nil {
		return nil, err
	}
	if err := lab.Side(ctx, apiWorkers, s.Identities, func(ctx context.Context, i int) error {
		return s.server.CreateClass(ctx, namespace, className(i), i, secretsOf(i, s.Objects))
	}); err != nil {
		return nil, err
	}
	nodes := make([]nodeConfig, s.Nodes)
	if err := lab.Side(ctx, apiWorkers, s.Nodes, func(ctx context.Context, n int) (err error) {
		nodes[n], err = s.furnishNode(ctx, n)
		return err
	}); err != nil {
		return nil, err
	}
	return nodes, lab.Side(ctx, apiWorkers, s.Pods(), func(ctx context.Context, i int) error {
		node := &nodes[i/s.Volumes]
		p := proofs[i%s.Identities]
		p.name = fmt.Sprintf("pod-%d", i)
		var err error
		p.uid, err = s.server.CreatePod(ctx, namespace, p.name, node.name, lab.Account(p.identity))
		node.pods[i%s.Volumes] = p
		return err
	})
}

// proofs are the tokens of the ServiceAccounts. Pods share them: whose pod a token is of makes no difference to Entra ID or to the provider.
func (s *simulation) proofs(ctx context.Context) ([]pod, error) {
	all := make([]pod, s.Identities)
	return all, lab.Side(ctx, apiWorkers, s.Identities, func(ctx context.Context, i int) error {
		name := "first-of-" + lab.Account(i)
		uid, err := s.server.CreatePod(ctx, namespace, name, "", lab.Account(i))
		if err != nil {
			return err
		}
		all[i].identity = i
		all[i].token, all[i].expires, err = s.server.Token(ctx, namespace, lab.Account(i), name, uid, lab.Audience)
		return err
	})
}

func (s *simulation) furnishNode(ctx context.Context, n int) (nodeConfig, error) {
	c := nodeConfig{
		name: fmt.Sprintf("node-%d", n), pods: make([]pod, s.Volumes), azure: s.azure, dir: filepath.Join(s.dir, "nodes", fmt.Sprint(n)),
		interval: s.Interval, freshness: s.Freshness,
	}
	if err := s.server.CreateNode(ctx, c.name); err != nil {
		return c, err
	}
	driver := fmt.Sprintf("driver-%d", n)
	uid, err := s.server.CreatePod(ctx, lab.Home, driver, c.name, lab.DriverAccount)
	if err != nil {
		return c, err
	}
	token, _, err := s.server.Token(ctx, lab.Home, lab.DriverAccount, driver, uid)
	c.api = s.clientOf(token)
	return c, err
}

// clientOf is how a node reaches the API server: with its own connection. client-go would let all share one.
func (s *simulation) clientOf(token string) *rest.Config {
	config := s.server.Config(token)
	config.QPS = -1 // as the driver has it
	config.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	return config
}
