// SPDX-License-Identifier: Apache-2.0

// Package volume puts files into a pod's volume.
//
// A volume is a tmpfs of its own ([Tmpfs]), so secret content never reaches a disk. Its content ([Payload]) is switched as a whole:
//
//	<root>/..2026_11_23_10_11_12.1234567/   the files
//	<root>/..data -> ..2026_11_23_10_11_12.1234567
//	<root>/db-password -> ..data/db-password
//
// The rename of ..data is the one step that makes new content visible, so a reader that opens files below ..data sees one
// complete set or the other, whatever happens to the writer in between. This is the layout of Kubernetes' own Secret volumes
// and of the Secrets Store CSI driver.
//
// A write may end anywhere: the volume is full, no descriptor is left, the process is killed. What a running pod reads is therefore there
// until the new payload is, also where a provider has put it by itself, and goes in exchange for a link. On a volume that nobody reads yet, names are
// linked before the switch, so that one with ..data has all of its files.
package volume
