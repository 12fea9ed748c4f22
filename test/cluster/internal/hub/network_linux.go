// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
)

const bridgeName = "hub"

// makeBridge makes what the nodes are plugged into.
func makeBridge() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding the hub's loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("starting the hub's loopback interface: %w", err)
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("making the hub's bridge: %w", err)
	}
	address := &net.IPNet{IP: net.ParseIP(layout.HubIP), Mask: net.CIDRMask(layout.NetworkBits, 32)}
	if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: address}); err != nil {
		return fmt.Errorf("giving the hub its address: %w", err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("starting the hub's bridge: %w", err)
	}
	return nil
}

// plugIn makes the node's cable: one end at the bridge, the other is eth0 in
// the network namespace of process pid.
func plugIn(node layout.Node, pid int) error {
	// The cable of a node that just ended may still be there.
	if old, err := netlink.LinkByName(node.Link()); err == nil {
		if err := netlink.LinkDel(old); err != nil && !errors.As(err, new(netlink.LinkNotFoundError)) {
			return fmt.Errorf("removing the old cable of node %d: %w", node.Index, err)
		}
	}
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("finding the hub's bridge: %w", err)
	}
	cable := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: node.Link(), MasterIndex: bridge.Attrs().Index},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("plugging in node %d: %w", node.Index, err)
	}
	if err := netlink.LinkSetUp(cable); err != nil {
		return fmt.Errorf("plugging in node %d: %w", node.Index, err)
	}
	return nil
}
