// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"encoding/pem"
	"slices"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/pemfile"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// Content types of the secrets of certificates (Key Vault REST API, certificate policy, secret_props.contentType).
const (
	contentPEM    = "application/x-pem-file"
	contentPKCS12 = "application/x-pkcs12"
)

// What the separate files of a certificate's secret have behind its path.
const (
	certificatesSuffix = ".crt"
	keySuffix          = ".key"
)

// certificate makes the files of a secret that belongs to a certificate.
func (r renderer) certificate(ctx context.Context, rd read, got keyvault.Object) ([]part, error) {
	if rd.object.property != "" {
		return nil, rd.unusable("remove property", "it belongs to a certificate, and property reads JSON")
	}
	content, err := r.certificateContent(ctx, rd, got)
	if err != nil {
		return nil, err
	}
	var parts []part
	if r.separate {
		certificates, others := pemfile.SplitPEM(content.Reveal())
		parts = append(parts, part{rd.path + certificatesSuffix, secret.New(certificates)}, part{rd.path + keySuffix, secret.New(others)})
	}
	parts = append(parts, part{rd.path, content})
	for i, p := range parts {
		if parts[i].content, err = decoded(rd, p.path, p.content); err != nil {
			return nil, err
		}
	}
	if rd.object.caPath == "" {
		return parts, nil
	}
	chain, err := chainOf(rd, got.Content)
	return append(parts, part{rd.object.caPath, chain}), err
}

// certificateContent makes the content of the file that has the whole.
func (r renderer) certificateContent(ctx context.Context, rd read, got keyvault.Object) (secret.Value, error) {
	switch {
	case got.ContentType == contentPEM:
		return got.Content, nil
	case got.ContentType != contentPKCS12:
		return secret.Value{}, reason.New(reason.VaultAnswerInvalid, "set the certificate's content type to "+contentPEM+" or "+contentPKCS12,
			"%s: failed to get certificate. unknown content type '%s'", rd.object.place, shorten(got.ContentType))
	case rd.object.format == formatPFX:
		return got.Content, nil
	}
	bundle, err := bundleOf(rd, got.Content)
	if err != nil {
		return secret.Value{}, err
	}
	if r.orderChain {
		ordered, err := bundle.Ordered()
		if err != nil {
			r.log.WarnContext(ctx, "The certificates of a secret are not one chain, their order stays",
				"pod_namespace", r.class.podNamespace, "pod", r.class.podName, "class", r.class.name, "vault", rd.item.Vault, "object", rd.item.Name, "error", err)
		}
		bundle = ordered
	}
	return secret.New(bundle.PEM()), nil
}

// bundleOf reads the keys and certificates of a secret.
func bundleOf(rd read, content secret.Value) (pemfile.Bundle, error) {
	bundle, err := pemfile.Parse(content.Reveal())
	if err == nil && len(bundle.Certificates) == 0 {
		err = pemfile.ErrNoLeaf
	}
	if err != nil {
		return pemfile.Bundle{}, rd.unusable("import or renew the certificate, or mount it as it is with objectFormat: pfx", "failed to get certificate. %v", err)
	}
	return bundle, nil
}

// chainOf makes the content of caAlias: the certificates that vouch for the leaf.
func chainOf(rd read, content secret.Value) (secret.Value, error) {
	bundle, err := bundleOf(rd, content)
	if err != nil {
		return secret.Value{}, err
	}
	if bundle, err = bundle.Ordered(); err != nil {
		// They keep their order, but for the leaf.
		slices.SortStableFunc(bundle.Certificates, func(a, b pemfile.Certificate) int { return belongs(bundle.Keys, b) - belongs(bundle.Keys, a) })
	}
	_, issuers, err := pemfile.Chain(bundle.Certificates)
	if err != nil || len(issuers) == 0 {
		return secret.Value{}, rd.unusable("import the certificate with its chain, or remove caAlias",
			"the vault has no certificate above the leaf, so that there is nothing for caAlias")
	}
	return secret.New(pemfile.Bundle{Certificates: issuers}.PEM()), nil
}

// belongs is 1 for the certificate of one of keys, 0 for any other.
func belongs(keys []pemfile.Key, certificate pemfile.Certificate) int {
	if slices.ContainsFunc(keys, func(k pemfile.Key) bool { return k.Matches(certificate) }) {
		return 1
	}
	return 0
}

// leaf makes the content of an object of type cert.
func leaf(rd read, der secret.Value) (secret.Value, error) {
	if der.Len() == 0 {
		return secret.Value{}, reason.New(reason.VaultAnswerInvalid, "see what answers under that name, a proxy perhaps",
			"%s: certificate value is nil", rd.object.place)
	}
	return secret.New(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der.Reveal()})), nil
}
