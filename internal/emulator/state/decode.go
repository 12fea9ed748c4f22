// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a state file, in bytes.
const maxFile = 16 << 20

// A Problem is one thing that is wrong with a state file.
type Problem struct {
	// Line counts from 1.
	Line int
	// Path is e.g. "vaults[0].name"; empty when the file is not YAML.
	Path string
	// Text says what is wrong. It never quotes a value.
	Text string
}

// Problems is everything that is wrong with a state file.
type Problems struct {
	File string
	List []Problem
}

// Error has one line a problem.
func (p *Problems) Error() string {
	var lines []string
	for _, one := range p.List {
		line := fmt.Sprintf("%s:%d: ", p.File, one.Line)
		if one.Path != "" {
			line += one.Path + ": "
		}
		lines = append(lines, line+one.Text)
	}
	return strings.Join(lines, "\n")
}

// Load reads and checks a state file. File names within it are relative to its
// folder. Problems of the content come back as *Problems. The names of all the
// files that were read come back in any case, to be watched for changes.
func Load(path string) (st *State, files []string, err error) {
	files = []string{path}
	data, err := readBounded(path, maxFile)
	if err != nil {
		return nil, files, fmt.Errorf("reading the state file: %w", err)
	}
	dir := filepath.Dir(path)
	st, err = Parse(path, data, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		files = append(files, name)
		return readBounded(name, maxFile)
	})
	return st, files, err
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, nil
}

// Parse decodes and checks the content of a state file. The name appears in
// problems; readFile reads the files that the content names.
func Parse(name string, data []byte, readFile func(string) ([]byte, error)) (*State, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, &Problems{name, []Problem{syntaxProblem(err)}}
	}
	if root.Kind == 0 || root.Content[0].Tag == "!!null" {
		return nil, &Problems{name, []Problem{{Line: 1, Text: "the file is empty; to declare nothing write {}"}}}
	}
	st, problems := decode(&root, data)
	if len(problems) == 0 {
		problems = (&checker{root: &root, readFile: readFile}).complete(st)
	}
	if len(problems) > 0 {
		return nil, &Problems{name, problems}
	}
	return st, nil
}

func decode(root *yaml.Node, data []byte) (*State, []Problem) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var st State
	err := dec.Decode(&st)
	var typeError *yaml.TypeError
	switch {
	case errors.As(err, &typeError):
		var problems []Problem
		for _, text := range typeError.Errors {
			problems = append(problems, typeProblem(root, text))
		}
		return nil, problems
	case err != nil:
		return nil, []Problem{syntaxProblem(err)}
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, []Problem{{Line: 1, Text: "the file holds more than one YAML document; put everything into the first"}}
	}
	return &st, nil
}

var (
	lineText     = regexp.MustCompile(`^(?:yaml: )*(?:unmarshal errors:\s*)?line (\d+): (.*)$`)
	unknownField = regexp.MustCompile(`^field (.*) not found in type `)
	wrongType    = regexp.MustCompile(`(?s)^cannot unmarshal !!(\w+).* into (\S+)$`)
)

func syntaxProblem(err error) Problem {
	if m := lineText.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		return Problem{Line: line, Text: "not valid YAML: " + m[2]}
	}
	return Problem{Line: 1, Text: "not valid YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
}

// typeProblem turns the YAML library's words, which quote the offending value
// and name Go types, into ours.
func typeProblem(root *yaml.Node, text string) Problem {
	m := lineText.FindStringSubmatch(text)
	if m == nil {
		return Problem{Line: 1, Text: "has a value of the wrong type"}
	}
	line, _ := strconv.Atoi(m[1])
	problem := Problem{Line: line, Path: pathAt(root, line)}
	if field := unknownField.FindStringSubmatch(m[2]); field != nil {
		problem.Text = fmt.Sprintf("unknown field %q", field[1])
	} else if kinds := wrongType.FindStringSubmatch(m[2]); kinds != nil {
		problem.Text = fmt.Sprintf("must be %s, found %s", goTypeInWords(kinds[2]), tagInWords(kinds[1]))
	} else if strings.HasPrefix(m[2], "mapping key ") {
		problem.Text = m[2]
	} else {
		problem.Text = "has a value of the wrong type"
	}
	return problem
}

func goTypeInWords(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.HasPrefix(goType, "int"):
		return "a whole number"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "a text"
	case goType == "time.Time":
		return "a time such as 2027-01-31T00:00:00Z"
	case goType == "state.Duration":
		return "a duration such as 30s"
	}
	return "a mapping"
}

func tagInWords(tag string) string {
	switch tag {
	case "map":
		return "a mapping"
	case "seq":
		return "a list"
	case "str":
		return "a text"
	case "int", "float":
		return "a number"
	}
	return "something else"
}
