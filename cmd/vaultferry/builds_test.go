// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"strings"
	"testing"
)

// What a node's process links it keeps in memory, so neither may link the other's libraries.
func TestABuildForOneProcessLinksNoOther(t *testing.T) {
	const ours = "github.com/vaultferry/vaultferry/internal/"
	for tag, foreign := range map[string][]string{
		"vaultferry_provider,grpcnotrace,nethttpomithttp2": {"k8s.io/", "golang.org/x/net/trace", "html/template", ours + "driver", ours + "webhook", ours + "reason/catalog", ours + "emulator"},
		"vaultferry_driver,grpcnotrace": {
			"golang.org/x/net/trace", "github.com/Azure/", ours + "provider", ours + "keyvault", ours + "webhook", ours + "reason/catalog", ours + "emulator",
		},
		"vaultferry_controller,grpcnotrace": {
			// It asks which objects a class mounts as the provider does, and pulls events with the Azure SDK. That is 2.6 MB of the program.
			"golang.org/x/net/trace", "go.opentelemetry.io/otel/exporters",
			ours + "driver", ours + "webhook", ours + "arm", ours + "reason/catalog", ours + "emulator",
		},
		"vaultferry_webhook,grpcnotrace": {
			// Its checks of classes are those of the provider, and with them comes the Azure SDK. That costs 1.9 MB of the program and 2 MiB of
			// resident memory, 0.5 of them not from the file. The clientset would be used for nothing.
			"golang.org/x/net/trace", "k8s.io/client-go/kubernetes", "go.opentelemetry.io/otel/exporters",
			ours + "driver", ours + "arm", ours + "reason/catalog", ours + "emulator",
		},
	} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tag, ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		linked := strings.Fields(string(out))
		if len(linked) < 100 {
			t.Fatalf("%s: only %d packages: is the list right?", tag, len(linked))
		}
		for _, name := range linked {
			for _, prefix := range foreign {
				if strings.HasPrefix(name, prefix) {
					t.Errorf("%s links %s", tag, name)
				}
			}
		}
	}
}
