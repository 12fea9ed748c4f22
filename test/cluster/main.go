// SPDX-License-Identifier: Apache-2.0

// Command cluster builds and runs a real Kubernetes on one Linux machine.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// needsRoot is all that the command says where it cannot work.
const needsRoot = "cluster: needs root on Linux (it makes namespaces and mounts); run it as root, or point KUBECONFIG at an existing kind, minikube or AKS cluster"
