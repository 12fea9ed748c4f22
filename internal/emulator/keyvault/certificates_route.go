// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"net/http"
	"strings"

	"github.com/vaultferry/vaultferry/internal/emulator/arm"
)

func certificateActions() actions {
	return actions{
		arm.ActionReadCertificate, arm.ActionReadCertificate, arm.ActionUpdateCertificate, arm.ActionDeleteCertificate,
		arm.ActionPurgeCertificate, arm.ActionRecoverCertificate, arm.ActionBackupCertificate, arm.ActionRestoreCertificate,
	}
}

// certificateRoutes maps methods to routes for what comes after /certificates.
func certificateRoutes(parts []string) map[string]route {
	if len(parts) > 0 && strings.EqualFold(parts[0], "issuers") {
		return issuerRoutes(parts[1:])
	}
	if len(parts) == 1 && strings.EqualFold(parts[0], "contacts") {
		one := missing("/certificates/contacts")
		return map[string]route{http.MethodGet: one, http.MethodPut: one, http.MethodDelete: one}
	}
	f := certificateFace()
	routes := f.routes(parts, certificateActions(), serves{get: f.get, update: (*Handler).updateCertificate})
	switch len(parts) {
	case 2:
		if found := certificateNameRoutes(parts[0], strings.ToLower(parts[1])); found != nil {
			return found
		}
	case 3:
		if strings.EqualFold(parts[1], "pending") && strings.EqualFold(parts[2], "merge") {
			return map[string]route{http.MethodPost: {
				operation: "CertificatePendingMerge", action: arm.ActionCreateCertificate, kind: f.kind, object: parts[0], serve: (*Handler).mergePending,
			}}
		}
	}
	return routes
}

// certificateNameRoutes are those of a certificate without a version.
func certificateNameRoutes(name, second string) map[string]route {
	of := func(operation, action string, serve func(*Handler, *call) *apiError) route {
		return route{operation: operation, action: action, kind: certificateKind(), object: name, serve: serve}
	}
	switch second {
	case "create":
		return map[string]route{http.MethodPost: of("CertificateCreate", arm.ActionCreateCertificate, (*Handler).createCertificate)}
	case "import":
		return map[string]route{http.MethodPost: of("CertificateImport", arm.ActionImportCertificate, (*Handler).importCertificate)}
	case "policy":
		return map[string]route{
			http.MethodGet:   of("CertificatePolicyGet", arm.ActionReadCertificate, (*Handler).getPolicy),
			http.MethodPatch: of("CertificatePolicyUpdate", arm.ActionUpdateCertificate, (*Handler).updatePolicy),
		}
	case "pending":
		return map[string]route{
			http.MethodGet:    of("CertificatePendingGet", arm.ActionReadCertificate, (*Handler).getPending),
			http.MethodPatch:  of("CertificatePendingUpdate", arm.ActionUpdateCertificate, (*Handler).updatePending),
			http.MethodDelete: of("CertificatePendingDelete", arm.ActionUpdateCertificate, (*Handler).deletePending),
		}
	}
	return nil
}

// issuerRoutes maps methods to routes for what comes after
// /certificates/issuers.
func issuerRoutes(parts []string) map[string]route {
	k := certificateKind()
	switch len(parts) {
	case 0:
		return map[string]route{http.MethodGet: {operation: "CertificateIssuersList", action: arm.ActionReadIssuer, kind: k, serve: (*Handler).listIssuers}}
	case 1:
		name := parts[0]
		return map[string]route{
			http.MethodGet:    {operation: "CertificateIssuerGet", action: arm.ActionReadIssuer, kind: k, issuer: name, serve: (*Handler).getIssuer},
			http.MethodPut:    {operation: "CertificateIssuerSet", action: arm.ActionWriteIssuer, kind: k, issuer: name, serve: (*Handler).setIssuer},
			http.MethodPatch:  {operation: "CertificateIssuerUpdate", action: arm.ActionWriteIssuer, kind: k, issuer: name, serve: (*Handler).setIssuer},
			http.MethodDelete: {operation: "CertificateIssuerDelete", action: arm.ActionDeleteIssuer, kind: k, issuer: name, serve: (*Handler).deleteIssuer},
		}
	}
	return nil
}
