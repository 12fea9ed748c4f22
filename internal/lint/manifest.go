// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// Manifest is one object of a file.
type Manifest struct {
	// File is the name of the file, and Line the line where the object begins.
	File                  string
	Line                  int
	Kind, Namespace, Name string
	// Findings are those of the manifest, ordered by line.
	Findings []Finding

	group    string
	root     *yaml.Node
	above    int
	document []byte
}

// head is what all kinds have.
type head struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Items      []json.RawMessage `json:"items"`
}

// read splits a file into its objects. Documents that are no Kubernetes objects are left out; what is no YAML is a finding of a manifest without a
// kind.
func read(file string, text []byte, namespace string) []*Manifest {
	var manifests []*Manifest
	above := 0
	for _, document := range documents(string(text)) {
		manifests = append(manifests, readDocument(file, document, above, namespace)...)
		above += strings.Count(document, "\n")
	}
	return manifests
}

// documents splits a stream of YAML documents as kubectl does. The separators stay at the beginning of each, so that lines can be counted.
func documents(text string) []string {
	var list []string
	start, at := 0, 0
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "---"); ok && strings.TrimSpace(rest) == "" && at > start {
			list = append(list, text[start:at])
			start = at
		}
		at += len(line)
	}
	return append(list, text[start:])
}

func readDocument(file, text string, above int, namespace string) []*Manifest {
	// kubectl's own conversion decides what a value is; the nodes only tell lines.
	document, err := kyaml.YAMLToJSON([]byte(text))
	var node yaml.Node
	if err == nil {
		err = yaml.Unmarshal([]byte(text), &node)
	}
	if err != nil {
		return []*Manifest{unreadable(file, text, above, err)}
	}
	if len(node.Content) == 0 {
		return nil
	}
	return objectsOf(file, node.Content[0], document, above, namespace)
}

// unreadable is a document that is no YAML.
func unreadable(file, text string, above int, err error) *Manifest {
	message := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		number, _, _ := strings.Cut(rest, ":")
		if n, err := strconv.Atoi(number); err == nil {
			line = n
			_, message, _ = strings.Cut(message, ": ")
		}
	}
	next := "correct the indentation and the quotes"
	if strings.Contains(text, "{{") {
		next = "render the template first, for example with helm template"
	}
	finding := found(Error, "", reason.New(reason.ManifestInvalid, next, "this is not YAML: %s", message))
	finding.Line = above + line
	return &Manifest{File: file, Line: above + 1, Findings: []Finding{finding}}
}

func objectsOf(file string, node *yaml.Node, document []byte, above int, namespace string) []*Manifest {
	var h head
	if node.Kind != yaml.MappingNode || json.Unmarshal(document, &h) != nil || h.Kind == "" {
		return nil
	}
	if items := child(node, "items"); strings.HasSuffix(h.Kind, "List") && items != nil && items.Kind == yaml.SequenceNode {
		var manifests []*Manifest
		for i, item := range h.Items {
			if i < len(items.Content) {
				manifests = append(manifests, objectsOf(file, follow(items.Content[i]), item, above, namespace)...)
			}
		}
		return manifests
	}
	m := &Manifest{File: file, Line: above + node.Line, Kind: h.Kind, Namespace: h.Metadata.Namespace, Name: h.Metadata.Name, root: node, above: above, document: document}
	m.group, _, _ = strings.Cut(h.APIVersion, "/")
	if m.Namespace == "" {
		m.Namespace = namespace
	}
	return []*Manifest{m}
}

func (m *Manifest) head() (head, error) {
	var h head
	err := json.Unmarshal(m.document, &h)
	return h, err
}

