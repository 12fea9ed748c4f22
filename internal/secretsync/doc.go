// SPDX-License-Identifier: Apache-2.0

// Package secretsync keeps Kubernetes Secrets in step with mounted files, as secretObjects of a SecretProviderClass asks for.
//
// [Desired] says, as a pure function, which Secrets a class makes of a volume's files. A [Syncer] brings the API server there:
//
//   - A Secret is ours if it carries the label secrets-store.csi.k8s.io/managed=true. All others are never touched.
//   - Writes are server-side applies of the field manager vaultferry on exactly the object that was compared (its uid
//     and resourceVersion are preconditions). What others added stays; what left the class goes. A field of ours that somebody edited is
//     put right and told; one that somebody else applies, or edits again and again, is a conflict, which names the holder.
//   - Equal content writes nothing.
//   - Content carries the time at which it was read from its source, and is never replaced by content that was read earlier.
//   - A Secret belongs to one class. Another class may share it as long as it asks for the same content.
//   - Owners are only ever added. Kubernetes' garbage collector removes them, and the Secret with its last owner.
//
// Secrets that the Secrets Store CSI Driver wrote carry the label too. The first write moves its fields to our field manager, so that what
// leaves the class leaves those Secrets as well.
package secretsync
