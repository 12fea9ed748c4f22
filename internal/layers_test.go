// SPDX-License-Identifier: Apache-2.0

// Package internal_test keeps the house in order: who may import whom, and that ARCHITECTURE.md names every room.
package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/vaultferry/vaultferry/"

// layer says what one package, with the packages below it, may import.
type layer struct {
	// ours are the packages of this module that it may import. The packages below the layer's own path are always allowed.
	ours []string
	// never are import path prefixes from other modules that it must not import, with the reason in why.
	never []string
	why   string
}

const (
	kubernetes = "k8s.io/"
	// kubernetesTypes are the API groups of Kubernetes, each of which links all its types.
	kubernetesTypes = "k8s.io/api/"
	azure           = "github.com/Azure/"
	grpc            = "google.golang.org/grpc"
)

// layers is the table of ARCHITECTURE.md.
var layers = map[string]layer{
	"api/v1":                {never: []string{"k8s.io/client-go", grpc, azure}, why: "types that anybody may import"},
	"api/provider/v1alpha1": {never: []string{kubernetes, azure}, why: "the contract with every provider"},
	"internal/secret":       {never: []string{kubernetes, azure, grpc}, why: "the bottom"},
	"internal/reason":       {never: []string{kubernetes, azure}, why: "the bottom"},
	"internal/core":         {never: []string{kubernetesTypes, "k8s.io/client-go", azure, grpc}, why: "it stands for the types that a node has no room for"},
	"internal/pemfile":      {never: []string{kubernetes, azure, grpc}, why: "pure functions"},
	"internal/reason/catalog": {
		ours: []string{"internal/reason"}, never: []string{kubernetes, azure}, why: "text about reasons",
	},
	"internal/tracing":   {ours: []string{"internal/reason"}, never: []string{kubernetes, azure}, why: "shared by driver and provider"},
	"internal/telemetry": {ours: []string{"internal/secret", "internal/reason"}, never: []string{kubernetes, azure}, why: "shared by all processes"},
	"internal/entra":     {ours: []string{"internal/reason", "internal/secret", "internal/tracing"}, never: []string{kubernetes}, why: "Azure without Kubernetes"},
	"internal/volume":    {ours: []string{"internal/reason", "internal/secret"}, never: []string{kubernetes, azure, grpc}, why: "files and mounts"},
	"internal/keyvault": {
		ours:  []string{"internal/entra", "internal/pemfile", "internal/reason", "internal/secret", "internal/tracing"},
		never: []string{kubernetes}, why: "Azure without Kubernetes",
	},
	"internal/provider": {
		ours: []string{
			"api/provider/v1alpha1", "internal/entra", "internal/keyvault", "internal/pemfile", "internal/reason", "internal/secret",
			"internal/telemetry", "internal/tracing",
		},
		never: []string{kubernetes}, why: "Azure without Kubernetes",
	},
	"internal/driver": {
		ours: []string{
			"api/v1", "api/provider/v1alpha1", "internal/classrule", "internal/core", "internal/reason", "internal/secret", "internal/telemetry", "internal/tracing", "internal/secretsync", "internal/volume",
		},
		never: []string{azure, kubernetesTypes}, why: "any provider plugs in, and a node has no room for all types of Kubernetes",
	},
	"internal/secretsync": {
		ours:  []string{"api/v1", "internal/core", "internal/pemfile", "internal/reason", "internal/secret"},
		never: []string{"k8s.io/client-go", kubernetesTypes, azure, grpc}, why: "the API server is an interface, and the driver links it",
	},
	"internal/arm":    {never: []string{kubernetes}, why: "Azure without Kubernetes"},
	"internal/mounts": {ours: []string{"api/v1", "internal/consumption", "internal/kube", "internal/reload"}, never: []string{azure, grpc}, why: "the API server alone"},
	"internal/doctor": {ours: []string{"api/v1", "internal/kube"}, never: []string{azure, grpc}, why: "the API server alone"},
	"internal/explain": {
		ours: []string{
			"api/v1", "internal/arm", "internal/classrule", "internal/consumption", "internal/entra", "internal/foreseen", "internal/keyvault", "internal/kube", "internal/mounts", "internal/provider",
			"internal/reason", "internal/reason/catalog", "internal/reload", "internal/secret", "internal/secretsync",
		},
		never: []string{azure, grpc}, why: "Azure through the packages that know it",
	},
	"internal/kube": {ours: []string{"api/v1", "internal/kube/lookup"}, never: []string{azure, grpc}, why: "the API server alone"},
	"internal/kube/lookup": {
		ours: []string{"api/v1", "internal/kube/apigroup"}, never: []string{"k8s.io/client-go/kubernetes", azure, grpc}, why: "the webhook links it",
	},
	"internal/kube/apigroup": {
		ours: []string{"api/v1"}, never: []string{"k8s.io/client-go/kubernetes", azure, grpc}, why: "the controller and the webhook link it",
	},
	"internal/classrule": {
		ours: []string{"api/v1", "internal/reason"}, never: []string{"k8s.io/client-go", azure, grpc}, why: "pure functions of a class",
	},
	"internal/foreseen": {
		ours: []string{"internal/provider", "internal/secretsync"}, never: []string{"k8s.io/client-go", azure, grpc}, why: "pure functions of a class",
	},
	"internal/lint": {
		ours: []string{
			"api/v1", "internal/classrule", "internal/consumption", "internal/entra", "internal/foreseen", "internal/keyvault", "internal/provider", "internal/reason", "internal/secretsync",
		},
		never: []string{"k8s.io/client-go", grpc}, why: "pure functions of manifests",
	},
	"internal/announce": {
		ours:  []string{"api/v1", "internal/entra", "internal/keyvault", "internal/kube/apigroup", "internal/provider", "internal/secret"},
		never: []string{"k8s.io/client-go/kubernetes", grpc}, why: "a hint from Azure becomes an annotation, and no more",
	},
	"internal/classstatus": {ours: []string{"api/v1", "internal/kube/apigroup"}, never: []string{azure, grpc}, why: "once per cluster, apart from the nodes"},
	"internal/admission": {
		ours: []string{"api/v1", "internal/lint"}, never: []string{"k8s.io/client-go", grpc}, why: "the API server is an interface",
	},
	"internal/consumption": {never: []string{"k8s.io/client-go", azure, grpc}, why: "a pure function of a pod"},
	"internal/webhook":     {ours: []string{"internal/reason", "internal/telemetry"}, never: []string{azure}, why: "admission speaks to the API server alone"},
	"internal/reload":      {never: []string{"k8s.io/client-go", azure, grpc}, why: "decisions without an API server"},
	"internal/reload/controller": {
		ours: []string{"api/v1", "internal/reload", "internal/secretsync"}, never: []string{azure}, why: "the API server alone",
	},
	"internal/lease":    {never: []string{azure, grpc}, why: "the API server alone"},
	"internal/emulator": {ours: []string{"internal/telemetry"}, never: []string{kubernetes, azure}, why: "a shared parser would hide a shared bug"},
	"cmd":               {ours: []string{"api", "internal"}},
	"demo":              {never: []string{azure}, why: "a workload that knows nothing of Vaultferry"},
	"bench":             {ours: []string{"api", "internal"}},
	"test/thirdparty":   {ours: []string{"api/provider/v1alpha1"}, never: []string{kubernetes, azure}, why: "somebody else's provider"},
	"test/sdkapp":       {never: []string{kubernetes}, why: "a program that knows Azure's SDK alone"},
	"test":              {ours: []string{"api", "internal"}},
	"internal":          {},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 10 {
		t.Fatalf("found only %d packages", len(packages))
	}
	return packages
}

