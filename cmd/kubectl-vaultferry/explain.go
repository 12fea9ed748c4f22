// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/explain"
	"github.com/vaultferry/vaultferry/internal/kube"
)

const explainLong = `Follow a secret from the pod that wants it to whoever consumes it, link by link, and mark the link that is broken:

  pod → volume → class → driver → service account → identity → federated credential → role → vault → object → file → Secret → consumer

Below the consumers stands what the reload controller has done with their workloads: the last reload, and one that waits.

The API server is asked, with your own rights, and knows what the node met. With credentials for Azure (those of az, or AZURE_TENANT_ID, AZURE_CLIENT_ID
and AZURE_CLIENT_SECRET) federated credentials and roles are looked up too. With --probe a token of the pod's service account is exchanged and the
objects are read, as the node would, and thrown away.`

const explainExample = `  # why does this pod not start?
  kubectl vaultferry explain pod/payments-api -n payments

  # all pods of a deployment, or of a SecretProviderClass
  kubectl vaultferry explain deployment/payments-api -n payments
  kubectl vaultferry explain class/app-kv -n payments

  # who makes this Secret, and who still holds an old value of it?
  kubectl vaultferry explain secret/app-db -n payments

  # try it as the node would
  kubectl vaultferry explain pod/payments-api -n payments --probe`

// explanation is the machine-readable answer.
type explanation struct {
	typeMeta
	Subject string `json:"subject"`
	// State is ok, warning or broken.
	State explain.State `json:"state"`
	// Broken, Reason and Fix are those of the first broken link.
	Broken explain.LinkKind `json:"broken,omitempty"`
	Reason string           `json:"reason,omitempty"`
	Fix    string           `json:"fix,omitempty"`
	Chains []*explain.Chain `json:"chains"`
}

func newExplain(a *app) *cobra.Command {
	var o output
	var azure azureFlags
	var probe bool
	kinds := []objectKind{podKind(), deploymentKind(), classKind(), secretKind()}
	cmd := &cobra.Command{
		Use: "explain KIND/NAME", Short: "Show where the way from vault to pod is broken, and what mends it",
		Long: explainLong, Example: explainExample,
		ValidArgsFunction: a.completeObjects(kinds...),
		RunE: func(cmd *cobra.Command, args []string) error {
			object, err := parseObject(args, kinds...)
			if err != nil {
				return err
			}
			chains, err := a.explain(cmd.Context(), object, &azure, probe)
			if err != nil {
				return err
			}
			return a.printExplanation(&o, object, chains)
		},
	}
	o.flag(cmd)
	azure.flags(cmd)
	cmd.Flags().BoolVar(&probe, "probe", false, "exchange a token as the pod would and read the objects, without printing them; needs the right to create serviceaccounts/token")
	return cmd
}

func (a *app) explain(ctx context.Context, object objectRef, azure *azureFlags, probe bool) ([]*explain.Chain, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	namespace, err := a.namespace(false)
	if err != nil {
		return nil, err
	}
	config := explain.Config{Kube: client}
	if config.Azure, err = azure.client(a); err != nil {
		return nil, err
	}
	if probe {
		transport, err := azure.transport()
		if err != nil {
			return nil, err
		}
		config.Prober = &explain.NodeProber{Kube: client, Transport: transport}
	}
	chains, err := explain.Explain(ctx, config, namespace, explain.Kind(object.kind.name), object.name)
	if kube.Missing(err) {
		return nil, a.missing(ctx, client, object, namespace)
	}
	return chains, err
}

// missing is the error for an object that is not there, with the nearest name.
func (a *app) missing(ctx context.Context, client *kube.Client, object objectRef, namespace string) error {
	text := fmt.Sprintf("there is no %s %q in namespace %q", object.kind.name, object.name, namespace)
	if names, err := client.Names(ctx, object.kind.resource, namespace); err == nil {
		text += didYouMean(object.name, names)
		if len(names) == 0 {
			text += "; the namespace has none at all (another one? use -n)"
		}
	}
	return errors.New(text)
}

