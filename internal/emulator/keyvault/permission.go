// SPDX-License-Identifier: Apache-2.0

package keyvault

import "strings"

// permissionOf finds the permission that an operation of the audit log needs
// in an access policy, such as ("secrets", "get") for SecretGet ("Vault access
// policy permissions"). Where nothing else is said, a permission has the name
// of its operation.
func permissionOf(operation string) (kind, permission string) {
	for _, one := range []struct {
		prefix, kind string
		special      map[string]string
	}{
		{"Secret", "secrets", map[string]string{"Update": "set"}},
		{"Key", "keys", map[string]string{
			"Wrap": "wrapKey", "Unwrap": "unwrapKey", "RotationPolicyGet": "getrotationpolicy", "RotationPolicySet": "setrotationpolicy",
		}},
		{"Certificate", "certificates", map[string]string{
			"Enroll": "create", "Renew": "create", "PendingGet": "get", "PendingMerge": "create", "PendingUpdate": "update", "PendingDelete": "delete",
			"PolicyGet": "get", "PolicyUpdate": "update", "PolicySet": "update",
			"ContactsGet": "managecontacts", "ContactsSet": "managecontacts", "ContactsDelete": "managecontacts",
			"IssuerGet": "getissuers", "IssuerSet": "setissuers", "IssuerUpdate": "setissuers", "IssuerDelete": "deleteissuers",
			"IssuersList": "listissuers", "IssuerList": "listissuers",
		}},
	} {
		rest, ok := strings.CutPrefix(operation, one.prefix)
		if !ok {
			continue
		}
		if special, found := one.special[rest]; found {
			return one.kind, special
		}
		switch rest {
		case "ListVersions", "ListDeleted":
			rest = "List"
		case "GetDeleted":
			rest = "Get"
		}
		return one.kind, strings.ToLower(rest)
	}
	return "", operation
}
