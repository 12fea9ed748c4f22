// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// specVersion is the version of CycloneDX that is written.
const specVersion = cdx.SpecVersion1_6

// Image says what an image is made of.
type Image struct {
	Name, Version string
	// Binaries are the paths of its Go binaries.
	Binaries []string
	// Data are BINARY=MODULE: modules whose data the image holds, as a binary that put it there knows them.
	Data []string
}

// contents collects what the BOM names.
type contents struct {
	components   map[string]cdx.Component
	dependencies map[string][]string
}

// BOM returns the bill of materials: the binaries, and below them the modules and the standard library that each was linked from. Build information
// has no graph of the modules, so that all of a binary's stand directly below it.
func (i Image) BOM() (*cdx.BOM, error) {
	if i.Name == "" || i.Version == "" || len(i.Binaries) == 0 {
		return nil, errors.New("--name, --version and at least one --binary are needed")
	}
	root := cdx.Component{
		BOMRef: i.Name + "@" + i.Version, Type: cdx.ComponentTypeContainer, Name: i.Name, Version: i.Version,
	}
	c := contents{components: map[string]cdx.Component{}, dependencies: map[string][]string{}}
	for _, path := range i.Binaries {
		ref, err := c.addBinary(path)
		if err != nil {
			return nil, err
		}
		c.depend(root.BOMRef, ref)
	}
	for _, data := range i.Data {
		ref, err := c.addData(data)
		if err != nil {
			return nil, err
		}
		c.depend(root.BOMRef, ref)
	}
	bom := cdx.NewBOM()
	bom.SpecVersion, bom.JSONSchema = specVersion, "http://cyclonedx.org/schema/bom-1.6.schema.json"
	bom.Metadata = &cdx.Metadata{Component: &root}
	bom.Components, bom.Dependencies = c.sorted()
	bom.SerialNumber = serial(root, *bom.Components)
	return bom, nil
}

func (c contents) depend(from, on string) {
	if !slices.Contains(c.dependencies[from], on) {
		c.dependencies[from] = append(c.dependencies[from], on)
	}
}

// addBinary adds a binary with all that is linked into it.
func (c contents) addBinary(path string) (ref string, err error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the build information of %s: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	name := filepath.Base(path)
	properties := []cdx.Property{{Name: "go:package", Value: info.Path}}
	for _, s := range info.Settings {
		if s.Value != "" {
			properties = append(properties, cdx.Property{Name: "go:build:" + s.Key, Value: s.Value})
		}
	}
	ref = "file:" + name
	c.components[ref] = cdx.Component{
		BOMRef: ref, Type: cdx.ComponentTypeApplication, Name: name, Version: info.Main.Version,
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Properties: &properties,
	}
	c.depend(ref, c.addModule(&debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}))
	for _, module := range info.Deps {
		c.depend(ref, c.addModule(module))
	}
	return ref, nil
}

func (c contents) addData(data string) (ref string, err error) {
	path, want, ok := strings.Cut(data, "=")
	if !ok {
		return "", fmt.Errorf("--data %q is not BINARY=MODULE", data)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the build information of %s: %w", path, err)
	}
	for _, module := range info.Deps {
		if module.Path == want {
			return c.addModule(module), nil
		}
	}
	return "", fmt.Errorf("--data: %s is not linked from module %s", path, want)
}

// addModule adds a module as what it is in the end, after a replace directive.
func (c contents) addModule(module *debug.Module) (ref string) {
	if module.Replace != nil {
		module = module.Replace
	}
	// Package URL specification, type "golang".
	purl := "pkg:golang/" + (&url.URL{Path: module.Path}).EscapedPath() + "@" + url.QueryEscape(module.Version)
	component := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: module.Path, Version: module.Version, PackageURL: purl}
	if module.Sum != "" {
		component.Properties = &[]cdx.Property{{Name: "go:sum", Value: module.Sum}}
	}
	c.components[purl] = component
	return purl
}

func (c contents) sorted() (*[]cdx.Component, *[]cdx.Dependency) {
	components := []cdx.Component{}
	for _, component := range c.components {
		components = append(components, component)
	}
	slices.SortFunc(components, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	dependencies := []cdx.Dependency{}
	for ref, on := range c.dependencies {
		slices.Sort(on)
		dependencies = append(dependencies, cdx.Dependency{Ref: ref, Dependencies: &on})
	}
	slices.SortFunc(dependencies, func(a, b cdx.Dependency) int { return cmp.Compare(a.Ref, b.Ref) })
	return &components, &dependencies
}

// serial is a UUID (RFC 9562, version 8) made of what is in the image, so that equal images have equal files.
func serial(root cdx.Component, components []cdx.Component) string {
	hash := sha256.New()
	fmt.Fprintln(hash, root.BOMRef)
	for _, component := range components {
		fmt.Fprintln(hash, component.BOMRef)
		if component.Hashes != nil {
			fmt.Fprintln(hash, (*component.Hashes)[0].Value)
		}
	}
	id := hash.Sum(nil)[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func encode(bom *cdx.BOM, w io.Writer) error {
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, specVersion)
}