func (a *app) printExplanation(o *output, object objectRef, chains []*explain.Chain) error {
	e := explanation{typeMeta: kind("Explanation"), Subject: object.kind.name + "/" + object.name, State: explain.OK, Chains: chains}
	for _, chain := range chains {
		switch state := chain.State(); {
		case state == explain.Broken && e.State != explain.Broken:
			link := chain.Broken()
			e.State, e.Broken, e.Reason, e.Fix = state, link.Kind, link.Reason, link.Fix
		case state == explain.Warning && e.State == explain.OK:
			e.State = state
		}
	}
	if err := o.show(a, e, func(w io.Writer) error { return a.writeChains(w, chains, o.format == wide) }); err != nil {
		return err
	}
	a.tellNotProbed(chains)
	if e.State == explain.Broken {
		return errFound
	}
	return nil
}

// tellNotProbed tells why there was no probe, each reason once.
func (a *app) tellNotProbed(chains []*explain.Chain) {
	told := map[string]bool{}
	for _, chain := range chains {
		if chain.NotProbed == "" || told[chain.NotProbed] {
			continue
		}
		told[chain.NotProbed] = true
		a.note("class %s was not probed: %s", chain.Class, chain.NotProbed)
		if advice := kube.Advice(chain.Refused); advice != "" {
			fmt.Fprintln(a.err, advice)
		}
	}
}

// writeChains writes the chains, or of many alike only one.
func (a *app) writeChains(w io.Writer, chains []*explain.Chain, all bool) error {
	p := a.painter(w)
	shown := map[string]int{}
	for i, chain := range chains {
		key := alike(chain)
		if shown[key]++; shown[key] > 1 && !all {
			continue
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := writeChain(w, p, chain); err != nil {
			return err
		}
	}
	for _, chain := range chains {
		if key := alike(chain); shown[key] > 1 && !all {
			fmt.Fprintf(w, "\nthe same holds for %s of class %s; -o wide shows all\n", plural(shown[key]-1, "more pod", "more pods"), chain.Class)
			shown[key] = 0
		}
	}
	return nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// alike is the same for chains that differ in nothing but the pod.
func alike(chain *explain.Chain) string {
	key := chain.Class
	for _, link := range chain.Links {
		if link.State == explain.Broken || link.State == explain.Warning {
			key += "\n" + string(link.Kind) + " " + link.Reason
		}
	}
	return key
}

func podName(chain *explain.Chain) string {
	if chain.Pod == "" {
		return "no pod"
	}
	return "pod " + chain.Pod
}

func writeChain(w io.Writer, p painter, chain *explain.Chain) error {
	head := fmt.Sprintf("%s/%s of class %s", chain.Namespace, podName(chain), chain.Class)
	if chain.Pod == "" {
		head = fmt.Sprintf("%s/class %s, %s", chain.Namespace, chain.Class, podName(chain))
	}
	if _, err := fmt.Fprintln(w, p.bold(head)); err != nil {
		return err
	}
	for _, link := range chain.Links {
		m := markOf(link.State)
		name := link.Name
		if name == "" {
			name = "-"
		}
		line := fmt.Sprintf("  %s %-20s %s", p.mark(m), link.Kind, name)
		if link.State != explain.OK {
			line += " " + p.in(m.color, "["+m.word+"]")
		}
		if link.Detail != "" {
			line += p.dim(": " + link.Detail)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
		writeAdvice(w, p, link)
	}
	return nil
}

func writeAdvice(w io.Writer, p painter, link explain.Link) {
	const indent = "      "
	if link.Message != "" {
		fmt.Fprintf(w, "%s%s\n", indent, link.Message)
	}
	if link.Fix != "" {
		fmt.Fprintf(w, "%s%s\n", indent, p.bold("mend it:"))
		for line := range strings.SplitSeq(link.Fix, "\n") {
			fmt.Fprintf(w, "%s  %s\n", indent, line)
		}
	}
	if anchor := link.Anchor(); anchor != "" && link.State != explain.OK {
		fmt.Fprintf(w, "%smore: %s\n", indent, anchor)
	}
}

func markOf(state explain.State) mark {
	switch state {
	case explain.OK:
		return markOK
	case explain.Warning:
		return markWarn
	case explain.Broken:
		return markBroken
	case explain.Unknown:
	}
	return markUnknown
}
