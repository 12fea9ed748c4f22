// SPDX-License-Identifier: Apache-2.0

package reason

import "google.golang.org/grpc/codes"

// Ways in which a pod is refused when it is created.
var (
	// WorkloadIdentityInvalid: an annotation of the pod or of its ServiceAccount cannot be followed.
	WorkloadIdentityInvalid = Reason{"WorkloadIdentityInvalid", codes.InvalidArgument}
	// ServiceAccountNotFound: the pod's ServiceAccount does not exist.
	ServiceAccountNotFound = Reason{"ServiceAccountNotFound", codes.NotFound}
)
