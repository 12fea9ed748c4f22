// SPDX-License-Identifier: Apache-2.0

// Package driver is the CSI node driver: kubelet asks it to publish a volume for a pod, and it returns OK once the pod's files are
// on the volume's own tmpfs and have been read back.
//
// A volume is in one of three states, each of which can be told from the mount itself, so that a restarted driver needs no memory
// of its own:
//
//	absent    no tmpfs at the target path
//	mounted   a tmpfs that has never held a complete payload
//	published ..data points at a complete payload, or a mark says that the provider has written one by itself
//
// A publish moves a volume from wherever it is to published, or back to absent; a volume that is only mounted is never reported as
// OK. A publish of a published volume is a refresh.
//
// The driver knows no cloud. Content comes from a provider on a unix socket (api/provider/v1alpha1), and which content is
// said by a SecretProviderClass. Only the classes of this node's own volumes are watched.
package driver
