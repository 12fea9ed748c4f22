// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/kube"
	"github.com/vaultferry/vaultferry/internal/lint"
)

const lintExample = `  # before a commit, without a cluster: files that belong together are checked against each other
  kubectl vaultferry lint -f deploy/

  # what a chart or kustomize makes
  helm template shop charts/shop | kubectl vaultferry lint -f -

  # everything in the cluster, changing nothing
  kubectl vaultferry lint -A`

// lintFlags are the flags of lint.
type lintFlags struct {
	output    output
	files     []string
	recursive bool
	all       bool
}

// lintReport is the machine-readable answer.
type lintReport struct {
	typeMeta
	// Checked counts the classes and workloads that were looked at.
	Checked  int           `json:"checked"`
	Findings []lintFinding `json:"findings"`
}

// lintFinding is one finding with the object and, of a file, the place.
type lintFinding struct {
	Severity  lint.Severity `json:"severity"`
	Reason    string        `json:"reason"`
	File      string        `json:"file,omitempty"`
	Line      int           `json:"line,omitempty"`
	Kind      string        `json:"kind,omitempty"`
	Namespace string        `json:"namespace,omitempty"`
	Name      string        `json:"name,omitempty"`
	Field     string        `json:"field,omitempty"`
	Message   string        `json:"message"`
	Next      string        `json:"next,omitempty"`
}

func newLint(a *app) *cobra.Command {
	var f lintFlags
	cmd := &cobra.Command{
		Use:   "lint [-f FILENAME]... | [-A]",
		Short: "Find mistakes in classes and in the workloads that use them",
		Long: "Find the mistakes in SecretProviderClasses that a pod would only tell of when it does not start, and what is doubtful in the pods that use\n" +
			"them. With -f the manifests of files are checked, without a cluster, each finding with file and line. Without -f the objects of the\n" +
			"namespace, or with -A of all namespaces, are read from the API server. Nothing is changed.\n\n" +
			"Exit codes: 0 no errors (there may be warnings), 1 the command could not do its work, 2 wrong usage, 3 errors were found.\n" +
			"An object is left alone with the annotation " + classrule.IgnoreAnnotation + ": \"Reason,Reason\".",
		Example: lintExample,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.lint(cmd.Context(), f) },
	}
	cmd.Flags().StringSliceVarP(&f.files, "filename", "f", nil, `file or directory with manifests (.yaml, .yml, .json); "-" is standard input`)
	cmd.Flags().BoolVarP(&f.recursive, "recursive", "R", false, "with -f: the directories below a directory, too")
	cmd.Flags().BoolVarP(&f.all, "all-namespaces", "A", false, "the objects of all namespaces")
	f.output.flag(cmd)
	return cmd
}

func (a *app) lint(ctx context.Context, f lintFlags) error {
	if len(f.files) > 0 && f.all {
		return usagef("-f checks files and -A the cluster: use one of them")
	}
	report := lintReport{typeMeta: kind("LintReport"), Findings: []lintFinding{}}
	var err error
	if len(f.files) > 0 {
		err = a.lintFiles(ctx, f, &report)
	} else {
		err = a.lintCluster(ctx, f, &report)
	}
	if err != nil {
		return err
	}
	if err := f.output.show(a, report, func(w io.Writer) error { return a.printFindings(w, report, f.output.format == wide) }); err != nil {
		return err
	}
	errs, warnings := 0, 0
	for _, finding := range report.Findings {
		if finding.Severity == lint.Error {
			errs++
		} else {
			warnings++
		}
	}
	if !f.output.machine() {
		a.note("%s checked: %s, %s", count(report.Checked, "object"), count(errs, "error"), count(warnings, "warning"))
	}
	if errs > 0 {
		return errFound
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (r *lintReport) add(file, kindName, namespace, name string, findings []lint.Finding) {
	for _, f := range findings {
		r.Findings = append(r.Findings, lintFinding{
			Severity: f.Severity, Reason: f.Reason.Name, File: file, Line: f.Line, Kind: kindName, Namespace: namespace, Name: name,
			Field: f.Field, Message: f.Message, Next: f.Next,
		})
	}
}

// lintFiles checks manifests without a cluster.
func (a *app) lintFiles(ctx context.Context, f lintFlags, report *lintReport) error {
	files, err := a.readManifests(f.files, f.recursive)
	if err != nil {
		return err
	}
	namespace := *a.flags.Namespace
	if namespace == "" {
		namespace = "default"
	}
	for _, m := range lint.Files(ctx, files, namespace) {
		report.Checked++
		report.add(m.File, m.Kind, m.Namespace, m.Name, m.Findings)
	}
	if report.Checked == 0 {
		a.note("no SecretProviderClass and no workload in %s", strings.Join(f.files, ", "))
	}
	return nil
}

// manifestLimit bounds one file, in bytes.
const manifestLimit = 32 << 20

// readManifests reads files, and those of directories whose names end like manifests.
func (a *app) readManifests(names []string, recursive bool) ([]lint.File, error) {
	var files []lint.File
	for _, name := range names {
		if name == "-" {
			text, err := io.ReadAll(io.LimitReader(a.in, manifestLimit))
			if err != nil {
				return nil, fmt.Errorf("reading standard input: %w", err)
			}
			files = append(files, lint.File{Name: "stdin", Text: text})
			continue
		}
		paths, err := manifestPaths(name, recursive)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			files = append(files, lint.File{Name: path, Text: text})
		}
	}
	return files, nil
}

func manifestPaths(name string, recursive bool) ([]string, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("-f %s: there is no such file or directory", name)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var paths []string
	below := false
	err = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != name && !recursive:
			below = true
			return fs.SkipDir
		case !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			paths = append(paths, path)
		}
		return nil
	})
	if err == nil && len(paths) == 0 {
		hint := ""
		if below {
			hint = "; -R looks into the directories below"
		}
		return nil, usagef("-f %s: no manifests (.yaml, .yml, .json) in that directory%s", name, hint)
	}
	return paths, err
}

