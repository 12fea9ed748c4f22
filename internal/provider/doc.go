// SPDX-License-Identifier: Apache-2.0

// Package provider is the Azure provider: the gRPC service that the Secrets Store CSI Driver asks for a volume's files.
//
// A call of Mount goes one way: the request's JSON becomes a class (class.go; objects.go, entry.go, fields.go and selector.go for
// its objects), all of it checked before anything is asked of Azure; the class and the pod's credentials become an identity
// (identity.go); listings tell what selectors and histories stand for (reading.go); the objects are fetched and become files
// (rendering.go, certificate.go, publickey.go, property.go). Every failure is a [reason.Error] whose text is one line for the person
// who wrote the class. Optional objects that are not there become notices beside the files.
//
// [Check] tells the same of a class that nobody has mounted yet, for those who check it when it is written.
//
// The parameters and texts are those of the Azure provider for the Secrets Store CSI Driver, v1.8.
package provider
