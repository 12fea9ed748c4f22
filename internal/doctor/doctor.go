// SPDX-License-Identifier: Apache-2.0

// Package doctor checks an installation from the API server: whether each half is there, whether the halves fit each other, and what Entra ID needs of
// the cluster. A check is a value; what it finds wrong comes with a hint.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vaultferry/vaultferry/internal/kube"
)

// State is what a check found.
type State string

// The states. Skipped is a check that could not be made, or that has nothing to check.
const (
	OK      State = "ok"
	Skipped State = "skipped"
	Warning State = "warning"
	Failed  State = "failed"
)

// Outcome is what a check found, on one line.
type Outcome struct {
	State  State
	Detail string
}

func ok(format string, args ...any) Outcome   { return Outcome{OK, fmt.Sprintf(format, args...)} }
func skip(format string, args ...any) Outcome { return Outcome{Skipped, fmt.Sprintf(format, args...)} }
func bad(format string, args ...any) Outcome  { return Outcome{Failed, fmt.Sprintf(format, args...)} }

// Check is one check.
type Check struct {
	// ID is stable, for programs.
	ID string
	// Group is the heading that it stands under, Title what is true if all is well.
	Group, Title string
	// Severity is the state that a failure counts as: Failed, or Warning for what works and could be better.
	Severity State
	// Hint says what to do about a failure.
	Hint string
	Run  func(context.Context, *Cluster) Outcome
}

// Result is a check that was made.
type Result struct {
	ID     string `json:"id"`
	Group  string `json:"group"`
	Title  string `json:"title"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// The groups, in their order.
const (
	groupAPI      = "Kubernetes"
	groupNodes    = "Driver and provider"
	groupIdentity = "Workload identity"
	groupGuards   = "Admission and rights"
)

// Checks returns all checks in their order.
func Checks() []Check {
	return slices.Concat(apiChecks(), nodeChecks(), identityChecks(), guardChecks())
}

// Run makes all checks on what the cluster is now. The error is that of [Look].
func Run(ctx context.Context, client *kube.Client, reach Reach) ([]Result, error) {
	cluster, err := Look(ctx, client)
	if err != nil {
		return nil, err
	}
	cluster.reach = reach
	var results []Result
	for _, check := range Checks() {
		outcome := check.Run(ctx, cluster)
		result := Result{ID: check.ID, Group: check.Group, Title: check.Title, State: outcome.State, Detail: outcome.Detail}
		if outcome.State == Failed {
			result.State, result.Hint = check.Severity, check.Hint
		}
		results = append(results, result)
	}
	return results, nil
}

// Worst returns the worst state of results; what was skipped counts as good.
func Worst(results []Result) State {
	worst := OK
	for _, r := range results {
		if r.State == Failed || r.State == Warning && worst == OK {
			worst = r.State
		}
	}
	return worst
}

// unread is the outcome of a check that needs what the user may not read.
func unread(what string, err error) Outcome {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return skip("%s could not be read: %s", what, first)
}

func list(names []string) string {
	const most = 8
	slices.Sort(names)
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