// class reads a SecretProviderClass; nil for another kind. What the API server would not accept becomes a finding.
func (m *Manifest) class() *v1.SecretProviderClass {
	if m.Kind != "SecretProviderClass" || m.group != v1.Group {
		return nil
	}
	var generic map[string]any
	if err := json.Unmarshal(m.document, &generic); err != nil {
		return nil
	}
	m.quote(generic)
	document, err := json.Marshal(generic)
	if err != nil {
		return nil
	}
	class := &v1.SecretProviderClass{}
	strict, err := kjson.UnmarshalStrict(document, class)
	for _, problem := range strict {
		m.invalid(pathIn(problem.Error()), "correct its name, or remove it", "%s", problem)
	}
	if err != nil {
		m.invalid("spec", "see kubectl explain secretproviderclass.spec", "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	class.Namespace = m.Namespace
	return class
}

// quote makes text of parameters that are none, and says so: the API server wants text.
func (m *Manifest) quote(generic map[string]any) {
	spec, _ := generic["spec"].(map[string]any)
	values, _ := spec["parameters"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		switch value := values[key].(type) {
		case string:
		case nil:
			values[key] = ""
		case bool, float64:
			values[key] = fmt.Sprint(value)
			m.invalid(parameters+"."+key, fmt.Sprintf("put it into quotes: %s: %q", key, fmt.Sprint(value)), "%s is not text", key)
		default:
			delete(values, key)
			m.invalid(parameters+"."+key, "write it as one block of text: "+key+": |", "%s is not text", key)
		}
	}
}

// pathIn takes the path out of a text such as: unknown field "spec.secretObject".
func pathIn(text string) string {
	_, rest, _ := strings.Cut(text, `"`)
	path, _, _ := strings.Cut(rest, `"`)
	return path
}

func (m *Manifest) invalid(field, next, format string, args ...any) {
	m.Findings = append(m.Findings, found(Error, field, reason.New(reason.ManifestInvalid, next, format, args...)))
}

// template is the shape of the kinds that make pods.
type template struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     corev1.PodSpec    `json:"spec"`
}

// WorkloadOf returns the pod, or the template of pods, in an object's JSON; nil where it has none.
func WorkloadOf(kind, namespace, name string, document []byte) (*Workload, error) {
	w := &Workload{Kind: kind, Namespace: namespace, Name: name}
	var pod template
	var err error
	switch kind {
	case "Pod":
		err = json.Unmarshal(document, &pod)
	case "CronJob":
		w.Template = "spec.jobTemplate.spec.template."
		var object struct {
			Spec struct {
				JobTemplate struct {
					Spec struct {
						Template template `json:"template"`
					} `json:"spec"`
				} `json:"jobTemplate"`
			} `json:"spec"`
		}
		err = json.Unmarshal(document, &object)
		pod = object.Spec.JobTemplate.Spec.Template
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "Rollout":
		w.Template = "spec.template."
		var object struct {
			Spec struct {
				Template template `json:"template"`
			} `json:"spec"`
		}
		err = json.Unmarshal(document, &object)
		pod = object.Spec.Template
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s/%s: %w", kind, namespace, name, err)
	}
	w.Pod = &corev1.Pod{ObjectMeta: pod.Metadata, Spec: pod.Spec}
	w.Pod.Namespace = namespace
	return w, nil
}

// locate gives the manifest's findings their lines.
func (m *Manifest) locate() {
	for i := range m.Findings {
		f := &m.Findings[i]
		if f.Line > 0 || m.root == nil {
			continue
		}
		line, value := lineOf(m.root, f.Field)
		if f.objectsLine > 0 {
			if _, text := lineOf(m.root, objects); text != nil && text.Kind == yaml.ScalarNode {
				line = text.Line
				// The text of a literal block begins on the line after its "|"; other styles fold lines.
				if text.Style&yaml.LiteralStyle != 0 {
					line += f.objectsLine
				}
			}
		} else if value != nil && value.Kind == yaml.ScalarNode {
			line = max(line, value.Line)
		}
		f.Line = m.above + line
	}
	Sort(m.Findings)
}

// lineOf returns the line of a field and its node; where the field is not there, the line of the last part of its path that is.
func lineOf(node *yaml.Node, path string) (int, *yaml.Node) {
	line := node.Line
	for path != "" {
		var next *yaml.Node
		if rest, ok := strings.CutPrefix(path, "["); ok {
			number, after, _ := strings.Cut(rest, "]")
			i, err := strconv.Atoi(number)
			if err != nil || node.Kind != yaml.SequenceNode || i < 0 || i >= len(node.Content) {
				return line, nil
			}
			next, path = follow(node.Content[i]), strings.TrimPrefix(after, ".")
			line = next.Line
		} else {
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			key, value := pair(node, path[:end])
			if value == nil {
				return line, nil
			}
			next, path = follow(value), strings.TrimPrefix(path[end:], ".")
			line = key.Line
		}
		node = next
	}
	return line, node
}

// pair returns a mapping's key and value.
func pair(node *yaml.Node, name string) (key, value *yaml.Node) {
	if node.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}

func child(node *yaml.Node, name string) *yaml.Node {
	_, value := pair(node, name)
	if value == nil {
		return nil
	}
	return follow(value)
}

// follow follows an alias. An alias cannot contain itself by way of this: each is followed once for each part of a path.
func follow(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode && node.Alias != nil {
		return node.Alias
	}
	return node
}
