// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_provider

package main

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeConfig returns how to reach the API server: by a kubeconfig file, or where that is "" as the pod's service account.
func kubeConfig(file, component string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("finding the API server (--kubeconfig): %w", err)
	}
	// The API server's own fairness decides what a process may ask; a client-side limit would only delay pods.
	config.QPS = -1
	config.UserAgent = "vaultferry-" + component + "/" + version
	return config, nil
}
