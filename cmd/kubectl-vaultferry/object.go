// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/kube"
)

// objectKind is a kind of object that a user can name.
type objectKind struct {
	// name is the word that the program prints, aliases are what it takes besides.
	name     string
	aliases  []string
	resource kube.Resource
}

// The kinds, with kubectl's short names.
func podKind() objectKind {
	return objectKind{"pod", []string{"pods", "po"}, kube.Pods}
}

func deploymentKind() objectKind {
	return objectKind{"deployment", []string{"deployments", "deploy"}, kube.Deployments}
}

func classKind() objectKind {
	return objectKind{"class", []string{"classes", "spc", "secretproviderclass", "secretproviderclasses"}, kube.Classes}
}

func secretKind() objectKind {
	return objectKind{"secret", []string{"secrets"}, kube.Secrets}
}

// objectRef is an object that the user named.
type objectRef struct {
	kind objectKind
	name string
}

// kindOf finds a kind by its name or an alias. A group such as in "deployments.apps" is accepted.
func kindOf(word string, kinds []objectKind) (objectKind, bool) {
	word, _, _ = strings.Cut(strings.ToLower(word), ".")
	i := slices.IndexFunc(kinds, func(k objectKind) bool { return k.name == word || slices.Contains(k.aliases, word) })
	if i < 0 {
		return objectKind{}, false
	}
	return kinds[i], true
}

// parseObject reads "pod/x" or "pod x".
func parseObject(args []string, kinds ...objectKind) (objectRef, error) {
	var names, all []string
	for _, k := range kinds {
		names = append(names, k.name+"/NAME")
		all = append(append(all, k.name), k.aliases...)
	}
	usage := strings.Join(names, " or ")
	word := strings.Join(args, "/")
	kindName, name, ok := strings.Cut(word, "/")
	switch {
	case word == "":
		return objectRef{}, usagef("name an object: %s", usage)
	case !ok:
		if _, isKind := kindOf(word, kinds); isKind {
			return objectRef{}, usagef("%q is a kind; name the object too: %s/NAME", word, word)
		}
		return objectRef{}, usagef("%q does not say of which kind it is: use %s", word, usage)
	}
	kind, ok := kindOf(kindName, kinds)
	if !ok {
		return objectRef{}, usagef("%q is no kind that this command knows%s: use %s", kindName, didYouMean(kindName, all), usage)
	}
	if name == "" || strings.Contains(name, "/") {
		return objectRef{}, usagef("%q is no name of a %s: use %s/NAME", name, kind.name, kind.name)
	}
	return objectRef{kind, name}, nil
}
