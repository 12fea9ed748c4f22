// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
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

	group string
	root  *yaml.Node
	above int
	// object is the manifest with text for names, labels and annotations that were none; document is the same in JSON.
	object   map[string]any
	document []byte
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
		if strings.HasPrefix(line, separator) && at > start {
			list = append(list, text[start:at])
			start = at
		}
		at += len(line)
	}
	return append(list, text[start:])
}

// separator begins the first line of a document. Only a comment may follow it there (k8s.io/apimachinery/pkg/util/yaml, YAMLReader).
const separator = "---"

// behindSeparator is what kubectl would not take after the separator, "" where there is nothing.
func behindSeparator(document string) string {
	line, _, _ := strings.Cut(document, "\n")
	rest, ok := strings.CutPrefix(line, separator)
	if rest = strings.TrimSpace(rest); !ok || strings.HasPrefix(rest, "#") {
		return ""
	}
	return rest
}

func readDocument(file, text string, above int, namespace string) []*Manifest {
	if rest := behindSeparator(text); rest != "" {
		finding := found(Error, "", reason.New(reason.ManifestInvalid, "put it onto a line of its own", "after --- there may be a comment, and nothing else: %.40q", rest))
		finding.Line = above + 1
		return []*Manifest{{File: file, Line: above + 1, Findings: []Finding{finding}}}
	}
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
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber() // a number is told as it was written
	if node.Content[0].Kind != yaml.MappingNode || decoder.Decode(&object) != nil {
		return nil
	}
	return objectsOf(file, node.Content[0], object, above, namespace)
}

// unreadable is a document that is no YAML.
func unreadable(file, text string, above int, err error) *Manifest {
	message := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		number, _, _ := strings.Cut(rest, ":")
		if n, err := strconv.Atoi(number); err == nil {
			line = min(n, strings.Count(text, "\n")+1) // it counts one more than there are where the last line has no end
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

func objectsOf(file string, node *yaml.Node, object map[string]any, above int, namespace string) []*Manifest {
	kind, _ := object["kind"].(string)
	if kind == "" {
		return nil
	}
	if nodes := child(node, "items"); strings.HasSuffix(kind, "List") && nodes != nil && nodes.Kind == yaml.SequenceNode {
		var manifests []*Manifest
		items, _ := object["items"].([]any)
		for i := range min(len(items), len(nodes.Content)) {
			if item, ok := items[i].(map[string]any); ok {
				manifests = append(manifests, objectsOf(file, follow(nodes.Content[i]), item, above, namespace)...)
			}
		}
		return manifests
	}
	m := &Manifest{File: file, Line: above + node.Line, Kind: kind, root: node, above: above, object: object}
	m.metadata("", object)
	for _, path := range []string{"spec.template", "spec.jobTemplate", "spec.jobTemplate.spec.template"} {
		m.metadata(path+".", at(object, path))
	}
	metadata := at(object, "metadata")
	m.Name, _ = metadata["name"].(string)
	if m.Namespace, _ = metadata["namespace"].(string); m.Namespace == "" {
		m.Namespace = namespace
	}
	version, _ := object["apiVersion"].(string)
	m.group, _, _ = strings.Cut(version, "/")
	var err error
	if m.document, err = json.Marshal(object); err != nil {
		return nil
	}
	return []*Manifest{m}
}

// at returns the mapping at a path of names, nil where there is none.
func at(object map[string]any, path string) map[string]any {
	for name := range strings.SplitSeq(path, ".") {
		object, _ = object[name].(map[string]any)
	}
	return object
}

// class reads a SecretProviderClass; nil for another kind. What the API server would not accept becomes a finding.
func (m *Manifest) class() *v1.SecretProviderClass {
	if m.Kind != "SecretProviderClass" || m.group != v1.Group {
		return nil
	}
	m.texts(parameters, at(m.object, parameters))
	document, err := json.Marshal(m.object)
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

// metadata makes text of the names, labels and annotations of an object, or of a template in it, whose path is given.
func (m *Manifest) metadata(path string, object map[string]any) {
	metadata := at(object, "metadata")
	for _, name := range []string{"name", "namespace"} {
		m.text(path+"metadata", metadata, name)
	}
	for _, name := range []string{"labels", "annotations"} {
		m.texts(path+"metadata."+name, at(metadata, name))
	}
}

// texts makes text of the values of a mapping that are none; path is where it stands.
func (m *Manifest) texts(path string, values map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		m.text(path, values, key)
	}
}

// text makes text of a value that is none, and says so: the API server wants text.
func (m *Manifest) text(path string, values map[string]any, key string) {
	value, set := values[key]
	if !set {
		return
	}
	switch value := value.(type) {
	case string:
	case nil:
		values[key] = ""
	case bool, json.Number:
		values[key] = fmt.Sprint(value)
		m.invalid(path+"."+key, fmt.Sprintf("put it into quotes: %s: %q", key, fmt.Sprint(value)), "%s is not text", key)
	default:
		delete(values, key)
		m.invalid(path+"."+key, "write it as one block of text: "+key+": |", "%s is not text", key)
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
			// The last name of a path may have dots in it, as those of annotations do.
			if last, _ := pair(node, path); end < 0 || last != nil {
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
