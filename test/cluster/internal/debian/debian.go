// SPDX-License-Identifier: Apache-2.0

// Package debian knows what of the machine a cluster uses besides its own
// programs, and installs what is missing where it can.
package debian

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// need is a Debian package and how to tell that what it brings is there.
type need struct {
	pkg     string
	program string // on PATH
	header  string // in /usr/include
	library string // as pkg-config knows it
	build   bool   // only for building runc
}

// needs is the one list of the Debian packages.
func needs() []need {
	return []need{
		{pkg: "mount", program: "mount"},       // kubelet mounts volumes with it
		{pkg: "iptables", program: "iptables"}, // kube-proxy and hostPort
		{pkg: "gcc", program: "gcc", build: true},
		{pkg: "libc6-dev", header: "stdlib.h", build: true},
		{pkg: "pkg-config", program: "pkg-config", build: true},
		{pkg: "libseccomp-dev", library: "libseccomp", build: true}, // seccomp profiles
	}
}

func (n need) missing(ctx context.Context) bool {
	switch {
	case n.program != "":
		_, err := exec.LookPath(n.program)
		return err != nil
	case n.header != "":
		_, err := os.Stat(filepath.Join("/usr/include", n.header))
		return err != nil
	default:
		return exec.CommandContext(ctx, "pkg-config", "--exists", n.library).Run() != nil
	}
}

// Missing lists the packages that the machine lacks.
func Missing(ctx context.Context, build bool) []string {
	var packages []string
	for _, need := range needs() {
		if (build || !need.build) && need.missing(ctx) {
			packages = append(packages, need.pkg)
		}
	}
	return packages
}

// Install installs packages with apt-get. environment is that of apt-get.
func Install(ctx context.Context, packages, environment []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("needs what these Debian packages bring, and there is no apt-get to install them: %s", strings.Join(packages, " "))
	}
	environment = append(slices.Clone(environment), "DEBIAN_FRONTEND=noninteractive")
	install := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
	for _, args := range [][]string{{"update"}, install} {
		command := exec.CommandContext(ctx, "apt-get", args...)
		command.Env = environment
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("installing %s with apt-get %s: %w: %s", strings.Join(packages, " "), args[0], err, bytes.TrimSpace(output))
		}
	}
	return nil
}
