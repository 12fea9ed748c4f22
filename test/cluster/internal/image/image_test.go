// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

func unpack(t *testing.T, content []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for archive := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnImageHoldsItsFilesAndHowToRunThem(t *testing.T) {
	image := Image{
		Name: "vaultferry.local/pause:local", Architecture: "arm64", User: "65535:65535", Entrypoint: []string{"/pause"},
		Files: map[string][]byte{"pause": []byte("program"), "bin/other": []byte("another")},
	}
	var first, second bytes.Buffer
	if err := errors.Join(image.Write(&first), image.Write(&second)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same content gave two images")
	}
	files := unpack(t, first.Bytes())
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 || manifest[0].RepoTags[0] != image.Name {
		t.Fatalf("manifest %s: %v", files["manifest.json"], err)
	}
	var config struct {
		Architecture, OS string
		Config           struct {
			Entrypoint []string
			User       string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	layer := files[manifest[0].Layers[0]]
	if config.Architecture != "arm64" || config.OS != "linux" || config.Config.User != image.User || config.Config.Entrypoint[0] != "/pause" ||
		config.RootFS.DiffIDs[0] != "sha256:"+digest(layer) {
		t.Errorf("config: %+v", config)
	}
	if inside := unpack(t, layer); string(inside["pause"]) != "program" || string(inside["bin/other"]) != "another" {
		t.Errorf("layer: %q", inside)
	}
}
