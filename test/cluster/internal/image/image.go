// SPDX-License-Identifier: Apache-2.0

// Package image writes a container image with one layer of a few files as a
// tar that containerd imports.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// Image is what goes into an image.
type Image struct {
	Name         string            // with a tag, as a pod names it
	Architecture string            // as in GOARCH
	Files        map[string][]byte // executable files by their path without a leading slash
	Entrypoint   []string
	User         string // "uid:gid", "" is root
}

// Write writes the image in the layout of `docker save`.
func (i Image) Write(to io.Writer) error {
	layer, err := i.layer()
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": i.Architecture, "os": "linux",
		"config": map[string]any{"Entrypoint": i.Entrypoint, "User": i.User},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return fmt.Errorf("writing the configuration of image %s: %w", i.Name, err)
	}
	configName, layerName := digest(config)+".json", digest(layer)+".tar"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{i.Name}, "Layers": []string{layerName},
	}})
	if err != nil {
		return fmt.Errorf("writing the manifest of image %s: %w", i.Name, err)
	}
	return writeTar(to, 0o644, []file{{configName, config}, {layerName, layer}, {"manifest.json", manifest}})
}

func (i Image) layer() ([]byte, error) {
	files := make([]file, 0, len(i.Files))
	for name, content := range i.Files {
		files = append(files, file{name, content})
	}
	slices.SortFunc(files, func(a, b file) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	var layer bytes.Buffer
	if err := writeTar(&layer, 0o755, files); err != nil {
		return nil, err
	}
	return layer.Bytes(), nil
}

type file struct {
	name    string
	content []byte
}

// writeTar writes the files with fixed times and owners: the same content is
// always the same image.
func writeTar(to io.Writer, mode int64, files []file) error {
	archive := tar.NewWriter(to)
	for _, file := range files {
		header := &tar.Header{Name: file.name, Mode: mode, Size: int64(len(file.content)), ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("writing %s into an image: %w", file.name, err)
		}
		if _, err := archive.Write(file.content); err != nil {
			return fmt.Errorf("writing %s into an image: %w", file.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("writing an image: %w", err)
	}
	return nil
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
