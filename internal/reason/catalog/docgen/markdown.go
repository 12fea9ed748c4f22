// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/vaultferry/vaultferry/internal/reason/catalog"
)

const introduction = `<!-- Made from internal/reason/catalog by tools/generate.sh: change it there. -->

# Reasons

When something fails, Vaultferry says so with one of the reasons on this page. It is the first word of the text that people see:

` + "```" + `
VaultForbidden: secret "db" in kv: identity 11111111-… may not read secrets (ForbiddenByRbac); grant it "Key Vault Secrets User": …
` + "```" + `

The same word appears

- in the pod's events, while it cannot start (FailedMount) and when a refresh of its running volume failed (MountRotationFailed):
  ` + "`kubectl events --namespace <namespace> --for pod/<pod>`" + `
- in all namespaces at once: ` + "`kubectl get events --all-namespaces --field-selector reason=FailedMount`" + `
- as label ` + "`error_type`" + ` of the driver's metrics ` + "`node_publish_error_total`" + ` and ` + "`rotation_reconcile_error_total`" + `
- in the logs of driver and provider on the pod's node.

A refresh that fails leaves the files of a running pod as they are, and is tried again. Where this page speaks of a pod that starts, the same
holds for the refresh.

In the commands, words in angle brackets are yours to replace. Vaultferry is taken to be the release ` + "`vaultferry`" + ` in namespace ` + "`kube-system`" + `.
`

// markdown renders the catalogue.
func markdown(areas []catalog.Area) string {
	var page strings.Builder
	page.WriteString(introduction)
	page.WriteString("\n## Contents\n\n")
	for _, area := range areas {
		var links []string
		for _, e := range area.Entries {
			links = append(links, fmt.Sprintf("[%s](#%s)", e.Reason.Name, e.Anchor()))
		}
		fmt.Fprintf(&page, "- **%s**: %s\n", area.Title, strings.Join(links, " · "))
	}
	for _, area := range areas {
		fmt.Fprintf(&page, "\n## %s\n\n%s\n", area.Title, area.Intro)
		for _, e := range area.Entries {
			writeEntry(&page, e)
		}
	}
	return page.String()
}

func writeEntry(page *strings.Builder, e catalog.Entry) {
	fmt.Fprintf(page, "\n### %s\n\n%s (gRPC code %s.)\n\n**Causes**\n\n", e.Reason.Name, e.Meaning, e.Reason.Code)
	for _, cause := range e.Causes {
		fmt.Fprintf(page, "- %s\n", cause)
	}
	writeSteps(page, "See it", e.See)
	writeSteps(page, "Fix", e.Fix)
	fmt.Fprintf(page, "\n**Does kubelet's retry mend it?** %s\n", e.Retry)
}

func writeSteps(page *strings.Builder, title string, steps []catalog.Step) {
	fmt.Fprintf(page, "\n**%s**\n", title)
	for _, s := range steps {
		fmt.Fprintf(page, "\n- %s\n", s.Text)
		if s.Command != "" {
			fmt.Fprintf(page, "\n  ```\n  %s\n  ```\n", strings.ReplaceAll(s.Command, "\n", "\n  "))
		}
	}
}
