// SPDX-License-Identifier: Apache-2.0

// Package consumption tells who in a pod sees a change of mounted files or of a Kubernetes Secret without a restart, and who holds on to what
// was there when it started.
//
//	how a container gets the secret             after a change
//	CSI volume                                  follows: the files are switched at the next refresh
//	CSI volume with subPath                     stale until the container starts again
//	Secret volume                               follows: kubelet switches the files at its next sync
//	Secret volume with subPath                  stale until the container starts again
//	projected volume with the Secret            as a Secret volume
//	env from secretKeyRef                       stale until the container starts again
//	envFrom with secretRef                      stale until the container starts again
//	imagePullSecrets                            follows: used anew at each pull, by kubelet and not by a container
//
// The same holds for init containers, sidecars (init containers with restartPolicy Always) and ephemeral containers. A container that
// started after the change, or does not run, is not stale: it reads at its start. An optional reference counts like any other,
// since the Secret is there.
//
// Sources: https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets and
// https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath
package consumption
