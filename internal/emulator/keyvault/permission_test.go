// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"testing"

	"github.com/vaultferry/vaultferry/internal/emulator/state"
)

func TestPermissionOf(t *testing.T) {
	for operation, want := range map[string][2]string{
		"SecretGet": {"secrets", "get"}, "SecretListVersions": {"secrets", "list"}, "SecretListDeleted": {"secrets", "list"}, "SecretGetDeleted": {"secrets", "get"},
		"SecretSet": {"secrets", "set"}, "SecretUpdate": {"secrets", "set"}, "SecretRestore": {"secrets", "restore"},
		"KeyGet": {"keys", "get"}, "KeyList": {"keys", "list"}, "KeyUpdate": {"keys", "update"}, "KeyCreate": {"keys", "create"}, "KeyImport": {"keys", "import"},
		"KeyWrap": {"keys", "wrapKey"}, "KeyUnwrap": {"keys", "unwrapKey"}, "KeySign": {"keys", "sign"}, "KeyRotate": {"keys", "rotate"},
		"KeyRotationPolicyGet": {"keys", "getrotationpolicy"}, "KeyRotationPolicySet": {"keys", "setrotationpolicy"},
		"CertificateGet": {"certificates", "get"}, "CertificateCreate": {"certificates", "create"}, "CertificateImport": {"certificates", "import"},
		"CertificatePolicyGet": {"certificates", "get"}, "CertificatePolicyUpdate": {"certificates", "update"}, "CertificatePendingGet": {"certificates", "get"},
		"CertificatePendingMerge": {"certificates", "create"}, "CertificateContactsGet": {"certificates", "managecontacts"},
		"CertificateIssuerSet": {"certificates", "setissuers"}, "CertificatePurge": {"certificates", "purge"},
	} {
		kind, permission := permissionOf(operation)
		if [2]string{kind, permission} != want {
			t.Errorf("%s needs %s %s, want %v", operation, kind, permission, want)
		}
		// What an operation needs can be granted.
		granted := map[string]state.Permissions{"secrets": {Secrets: []string{permission}}, "keys": {Keys: []string{permission}}, "certificates": {Certificates: []string{permission}}}[kind]
		if field, text := state.CheckPermissions(granted); text != "" {
			t.Errorf("%s: %s %s", operation, field, text)
		}
	}
}
