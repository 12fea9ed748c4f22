// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// errNotRegistered is what readiness says until kubelet has accepted the driver.
var errNotRegistered = errors.New("kubelet has not registered the driver yet: check that --registration-dir is kubelet's plugins_registry")

// Registration answers kubelet's plugin watcher (k8s.io/kubelet/pkg/apis/pluginregistration/v1), which makes the driver known without a
// sidecar.
type Registration struct {
	registration.UnimplementedRegistrationServer
	// Name is the driver's name; Endpoint is the path of the CSI socket as kubelet sees it.
	Name, Endpoint string
	Log            *slog.Logger

	state atomic.Pointer[error]
}

// GetInfo tells kubelet who registers and where it is served.
func (r *Registration) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: r.Name, Endpoint: r.Endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus receives kubelet's verdict.
func (r *Registration) NotifyRegistrationStatus(
	ctx context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	var verdict error
	if status.GetPluginRegistered() {
		r.Log.InfoContext(ctx, "Registered with kubelet", slog.String("driver", r.Name))
	} else {
		verdict = errors.New("kubelet refused the registration: " + status.GetError())
		r.Log.ErrorContext(ctx, "Registration refused by kubelet", slog.String("driver", r.Name), slog.String("error", status.GetError()))
	}
	r.state.Store(&verdict)
	return &registration.RegistrationStatusResponse{}, nil
}

// Registered returns nil once kubelet has accepted the driver, and what is missing before.
func (r *Registration) Registered() error {
	if verdict := r.state.Load(); verdict != nil {
		return *verdict
	}
	return errNotRegistered
}
