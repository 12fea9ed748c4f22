// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// A replica that cannot renew its lease stops working before another one may take it.
const (
	// duration is for how long the others leave a lease alone that is not renewed.
	duration = 15 * time.Second
	// renew is for how long a holder tries to renew it before it stops.
	renew = 10 * time.Second
	// retry is how often everybody tries.
	retry = 2 * time.Second
)

// ErrLost ends a process that has lost the lease: its successor begins anew.
var ErrLost = errors.New("lost the lease: another replica took it, or the API server did not answer in time")

// Config says which lease it is, and who asks for it.
type Config struct {
	API             *rest.Config
	Namespace, Name string
	// Identity is another one for each replica.
	Identity string
	Log      *slog.Logger
}

// Hold calls work once this process holds the lease, with a context that ends when it is lost or ctx ends, and returns what work returns. When ctx ends, the
// lease is given back after work has returned. The error is [ErrLost] where the lease was lost, or work ended by itself.
func Hold(ctx context.Context, c Config, work func(context.Context) error) error {
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, c.Namespace, c.Name, resourcelock.ResourceLockConfig{Identity: c.Identity}, c.API, renew)
	if err != nil {
		return fmt.Errorf("making the lease: %w", err)
	}
	began, worked := make(chan struct{}), make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: duration, RenewDeadline: renew, RetryPeriod: retry, ReleaseOnCancel: true, Name: c.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				close(began)
				c.Log.InfoContext(ctx, "Holding the lease", slog.String("lease", c.Namespace+"/"+c.Name))
				working, end := context.WithCancel(ctx)
				defer end()
				defer context.AfterFunc(leading, end)()
				worked <- work(working)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("setting up the lease: %w", err)
	}
	// The lease outlives ctx until work has come to its end.
	leading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	elected := make(chan struct{})
	go func() { defer close(elected); elector.Run(leading) }()
	err = ended(ctx, began, worked, elected)
	stop()
	<-elected
	if err == nil && ctx.Err() == nil {
		err = ErrLost
	}
	return err
}

// ended waits until work has come to its end, the lease is lost, or ctx ends and work has not begun.
func ended(ctx context.Context, began <-chan struct{}, worked <-chan error, elected <-chan struct{}) error {
	select {
	case err := <-worked:
		return err
	case <-elected:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-began:
	default:
		return nil
	}
	select {
	case err := <-worked:
		return err
	case <-elected:
		return nil
	}
}
