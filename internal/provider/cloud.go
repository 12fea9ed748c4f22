// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// maxCloudFile bounds a cloud's file, in bytes. Real ones stay under 4 KiB.
const maxCloudFile = 64 << 10

// clouds knows the clouds that classes may name.
type clouds struct {
	// fallback is the name of the cloud of classes that name none.
	fallback string
	// dir holds the files that describe custom clouds; nothing outside it is read. Where it is "", the files are elsewhere, and classes are
	// checked without them.
	dir string
}

// parse returns the cloud of a class.
func (c *clouds) parse(p parameters, found *problems) entra.Cloud {
	name := p.get(cloudNameKey)
	if name == "" {
		name = c.fallback
	}
	if cloud, ok := entra.CloudNamed(name); ok {
		return cloud
	}
	if !strings.EqualFold(name, entra.CustomCloud) {
		found.add(reason.ParameterInvalid, cloudNameKey, "cloudName %s is not valid, error: spec.parameters.cloudName should be one of %s%s",
			quote(name), strings.Join(entra.CloudNames(), ", "), didYouMean(name, entra.CloudNames()))
		return entra.Cloud{}
	}
	file := p.get(cloudFileKey)
	if file == "" {
		found.add(reason.ParameterInvalid, cloudFileKey, "cloudName %s is not valid, error: set spec.parameters.cloudEnvFileName to a file in %s that describes "+
			"the cloud%s", name, cmp.Or(c.dir, "the provider's --cloud-env-dir"), p.misspelt(cloudFileKey))
		return entra.Cloud{}
	}
	if c.dir == "" {
		return entra.Cloud{Name: entra.CustomCloud}
	}
	cloud, err := c.read(file)
	if err != nil {
		found.add(reason.ParameterInvalid, cloudFileKey, "cloudName %s is not valid, error: spec.parameters.cloudEnvFileName %s: %v", name, quote(file), err)
	}
	return cloud
}

// read reads a custom cloud's file for each class, so that a change of it needs no restart. A class's author chooses the
// file, so that it must lie in dir, links included ([os.Root]).
func (c *clouds) read(name string) (entra.Cloud, error) {
	outside := fmt.Errorf("it should be in %s (--cloud-env-dir of the provider)", c.dir)
	if filepath.IsAbs(name) {
		below, err := filepath.Rel(c.dir, name)
		if err != nil {
			return entra.Cloud{}, outside
		}
		name = below
	}
	if !filepath.IsLocal(name) {
		return entra.Cloud{}, outside
	}
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return entra.Cloud{}, fmt.Errorf("the provider has no directory %s: mount the cloud's file there", c.dir)
	}
	defer func() { _ = root.Close() }()
	// Opening a pipe would wait for its other end.
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return entra.Cloud{}, fmt.Errorf("there is no such file in %s of the provider", c.dir)
	case err != nil || !info.Mode().IsRegular():
		return entra.Cloud{}, errors.New("it should be a regular file that the provider may read")
	case info.Size() > maxCloudFile:
		return entra.Cloud{}, fmt.Errorf("it should have at most %d bytes", maxCloudFile)
	}
	file, err := root.Open(name)
	if err != nil {
		return entra.Cloud{}, errors.New("it should be a regular file that the provider may read")
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxCloudFile))
	if err != nil {
		return entra.Cloud{}, errors.New("it should be a regular file that the provider may read")
	}
	return entra.ParseCloud(content)
}
