// SPDX-License-Identifier: Apache-2.0

package reason

import "google.golang.org/grpc/codes"

// Ways to fail between mounted files and the Kubernetes Secrets that are made from them.
var (
	// SecretObjectInvalid: an entry of secretObjects in the SecretProviderClass is not valid, or does not fit the mounted files.
	SecretObjectInvalid = Reason{"SecretObjectInvalid", codes.InvalidArgument}
	// SecretTooLarge: the Secret would exceed the API server's limit.
	SecretTooLarge = Reason{"SecretTooLarge", codes.ResourceExhausted}
	// SecretNotOurs: the Secret exists and belongs to somebody else, or to another SecretProviderClass.
	SecretNotOurs = Reason{"SecretNotOurs", codes.AlreadyExists}
	// SecretTypeImmutable: the Secret exists with another type, which Kubernetes does not let anybody change.
	SecretTypeImmutable = Reason{"SecretTypeImmutable", codes.FailedPrecondition}
	// SecretConflict: another field manager holds a field that the class asks for, or other writers were faster every time.
	SecretConflict = Reason{"SecretConflict", codes.Aborted}
	// SecretForbidden: the driver's service account may not read or write Secrets, or a quota or an admission policy refuses.
	SecretForbidden = Reason{"SecretForbidden", codes.PermissionDenied}
	// SecretRejected: the API server does not accept the Secret.
	SecretRejected = Reason{"SecretRejected", codes.InvalidArgument}
)
