// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sync/errgroup"
)

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// profiled takes CPU profiles of driver and provider for a few seconds from the beginning of a measurement; the returned function waits for them
// and takes heap profiles too.
func (b *bench) profiled(ctx context.Context, n *node, measurement string) (finish func() error) {
	const seconds = 3
	if b.options.profiles == "" || !n.ours() {
		return func() error { return nil }
	}
	urls := map[string]string{n.driver.Name: driverProfiles, n.provider.Name: providerProfiles}
	take := func(ctx context.Context, process, kind, query string) error {
		content, err := get(ctx, urls[process]+query)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%s-%s-%s.pb.gz", unfit.ReplaceAllString(measurement, "-"), process, kind)
		return os.WriteFile(filepath.Join(b.options.profiles, name), content, 0o600)
	}
	group, ctx := errgroup.WithContext(ctx)
	for process := range urls {
		group.Go(func() error { return take(ctx, process, "cpu", fmt.Sprintf("profile?seconds=%d", seconds)) })
	}
	return func() error {
		errs := []error{group.Wait()}
		for process := range urls {
			errs = append(errs, take(context.WithoutCancel(ctx), process, "heap", "heap?gc=1"))
		}
		return errors.Join(errs...)
	}
}
