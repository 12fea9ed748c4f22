// SPDX-License-Identifier: Apache-2.0

// Package provider is the Azure provider: the gRPC service that the Secrets Store CSI Driver asks for a volume's files.
//
// A call of Mount goes one way: the request's JSON becomes a class (class.go, objects.go), all of it checked before anything is
// asked of Azure; the service account token becomes an identity (identity.go); the objects are fetched and become files
// (mount.go). Every failure is a [reason.Error] whose text is one line for the person who wrote the class.
//
// The parameters and texts are those of the Azure provider for the Secrets Store CSI Driver, v1.8.
package provider