// layerOf returns the path of the layer that a package belongs to: the longest that holds it.
func layerOf(path string) (string, bool) {
	best, found := "", false
	for candidate := range layers {
		if below(path, candidate) && len(candidate) >= len(best) {
			best, found = candidate, true
		}
	}
	return best, found
}

func below(path, parent string) bool { return path == parent || strings.HasPrefix(path, parent+"/") }

func TestImportDirections(t *testing.T) {
	for _, p := range listPackages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		name, ok := layerOf(path)
		if !ok {
			t.Errorf("%s stands in no layer: add it to the table here and to ARCHITECTURE.md", path)
			continue
		}
		for _, imported := range p.Imports {
			if problem := judge(name, imported); problem != "" {
				t.Errorf("%s imports %s: %s", path, imported, problem)
			}
		}
	}
}

func judge(name, imported string) string {
	l := layers[name]
	if ours, ok := strings.CutPrefix(imported, module); ok {
		if below(ours, name) {
			return ""
		}
		for _, allowed := range l.ours {
			// A room inside another one with a row of its own has to be named itself; "api" and "internal" are whole wings.
			room, _ := layerOf(ours)
			if below(ours, allowed) && (room == allowed || !strings.Contains(allowed, "/")) {
				return ""
			}
		}
		return "not in its row of the table"
	}
	for _, banned := range l.never {
		if strings.HasPrefix(imported, banned) {
			return l.why
		}
	}
	return ""
}

func TestJudgeCanSayNo(t *testing.T) {
	for imported, layer := range map[string]string{
		module + "internal/keyvault":       "internal/driver",
		module + "internal/driver":         "internal/provider",
		azure + "azure-sdk-for-go":         "internal/driver",
		"k8s.io/client-go/rest":            "internal/keyvault",
		module + "internal/entra":          "internal/emulator",
		module + "internal/reason/catalog": "internal/keyvault",
		"k8s.io/api/core/v1":               "internal/driver",
	} {
		if judge(layer, imported) == "" {
			t.Errorf("%s may import %s", layer, imported)
		}
	}
}

func TestArchitectureNamesEveryPackage(t *testing.T) {
	document, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range listPackages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		// A layer's own inner rooms are described where the layer is.
		if name, _ := layerOf(path); strings.HasPrefix(name, "internal/") {
			path = name
		}
		if !bytes.Contains(document, []byte("`"+path+"`")) {
			t.Errorf("ARCHITECTURE.md does not name %s", path)
		}
	}
}
