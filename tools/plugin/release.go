// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"go.yaml.in/yaml/v3"
)

const (
	// program is how kubectl finds the plugin on the PATH.
	program = "kubectl-vaultferry"
	// pluginName is how krew and kubectl call it.
	pluginName   = "vaultferry"
	manifestName = pluginName + ".yaml"
	license      = "LICENSE"
)

// Binary is the program for one platform, as Go names it.
type Binary struct{ OS, Arch, File string }

// archive is a gzipped tar of the program and the license, without times and owners.
func (b Binary) archive(content, licenseText []byte) ([]byte, error) {
	var packed bytes.Buffer
	compressed := gzip.NewWriter(&packed)
	files := tar.NewWriter(compressed)
	for _, file := range []struct {
		name    string
		mode    int64
		content []byte
	}{{license, 0o644, licenseText}, {program, 0o755, content}} {
		if err := files.WriteHeader(&tar.Header{Name: file.name, Mode: file.mode, Size: int64(len(file.content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := files.Write(file.content); err != nil {
			return nil, err
		}
	}
	if err := files.Close(); err != nil {
		return nil, err
	}
	if err := compressed.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// Release is what the manifest tells.
type Release struct {
	Version, URL string
	platforms    []platform
}

// The manifest of a plugin (krew, "Writing Krew plugin manifests", krew.googlecontainertools.github.com/v1alpha2).
type (
	manifest struct {
		APIVersion string       `yaml:"apiVersion"`
		Kind       string       `yaml:"kind"`
		Metadata   metadata     `yaml:"metadata"`
		Spec       manifestSpec `yaml:"spec"`
	}
	metadata struct {
		Name string `yaml:"name"`
	}
	manifestSpec struct {
		Version          string     `yaml:"version"`
		Homepage         string     `yaml:"homepage"`
		ShortDescription string     `yaml:"shortDescription"`
		Description      string     `yaml:"description"`
		Platforms        []platform `yaml:"platforms"`
	}
	platform struct {
		Selector selector `yaml:"selector"`
		URI      string   `yaml:"uri"`
		SHA256   string   `yaml:"sha256"`
		Files    []file   `yaml:"files"`
		Bin      string   `yaml:"bin"`
	}
	selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	file struct {
		From string `yaml:"from"`
		To   string `yaml:"to"`
	}
)

// add notes an archive and returns its name.
func (r *Release) add(b Binary, archive []byte) string {
	name := fmt.Sprintf("%s_%s_%s_%s.tar.gz", program, r.Version, b.OS, b.Arch)
	sum := sha256.Sum256(archive)
	r.platforms = append(r.platforms, platform{
		Selector: selector{map[string]string{"os": b.OS, "arch": b.Arch}}, URI: r.URL + "/" + r.Version + "/" + name, SHA256: hex.EncodeToString(sum[:]),
		Files: []file{{program, "."}, {license, "."}}, Bin: program,
	})
	return name
}

func (r *Release) manifest() ([]byte, error) {
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	err := encoder.Encode(manifest{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2", Kind: "Plugin", Metadata: metadata{pluginName},
		Spec: manifestSpec{
			Version: r.Version, Homepage: "https://github.com/vaultferry/vaultferry", ShortDescription: "Explain why a Key Vault secret does not arrive",
			Description: "Explains the way of a secret from Azure Key Vault to a pod and what mends it,\nchecks the installation of Vaultferry, shows who mounts which version, asks\n" +
				"for a rotation and waits for it, and finds mistakes in manifests.\n\nIt works with the user's own rights, and prints no secret.\n",
			Platforms: r.platforms,
		},
	})
	return text.Bytes(), err
}
