// SPDX-License-Identifier: Apache-2.0

// Package catalog explains every reason of package reason to the people who run a cluster: what it means, how to look closer, what
// causes it, what mends it, and whether kubelet's retry does.
//
// It is text for documents and tools. The processes on a node carry reasons only and never import this package.
package catalog

import (
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Entry explains one reason. Texts are Markdown without headings; words in angle brackets inside commands are for the reader to replace.
type Entry struct {
	Reason reason.Reason
	// Meaning says what the reason means, in one or more sentences.
	Meaning string
	// Causes are what brings it about, the commonest first.
	Causes []string
	// See are ways to look closer, and Fix what mends it; each is at least one step.
	See, Fix []Step
	Retry    Retry
}

// Step is a sentence and the command that goes with it.
type Step struct {
	Text string
	// Command is for a shell, one or more lines, or a fragment of YAML where Text says so; it may be empty.
	Command string
}

// Retry says what kubelet's next tries do about a reason.
type Retry int

// Kubelet repeats a publish that failed, with pauses of up to about two minutes (Kubernetes, "exponential backoff" of volume mounts).
const (
	// Mends: the failure passes by itself.
	Mends Retry = iota + 1
	// AfterFix: the next try takes up what was mended; the pod stays.
	AfterFix
	// NewPod: what is wrong stands in the pod, which cannot be changed.
	NewPod
	// NextRefresh: kubelet has no part in it, and the driver tries again.
	NextRefresh
	// NoFailure: nothing failed, so nothing is tried again.
	NoFailure
)

// String implements [fmt.Stringer] with a sentence for the reader.
func (r Retry) String() string {
	switch r {
	case Mends:
		return "Yes: the pod starts by itself once the cause has passed. If it has not after some minutes, go through the steps above."
	case AfterFix:
		return "Not alone. Kubelet goes on trying and takes up the fix within about two minutes; the pod need not be created again."
	case NewPod:
		return "Not where the pod is what is wrong, since its volumes cannot be changed: correct its manifest, or the template of its workload, " +
			"and let it be created again."
	case NextRefresh:
		return "Kubelet has no part in it, since the volume is published. The driver tries again with the next refresh."
	case NoFailure:
		return "There is nothing to try again: the volume is published."
	}
	return ""
}

// Area groups the reasons by where the cause is.
type Area struct {
	// Title is the heading, and Intro a sentence below it.
	Title, Intro string
	Entries      []Entry
}

// Areas returns the whole catalogue in reading order.
func Areas() []Area {
	return []Area{
		{"SecretProviderClass", "What the class asks for is not possible as it is written.", classEntries()},
		{"Identity", "The pod or the node cannot show who it is.", identityEntries()},
		{"Entra ID", "Entra ID gives no access token for the identity.", entraEntries()},
		{"Key Vault", "The vault does not hand out an object.", vaultEntries()},
		{"Kubernetes Secrets", "Mounted files do not become the Secret that `secretObjects` asks for. The volume and its pod are not affected.", syncEntries()},
		{"Admission", "A pod is refused when it is created.", admissionEntries()},
		{"Workloads", "What was applied works, or will, but not as its author expects. These are warnings: nothing is refused.", workloadEntries()},
		{"Node", "Something is wrong between kubelet, the driver and the API server.", nodeEntries()},
		{"Provider protocol", "Driver and provider do not come together. This concerns providers of every vendor.", protocolEntries()},
	}
}

// Find returns the entry of the reason called name.
func Find(name string) (Entry, bool) {
	for _, area := range Areas() {
		i := slices.IndexFunc(area.Entries, func(e Entry) bool { return e.Reason.Name == name })
		if i >= 0 {
			return area.Entries[i], true
		}
	}
	return Entry{}, false
}

// Anchor is the entry's address in docs/reasons.md, as GitHub forms it from the heading.
func (e Entry) Anchor() string { return strings.ToLower(e.Reason.Name) }
