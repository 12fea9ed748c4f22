// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"

	"github.com/vaultferry/vaultferry/test/cluster/internal/layout"
)

// network sets up the node's end of its cable, which the hub has plugged in as
// eth0 before.
func network(node layout.Node) error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding the node's loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("starting the node's loopback interface: %w", err)
	}
	cable, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("finding the node's eth0: %w", err)
	}
	address := &net.IPNet{IP: net.ParseIP(node.IP()), Mask: net.CIDRMask(layout.NetworkBits, 32)}
	if err := netlink.AddrAdd(cable, &netlink.Addr{IPNet: address}); err != nil {
		return fmt.Errorf("giving the node its address %s: %w", node.IP(), err)
	}
	if err := netlink.LinkSetUp(cable); err != nil {
		return fmt.Errorf("starting the node's eth0: %w", err)
	}
	// kubelet and kube-proxy look for the interface with the default route.
	route := &netlink.Route{LinkIndex: cable.Attrs().Index, Gw: net.ParseIP(layout.HubIP)}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("adding the node's default route: %w", err)
	}
	for name, value := range map[string]string{
		"/proc/sys/net/ipv4/ip_forward":             "1",
		"/proc/sys/net/ipv4/conf/all/rp_filter":     "0",
		"/proc/sys/net/ipv4/conf/default/rp_filter": "0",
	} {
		if err := os.WriteFile(name, []byte(value), 0o644); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}
