// SPDX-License-Identifier: Apache-2.0

package reason

import "google.golang.org/grpc/codes"

// Ways to fail on the node, whatever the provider.
var (
	// RequestInvalid: kubelet's call, and so the pod's volume, is not valid.
	RequestInvalid = Reason{"RequestInvalid", codes.InvalidArgument}
	// ClassNotFound: the SecretProviderClass does not exist in the pod's namespace.
	ClassNotFound = Reason{"ClassNotFound", codes.NotFound}
	// ClassInvalid: the SecretProviderClass lacks something that every provider needs.
	ClassInvalid = Reason{"ClassInvalid", codes.InvalidArgument}
	// APIUnavailable: the Kubernetes API server did not answer.
	APIUnavailable = Reason{"APIUnavailable", codes.Unavailable}
	// APIForbidden: the driver's service account lacks a right.
	APIForbidden = Reason{"APIForbidden", codes.PermissionDenied}
	// ProviderNotFound: no provider of that name runs on the node.
	ProviderNotFound = Reason{"ProviderNotFound", codes.NotFound}
	// ProviderNotReady: the provider's socket is not there yet or does not answer.
	ProviderNotReady = Reason{"ProviderNotReady", codes.Unavailable}
	// ProviderTimeout: the provider did not finish within the call's deadline.
	ProviderTimeout = Reason{"ProviderTimeout", codes.DeadlineExceeded}
	// ProviderFailed: the provider answered with an error that carries no reason of ours; its gRPC code is kept.
	ProviderFailed = Reason{"ProviderFailed", codes.Unknown}
	// ProviderAnswerInvalid: the provider's answer breaks the protocol.
	ProviderAnswerInvalid = Reason{"ProviderAnswerInvalid", codes.Internal}
	// ProviderAnswerTooLarge: the provider's answer exceeds the driver's receive limit.
	ProviderAnswerTooLarge = Reason{"ProviderAnswerTooLarge", codes.ResourceExhausted}
	// PathInvalid: a file's path would leave the volume or cannot be written.
	PathInvalid = Reason{"PathInvalid", codes.InvalidArgument}
	// VolumeFull: the files do not fit into the volume.
	VolumeFull = Reason{"VolumeFull", codes.ResourceExhausted}
	// MountFailed: mounting, unmounting or inspecting the volume did not work.
	MountFailed = Reason{"MountFailed", codes.Internal}
	// WriteFailed: writing the files into the volume did not work.
	WriteFailed = Reason{"WriteFailed", codes.Internal}
	// Unexpected: a fault of Vaultferry itself.
	Unexpected = Reason{"Unexpected", codes.Internal}
)
