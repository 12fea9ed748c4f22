// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// build makes the image, writes it to the archive output unless that is empty,
// pushes it if push is set, and returns its digest: that of the image for one
// platform, of the index for several.
func build(ctx context.Context, cfg Config, output string, push bool) (v1.Hash, error) {
	if err := cfg.Validate(); err != nil {
		return v1.Hash{}, err
	}
	if output == "" && !push {
		return v1.Hash{}, errors.New("the image would go nowhere: give --output, --push or both")
	}
	tag, err := name.NewTag(cfg.Tag, name.StrictValidation)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("parsing --tag: %w", err)
	}

	if platforms := cfg.platforms(); len(platforms) == 1 {
		img, _, err := cfg.image(platforms[0])
		if err != nil {
			return v1.Hash{}, err
		}

		return publishImage(ctx, tag, img, output, push)
	}
	if output != "" {
		return v1.Hash{}, errors.New("--output takes one platform: give one --binary, or --push for several")
	}

	return pushIndex(ctx, tag, cfg)
}

func publishImage(ctx context.Context, tag name.Tag, img v1.Image, output string, push bool) (v1.Hash, error) {
	if output != "" {
		if err := writeArchive(output, tag, img); err != nil {
			return v1.Hash{}, fmt.Errorf("writing the archive %q: %w", output, err)
		}
	}
	if push {
		if err := remote.Write(tag, img, remoteOptions(ctx)...); err != nil {
			return v1.Hash{}, fmt.Errorf("pushing %q: %w", tag, err)
		}
	}

	return img.Digest()
}

// writeArchive replaces the archive in one step, so that a reader never finds
// half of it.
func writeArchive(output string, tag name.Tag, img v1.Image) error {
	partial := output + ".partial"
	if err := tarball.WriteToFile(partial, tag, img); err != nil {
		return errors.Join(err, os.Remove(partial))
	}

	return os.Rename(partial, output)
}

func pushIndex(ctx context.Context, tag name.Tag, cfg Config) (v1.Hash, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range cfg.platforms() {
		img, platform, err := cfg.image(p)
		if err != nil {
			return v1.Hash{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	if err := remote.WriteIndex(tag, index, remoteOptions(ctx)...); err != nil {
		return v1.Hash{}, fmt.Errorf("pushing %q: %w", tag, err)
	}

	return index.Digest()
}

func remoteOptions(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
}
