// SPDX-License-Identifier: Apache-2.0

package reason_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/internal/reason"
)

func TestErrorIsOneLineWithCauseAndNextStep(t *testing.T) {
	cause := errors.New("GET https://kv\n-----\nRESPONSE 403\r\n\tForbidden")
	err := reason.New(reason.VaultForbidden, "grant\n it a role", "secret %q: %w", "db", cause)
	want := "VaultForbidden: secret \"db\": GET https://kv ----- RESPONSE 403 Forbidden; grant it a role"
	if err.Error() != want {
		t.Fatalf("got  %q\nwant %q", err, want)
	}
	if !errors.Is(err, cause) {
		t.Fatal("the cause is lost")
	}
}

func TestReasonSurvivesGRPC(t *testing.T) {
	sent := reason.New(reason.ObjectNotFound, "create it", "secret %q is not in kv", "db")
	over := status.FromProto(sent.Status("failed to mount objects, error: ").Proto())
	if over.Code() != codes.NotFound {
		t.Fatalf("got code %v", over.Code())
	}
	if want := "failed to mount objects, error: " + sent.Error(); over.Message() != want {
		t.Fatalf("got message %q, want %q", over.Message(), want)
	}
	got, ok := reason.From(fmt.Errorf("calling: %w", over.Err()))
	if !ok || got.Reason != reason.ObjectNotFound || got.Error() != sent.Error() {
		t.Fatalf("got %v %v", got, ok)
	}
}

func TestBehindKeepsReasonAndCause(t *testing.T) {
	inner := reason.New(reason.VaultThrottled, "wait", "busy")
	err := inner.Behind("failed to mount objects for pod a/b, err: ")
	if want := "failed to mount objects for pod a/b, err: VaultThrottled: busy; wait"; err.Error() != want {
		t.Fatalf("got %q", err)
	}
	if reason.Of(err) != "VaultThrottled" || !errors.Is(err, inner) || status.Code(err) != codes.ResourceExhausted {
		t.Fatal("reason, cause or code is lost")
	}
}

func TestStatusOfAWrappedErrorKeepsTheCode(t *testing.T) {
	err := fmt.Errorf("publishing: %w", reason.New(reason.ClassNotFound, "", "gone"))
	if got := status.Code(err); got != codes.NotFound {
		t.Fatalf("got %v", got)
	}
}

func TestOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{context.Canceled, "Unexpected"},
		{status.Error(codes.Internal, "x"), "Unexpected"},
		{fmt.Errorf("x: %w", reason.New(reason.VolumeFull, "", "full")), "VolumeFull"},
	} {
		if got := reason.Of(tc.err); got != tc.want {
			t.Errorf("Of(%v) = %q, want %q", tc.err, got, tc.want)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, tc := range []struct{ word, candidate, want string }{
		{"azrue", "azure", "azure"}, {"Azure", "azure", "azure"}, {"azur", "azure", "azure"}, {"azures", "azure", "azure"},
		{"secrte", "secret", "secret"}, {"vault", "azure", ""}, {"aws", "gcp", ""}, {"a", "b", ""},
	} {
		if got := reason.Nearest(tc.word, []string{tc.candidate}); got != tc.want {
			t.Errorf("Nearest(%q, %q) = %q, want %q", tc.word, tc.candidate, got, tc.want)
		}
	}
}

// Nearest leaves out work, not answers: they are those of every distance counted to its end.
func FuzzNearest(f *testing.F) {
	for _, seed := range [][2]string{
		{"tenantid", "tenantID,tenantId"}, {"tenanID", "tenantId,tenantID"}, {"secretProviderClass", "useVMManagedIdentity,useAzureTokenProxy"},
		{"csi.storage.k8s.io/pod.uid", "userAssignedIdentityID"}, {"K", "k"}, {"obj\u0130ect", "object"}, {"", "a,ab,"}, {"abcd", "acbd,abxd,abcde"},
		{strings.Repeat("a", 64), strings.Repeat("a", 65)}, {strings.Repeat("a", 63), strings.Repeat("a", 64)}, {strings.Repeat("a", 66), strings.Repeat("a", 65)},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, word, list string) {
		candidates := strings.Split(list, ",")
		want, distance := "", 3
		for _, candidate := range candidates {
			if strings.EqualFold(word, candidate) {
				want = candidate
				break
			}
			a, b := strings.ToLower(word), strings.ToLower(candidate)
			if len(a) > 64 || len(b) > 64 {
				continue
			}
			if d := levenshtein(a, b); d < distance && 2*d < len(candidate) {
				want, distance = candidate, d
			}
		}
		if got := reason.Nearest(word, candidates); got != want {
			t.Fatalf("Nearest(%q, %q) = %q, want %q", word, candidates, got, want)
		}
	})
}

// levenshtein is the distance by its definition, with every cell of the matrix.
func levenshtein(a, b string) int {
	cells := make([][]int, len(a)+1)
	for i := range cells {
		cells[i] = make([]int, len(b)+1)
		cells[i][0] = i
	}
	for j := range cells[0] {
		cells[0][j] = j
	}
	for i := range len(a) {
		for j := range len(b) {
			same := cells[i][j]
			if a[i] != b[j] {
				same++
			}
			cells[i+1][j+1] = min(cells[i][j+1]+1, cells[i+1][j]+1, same)
		}
	}
	return cells[len(a)][len(b)]
}

// The list is data for people and dashboards: each reason's name equals its variable, is unique and carries a failing code.
func TestListIsConsistent(t *testing.T) {
	notices := map[string]bool{
		"ObjectOptionalMissing": true, "ClientIDMismatch": true, "LabelMissing": true, "SecretWithoutVolume": true, "SubPathStale": true,
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range []string{"azure.go", "driver.go", "lint.go", "sync.go"} {
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	camel := regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
	seen := map[string]bool{}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			literal, ok := spec.Values[0].(*ast.CompositeLit)
			if !ok || len(literal.Elts) != 2 {
				return true
			}
			name := strings.Trim(literal.Elts[0].(*ast.BasicLit).Value, "\"")
			if name != spec.Names[0].Name || !camel.MatchString(name) || seen[name] {
				t.Errorf("reason %q: want the variable's name %q, CamelCase, once", name, spec.Names[0].Name)
			}
			// A notice goes with an answer that is OK; it has the code of none.
			if ok := literal.Elts[1].(*ast.SelectorExpr).Sel.Name == "OK"; ok != notices[name] {
				t.Errorf("reason %q: has code OK: %v, is a notice: %v", name, ok, notices[name])
			}
			seen[name] = true
			return true
		})
	}
	if len(seen) < 20 {
		t.Fatalf("found only %d reasons: has the list moved?", len(seen))
	}
}
