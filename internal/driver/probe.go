// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// ProbeSocket returns a check that asks the driver at socket, as kubelet would, whether it serves.
func ProbeSocket(socket string) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
		if err != nil {
			return fmt.Errorf("probing the CSI socket: %w", err)
		}
		defer connection.Close()
		answer, err := csi.NewIdentityClient(connection).Probe(ctx, &csi.ProbeRequest{})
		if err != nil {
			return fmt.Errorf("probing the CSI socket: %w", err)
		}
		if !answer.GetReady().GetValue() {
			return fmt.Errorf("the CSI socket answers that it is not ready")
		}
		return nil
	}
}