// lintCluster checks what the API server has.
func (a *app) lintCluster(ctx context.Context, f lintFlags, report *lintReport) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	namespace, err := a.namespace(f.all)
	if err != nil {
		return err
	}
	classes, err := client.Classes(ctx, namespace)
	if err != nil {
		return fmt.Errorf("listing SecretProviderClasses: %w", err)
	}
	world := kube.NewSnapshot(client, classes)
	var failures []error
	for i := range classes {
		class := &classes[i]
		secrets, err := lint.Secrets(ctx, world, class)
		failures = append(failures, err)
		report.Checked++
		report.add("", "SecretProviderClass", class.Namespace, class.Name, append(lint.Class(class), secrets...))
	}
	workloads, err := client.Workloads(ctx, namespace)
	failures = append(failures, err)
	for _, w := range workloads {
		pod, err := lint.WorkloadOf(w.Kind, w.Namespace, w.Name, w.Document)
		if err != nil || pod == nil {
			failures = append(failures, err)
			continue
		}
		findings, err := lint.Pod(ctx, world, *pod)
		failures = append(failures, err)
		report.Checked++
		report.add("", w.Kind, w.Namespace, w.Name, findings)
	}
	slices.SortStableFunc(report.Findings, func(x, y lintFinding) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name))
	})
	if err := errors.Join(failures...); err != nil {
		first, _, more := strings.Cut(err.Error(), "\n")
		if more {
			first += " (and more)"
		}
		a.note("not everything could be looked at: %s", first)
		if advice := kube.Advice(firstOf(failures)); advice != "" {
			fmt.Fprintln(a.err, advice)
		}
	}
	return nil
}

func firstOf(failures []error) error {
	for _, err := range failures {
		if err != nil {
			if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 0 {
				return joined.Unwrap()[0]
			}
			return err
		}
	}
	return nil
}

// printFindings writes one line for each finding: those of files as compilers do, so that editors and CI systems find the place.
func (a *app) printFindings(w io.Writer, report lintReport, withFields bool) error {
	p := a.painter(w)
	paint := func(s lint.Severity) string {
		if s == lint.Error {
			return p.in(markBroken.color, string(s))
		}
		return p.in(markWarn.color, string(s))
	}
	if slices.ContainsFunc(report.Findings, func(f lintFinding) bool { return f.File != "" }) {
		for _, f := range report.Findings {
			field := ""
			if withFields && f.Field != "" {
				field = p.dim(" [" + f.Field + "]")
			}
			fmt.Fprintf(w, "%s: %s: %s: %s%s\n", p.bold(fmt.Sprintf("%s:%d", f.File, f.Line)), paint(f.Severity), f.Reason, text(f), field)
		}
		return nil
	}
	if len(report.Findings) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	head := "NAMESPACE\tOBJECT\tSEVERITY\tREASON\t"
	if withFields {
		head += "FIELD\t"
	}
	fmt.Fprintln(t, head+"MESSAGE")
	for _, f := range report.Findings {
		field := ""
		if withFields {
			field = f.Field + "\t"
		}
		// Colours would count as width.
		fmt.Fprintf(t, "%s\t%s/%s\t%s\t%s\t%s%s\n", f.Namespace, strings.ToLower(f.Kind), f.Name, f.Severity, f.Reason, field, text(f))
	}
	return t.Flush()
}

func text(f lintFinding) string {
	if f.Next == "" {
		return f.Message
	}
	return f.Message + "; " + f.Next
}
