// SPDX-License-Identifier: Apache-2.0

package arm

// Data actions of Key Vault keys (Azure RBAC, provider operations of
// Microsoft.KeyVault).
const (
	ActionReadKey             = "Microsoft.KeyVault/vaults/keys/read"
	ActionCreateKey           = "Microsoft.KeyVault/vaults/keys/create/action"
	ActionImportKey           = "Microsoft.KeyVault/vaults/keys/import/action"
	ActionUpdateKey           = "Microsoft.KeyVault/vaults/keys/update/action"
	ActionDeleteKey           = "Microsoft.KeyVault/vaults/keys/delete"
	ActionRecoverKey          = "Microsoft.KeyVault/vaults/keys/recover/action"
	ActionPurgeKey            = "Microsoft.KeyVault/vaults/keys/purge/action"
	ActionBackupKey           = "Microsoft.KeyVault/vaults/keys/backup/action"
	ActionRestoreKey          = "Microsoft.KeyVault/vaults/keys/restore/action"
	ActionRotateKey           = "Microsoft.KeyVault/vaults/keys/rotate/action"
	ActionEncrypt             = "Microsoft.KeyVault/vaults/keys/encrypt/action"
	ActionDecrypt             = "Microsoft.KeyVault/vaults/keys/decrypt/action"
	ActionSign                = "Microsoft.KeyVault/vaults/keys/sign/action"
	ActionVerify              = "Microsoft.KeyVault/vaults/keys/verify/action"
	ActionWrap                = "Microsoft.KeyVault/vaults/keys/wrap/action"
	ActionUnwrap              = "Microsoft.KeyVault/vaults/keys/unwrap/action"
	ActionReadRotationPolicy  = "Microsoft.KeyVault/vaults/keyrotationpolicies/read"
	ActionWriteRotationPolicy = "Microsoft.KeyVault/vaults/keyrotationpolicies/write"
)

// Data actions of Event Grid (provider operations of Microsoft.EventGrid). One
// receives, acknowledges, releases, rejects and renews.
const (
	ActionReceiveEvents = "Microsoft.EventGrid/events/receive/action"
	ActionSendEvents    = "Microsoft.EventGrid/events/send/action"
)

// Data actions of Key Vault certificates.
const (
	ActionReadCertificate    = "Microsoft.KeyVault/vaults/certificates/read"
	ActionCreateCertificate  = "Microsoft.KeyVault/vaults/certificates/create/action"
	ActionImportCertificate  = "Microsoft.KeyVault/vaults/certificates/import/action"
	ActionUpdateCertificate  = "Microsoft.KeyVault/vaults/certificates/update/action"
	ActionDeleteCertificate  = "Microsoft.KeyVault/vaults/certificates/delete"
	ActionRecoverCertificate = "Microsoft.KeyVault/vaults/certificates/recover/action"
	ActionPurgeCertificate   = "Microsoft.KeyVault/vaults/certificates/purge/action"
	ActionBackupCertificate  = "Microsoft.KeyVault/vaults/certificates/backup/action"
	ActionRestoreCertificate = "Microsoft.KeyVault/vaults/certificates/restore/action"
	ActionReadIssuer         = "Microsoft.KeyVault/vaults/certificatecas/read"
	ActionWriteIssuer        = "Microsoft.KeyVault/vaults/certificatecas/write"
	ActionDeleteIssuer       = "Microsoft.KeyVault/vaults/certificatecas/delete"
)
