// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Example is a YAML block, ready to be tried.
type Example struct {
	Block
	// Manifests are Kubernetes objects, each with apiVersion and kind. Values are values of the chart. One of the two is there.
	Manifests []string
	Values    string
}

// frames complete the fragments that pages show, by their first key, to whole manifests.
func frames() map[string]string {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: example}\nspec:\n"
	const image = "  - name: app\n    image: example\n"
	return map[string]string{ //nolint:gosec // pieces of manifests, and no credentials
		"csi":           pod + "  containers:\n" + image + "  volumes:\n  - name: kv\n    %s",
		"volumes":       pod + "  containers:\n" + image + "  %s",
		"containers":    pod + "  %s",
		"env":           pod + "  containers:\n" + image + "    %s",
		"envFrom":       pod + "  containers:\n" + image + "    %s",
		"objects":       "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: example}\nspec:\n  provider: azure\n  parameters:\n    keyvaultName: kv-example\n    tenantID: ffffffff-1111-2222-3333-444444444444\n    clientID: 00001111-aaaa-2222-bbbb-3333cccc4444\n    %s",
		"-":             "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: example}\nspec:\n  provider: azure\n  parameters:\n    keyvaultName: kv-example\n    tenantID: ffffffff-1111-2222-3333-444444444444\n    clientID: 00001111-aaaa-2222-bbbb-3333cccc4444\n    objects: |\n      %s",
		"metadata":      "apiVersion: apps/v1\nkind: Deployment\n%s\n  name: example\nspec:\n  selector: {matchLabels: {app: example}}\n  template:\n    metadata: {labels: {app: example}}\n    spec:\n      containers:\n      - {name: app, image: example}\n",
		"annotations":   "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: example\n  %s\nspec:\n  selector: {matchLabels: {app: example}}\n  template:\n    metadata: {labels: {app: example}}\n    spec:\n      containers:\n      - {name: app, image: example}\n",
		"secretObjects": "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: example}\nspec:\n  provider: azure\n  parameters: {objects: \"\"}\n  %s",
	}
}

// Examples returns the page's YAML blocks; of the pages of the emulator and the local cluster none, which are about files of their own.
// chartKeys are the first keys of the chart's values, by which a block of values is known. A block that is neither that, nor whole manifests,
// nor a known fragment of one, is an error.
func (p Page) Examples(chartKeys []string) ([]Example, error) {
	if strings.HasPrefix(p.Path, "cmd/") || strings.HasPrefix(p.Path, "test/") {
		return nil, nil
	}
	var examples []Example
	var problems []error
	for _, block := range p.Blocks() {
		if block.Language != "yaml" && block.Language != "yml" {
			continue
		}
		example, err := newExample(block, chartKeys)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", block.Where(), err))
			continue
		}
		examples = append(examples, example)
	}
	return examples, errors.Join(problems...)
}

func newExample(block Block, chartKeys []string) (Example, error) {
	documents, err := split(block.Text)
	if err != nil {
		return Example{}, err
	}
	switch first := documents[0]; {
	case first["apiVersion"] != nil && first["kind"] != nil:
		return Example{Block: block, Manifests: texts(block.Text)}, nil
	case len(documents) > 1:
		return Example{}, errors.New("several documents, and the first has no apiVersion and kind")
	case len(first) > 0 && !slices.ContainsFunc(keys(first), func(key string) bool { return !slices.Contains(chartKeys, key) }):
		return Example{Block: block, Values: block.Text}, nil
	}
	key := firstKey(block.Text)
	frame, ok := frames()[key]
	if !ok {
		return Example{}, fmt.Errorf("begins with %q: it is neither a manifest, nor values of the chart, nor a fragment that frames() completes", key)
	}
	whole := fmt.Sprintf(frame, indent(dedent(block.Text), margin(frame)))
	if _, err := split(whole); err != nil {
		return Example{}, fmt.Errorf("completed to a manifest: %w", err)
	}
	return Example{Block: block, Manifests: []string{whole}}, nil
}

// split parses all documents of a text. A list stands for no keys.
func split(text string) ([]map[string]any, error) {
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	var documents []map[string]any
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		document := map[string]any{}
		if len(node.Content) > 0 && node.Content[0].Kind == yaml.MappingNode {
			if err := node.Decode(&document); err != nil {
				return nil, err
			}
		}
		documents = append(documents, document)
	}
	if len(documents) == 0 {
		return nil, errors.New("empty")
	}
	return documents, nil
}

func texts(all string) []string {
	var out []string
	for document := range strings.SplitSeq(all, "\n---\n") {
		if strings.TrimSpace(document) != "" {
			out = append(out, document)
		}
	}
	return out
}

func keys(m map[string]any) []string {
	var out []string
	for key := range m {
		out = append(out, key)
	}
	return out
}

// firstKey is the first key of a mapping, or "-" for a list.
func firstKey(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "- ") {
			return "-"
		}
		key, _, _ := strings.Cut(line, ":")
		return key
	}
	return ""
}

// dedent takes the margin of the first line from all lines.
func dedent(text string) string {
	margin := len(text) - len(strings.TrimLeft(text, " "))
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(line[min(margin, len(line)-len(strings.TrimLeft(line, " "))):])
	}
	return strings.TrimRight(out.String(), "\n")
}

// margin is the indentation of the frame's %s.
func margin(frame string) string {
	before, _, _ := strings.Cut(frame, "%s")
	return before[strings.LastIndexByte(before, '\n')+1:]
}

func indent(text, margin string) string { return strings.ReplaceAll(text, "\n", "\n"+margin) }
