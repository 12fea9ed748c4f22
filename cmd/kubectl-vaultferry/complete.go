// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// completionTimeout bounds what a press of the tabulator key waits for.
const completionTimeout = 3 * time.Second

// completeFlags completes the values of kubectl's own flags.
func (a *app) completeFlags(root *cobra.Command) {
	mustRegister(root.RegisterFlagCompletionFunc("namespace", func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		client, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		list, err := client.Core.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
		}
		return startingWith(names, toComplete), cobra.ShellCompDirectiveNoFileComp
	}))
	fromConfig := func(pick func() []string) cobra.CompletionFunc {
		return func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			return startingWith(pick(), toComplete), cobra.ShellCompDirectiveNoFileComp
		}
	}
	mustRegister(root.RegisterFlagCompletionFunc("context", fromConfig(func() []string {
		config, err := a.flags.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil
		}
		var names []string
		for name := range config.Contexts {
			names = append(names, name)
		}
		return names
	})))
	mustRegister(root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp)))
}

// completeObjects completes one object reference of the given kinds, such as "pod/payments-api".
func (a *app) completeObjects(kinds ...objectKind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		prefix, _, slash := strings.Cut(toComplete, "/")
		if !slash {
			var words []string
			for _, k := range kinds {
				words = append(words, k.name+"/")
			}
			return startingWith(words, toComplete), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		kind, ok := kindOf(prefix, kinds)
		if !ok {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		client, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		namespace, err := a.namespace(false)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		names, err := client.Names(ctx, kind.resource, namespace)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for i := range names {
			names[i] = prefix + "/" + names[i]
		}
		return startingWith(names, toComplete), cobra.ShellCompDirectiveNoFileComp
	}
}

func startingWith(words []string, prefix string) []string {
	words = slices.DeleteFunc(words, func(word string) bool { return !strings.HasPrefix(word, prefix) })
	slices.Sort(words)
	return words
}
