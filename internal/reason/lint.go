// SPDX-License-Identifier: Apache-2.0

package reason

import "google.golang.org/grpc/codes"

// Notices about what was applied. None of them is a failure by itself: a mount goes on.
var (
	// ManifestInvalid: a manifest is no YAML, or holds what the kind does not have. Only files are checked for it; the API server refuses them.
	ManifestInvalid = Reason{"ManifestInvalid", codes.InvalidArgument}
	// ClientIDMismatch: the class reads with another identity than the one that the pod's ServiceAccount names.
	ClientIDMismatch = Reason{"ClientIDMismatch", codes.OK}
	// LabelMissing: a pod that mounts with workload identity lacks the label that gives its own containers the identity.
	LabelMissing = Reason{"LabelMissing", codes.OK}
	// SecretWithoutVolume: a pod uses a synced Secret, and none of its volumes creates it.
	SecretWithoutVolume = Reason{"SecretWithoutVolume", codes.OK}
	// SubPathStale: a subPath of files that change shows what was there at the container's start.
	SubPathStale = Reason{"SubPathStale", codes.OK}
)
