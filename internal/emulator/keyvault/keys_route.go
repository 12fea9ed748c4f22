// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
	"github.com/vaultferry/vaultferry/internal/emulator/keys"
)

func keyActions() actions {
	return actions{
		arm.ActionReadKey, arm.ActionReadKey, arm.ActionUpdateKey, arm.ActionDeleteKey,
		arm.ActionPurgeKey, arm.ActionRecoverKey, arm.ActionBackupKey, arm.ActionRestoreKey,
	}
}

// keyUse is a cryptographic operation.
type keyUse struct {
	// path is the last part of the path, op the key operation, operation the
	// audit log's name.
	path, op, operation, action string
	// afterwards says that the operation is allowed outside of the key's
	// validity, for what was made within ("About keys", date-time controlled
	// operations).
	afterwards bool
}

func keyUses() []keyUse {
	return []keyUse{
		{"encrypt", keys.OpEncrypt, "KeyEncrypt", arm.ActionEncrypt, false},
		{"decrypt", keys.OpDecrypt, "KeyDecrypt", arm.ActionDecrypt, true},
		{"sign", keys.OpSign, "KeySign", arm.ActionSign, false},
		{"verify", keys.OpVerify, "KeyVerify", arm.ActionVerify, true},
		{"wrapkey", keys.OpWrapKey, "KeyWrap", arm.ActionWrap, false},
		{"unwrapkey", keys.OpUnwrapKey, "KeyUnwrap", arm.ActionUnwrap, true},
	}
}

// keyRoutes maps methods to routes for what comes after /keys.
func keyRoutes(parts []string) map[string]route {
	f := keyFace()
	routes := f.routes(parts, keyActions(), serves{get: f.get, update: (*Handler).updateKey})
	switch len(parts) {
	case 1:
		routes[http.MethodPut] = route{operation: "KeyImport", action: arm.ActionImportKey, kind: f.kind, object: parts[0], serve: (*Handler).importKey}
	case 2:
		if found := nameRoutes(parts[0], strings.ToLower(parts[1])); found != nil {
			return found
		}
		// Clients that leave out the version send /keys/name//sign.
		if found := useRoute(parts[0], "", parts[1]); found != nil {
			routes[http.MethodPost] = found[http.MethodPost]
		}
	case 3:
		return useRoute(parts[0], parts[1], parts[2])
	}
	return routes
}

// nameRoutes are those of a key without a version.
func nameRoutes(name, second string) map[string]route {
	k := keyKind()
	switch second {
	case "create":
		return map[string]route{http.MethodPost: {operation: "KeyCreate", action: arm.ActionCreateKey, kind: k, object: name, serve: (*Handler).createKey}}
	case "rotate":
		return map[string]route{http.MethodPost: {operation: "KeyRotate", action: arm.ActionRotateKey, kind: k, object: name, serve: (*Handler).rotateKey}}
	case "rotationpolicy":
		return map[string]route{
			http.MethodGet: {operation: "KeyRotationPolicyGet", action: arm.ActionReadRotationPolicy, kind: k, object: name, serve: (*Handler).getRotationPolicy},
			http.MethodPut: {operation: "KeyRotationPolicySet", action: arm.ActionWriteRotationPolicy, kind: k, object: name, serve: (*Handler).setRotationPolicy},
		}
	}
	return nil
}

func useRoute(name, version, last string) map[string]route {
	last = strings.ToLower(last)
	for _, u := range keyUses() {
		if u.path == last {
			serve := func(h *Handler, c *call) *apiError { return h.useKey(c, u) }
			return map[string]route{http.MethodPost: {operation: u.operation, action: u.action, kind: keyKind(), object: name, version: version, serve: serve}}
		}
	}
	switch last {
	case "release", "attestation":
		one := missing("/keys/<name>/<version>/" + last)
		return map[string]route{http.MethodPost: one, http.MethodGet: one}
	}
	return nil
}
