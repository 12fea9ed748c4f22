// SPDX-License-Identifier: Apache-2.0

// Package lint finds the mistakes in SecretProviderClasses and in the workloads that use them before anything is mounted.
//
// [Class] says everything for which the provider or the driver will refuse a class, in the words of the event that a pod would get. [Secrets]
// and [Pod] look around: at Secrets that exist, at the classes, the ServiceAccount and the label of a pod. They ask a [World], which is the API
// server or a set of files. [Files] reads manifests and gives every finding its line.
//
// What cannot be known is not judged: the names that a selector finds, the credentials of a Secret, the files of another provider.
package lint
