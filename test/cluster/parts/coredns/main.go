// SPDX-License-Identifier: Apache-2.0

// Command coredns is CoreDNS with only the plugins a local cluster needs.
// Names outside the cluster get NXDOMAIN at once: it forwards nothing.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template" // NXDOMAIN for every other name
)

func main() {
	// The plugins in the order that they are asked; CoreDNS's own order asks template, which knows no name, before those that do.
	dnsserver.Directives = []string{"bind", "health", "ready", "errors", "kubernetes", "hosts", "template"}
	coremain.Run()
}
