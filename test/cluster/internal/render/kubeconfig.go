// SPDX-License-Identifier: Apache-2.0

// Package render writes the configuration of the cluster's programs: flags,
// files and the first objects. It only computes text.
package render

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// Kubeconfig is a kubeconfig with one cluster and one user.
type Kubeconfig struct {
	Name   string // of the cluster, the user and the context
	Server string // URL of the API server
	CA     []byte // PEM
	Cert   []byte // PEM
	Key    []byte // PEM
}

// YAML renders the kubeconfig.
func (k Kubeconfig) YAML() ([]byte, error) {
	type object = map[string]any
	config := object{
		"apiVersion": "v1", "kind": "Config", "current-context": k.Name,
		"clusters": []object{{"name": k.Name, "cluster": object{"server": k.Server, "certificate-authority-data": k.CA}}},
		"users":    []object{{"name": k.Name, "user": object{"client-certificate-data": k.Cert, "client-key-data": k.Key}}},
		"contexts": []object{{"name": k.Name, "context": object{"cluster": k.Name, "user": k.Name}}},
	}
	content, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("writing kubeconfig %s: %w", k.Name, err)
	}
	return content, nil
}
