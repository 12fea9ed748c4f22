// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"

	"github.com/vaultferry/vaultferry/internal/core"
	"github.com/vaultferry/vaultferry/internal/pemfile"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

// checkContent holds what the files hold against what the API server asks of a type; [entry.checkKeys] has seen to the keys.
func (e entry) checkContent(kind core.SecretType, data map[string]secret.Value) *reason.Error {
	switch kind {
	case core.SecretTypeDockerConfigJson:
		return e.checkJSON(kind, data, core.DockerConfigJsonKey)
	case core.SecretTypeDockercfg:
		return e.checkJSON(kind, data, core.DockerConfigKey)
	case core.SecretTypeSSHAuth:
		if data[core.SSHAuthPrivateKey].Len() == 0 {
			return e.invalid("put a private key into the vault's secret", "the file of %q is empty", core.SSHAuthPrivateKey)
		}
	}
	return nil
}

func (e entry) checkJSON(kind core.SecretType, data map[string]secret.Value, key string) *reason.Error {
	// The API server wants an object; what is wrong with the text is not told, since that would quote it.
	if err := json.Unmarshal(data[key].Reveal(), &map[string]any{}); err != nil {
		return e.invalid("put a Docker configuration in JSON into the vault's secret", "the file of %q holds no JSON object, which type %s needs", key, kind)
	}
	return nil
}

// caKey is the key of a Secret of type kubernetes.io/tls that holds the issuers' certificates.
const caKey = "ca.crt"

// tlsData makes tls.crt, tls.key and ca.crt of files that hold certificates and keys in any mixture, in PEM or PKCS#12.
func (e entry) tlsData(sources map[string]secret.File) (map[string]secret.Value, *reason.Error) {
	certificateFile, keyFile := sources[core.TLSCertKey], sources[core.TLSPrivateKeyKey]
	certificates, problem := e.parse(certificateFile)
	if problem != nil {
		return nil, problem
	}
	keys, problem := e.parse(keyFile)
	if problem != nil {
		return nil, problem
	}
	both := pemfile.Bundle{Certificates: certificates.Certificates, Keys: keys.Keys}
	crt, key, ca, err := both.TLSPair()
	if err != nil {
		return nil, e.noPair(certificateFile.Path, keyFile.Path, err)
	}
	data := map[string]secret.Value{core.TLSCertKey: secret.New(crt), core.TLSPrivateKeyKey: secret.New(key)}
	caFile, wanted := sources[caKey]
	if !wanted {
		return data, nil
	}
	if caFile.Path != certificateFile.Path {
		if ca, problem = e.issuers(caFile, crt); problem != nil {
			return nil, problem
		}
	} else if len(ca) == 0 && selfSigned(both.Certificates) {
		ca = crt
	}
	if len(ca) == 0 {
		return nil, e.invalid("name a file with the issuer's certificate, or leave ca.crt out", "ca.crt from file %s: it holds no issuer", caFile.Path)
	}
	data[caKey] = secret.New(ca)
	return data, nil
}

// noPair says why two files, or one for both, make no pair.
func (e entry) noPair(certificateFile, keyFile string, err error) *reason.Error {
	next := "check that both come from the same certificate of the vault"
	if errors.Is(err, pemfile.ErrNoKey) || errors.Is(err, pemfile.ErrNoCertificate) {
		next = "mount the certificate with objectType: secret, which has its chain and its private key, and name that file for both keys"
	}
	return e.invalid(next, "tls.crt from file %s and tls.key from file %s: %w", certificateFile, keyFile, err)
}

func (e entry) parse(file secret.File) (pemfile.Bundle, *reason.Error) {
	bundle, err := pemfile.Parse(file.Content.Reveal())
	if err != nil {
		return pemfile.Bundle{}, e.invalid("put a certificate or key in PEM or PKCS#12 into the vault", "file %s: %w", file.Path, err)
	}
	return bundle, nil
}

// issuers returns the certificates of a file in PEM, without the leaf of crt unless there is nothing else.
func (e entry) issuers(file secret.File, crt []byte) ([]byte, *reason.Error) {
	bundle, problem := e.parse(file)
	if problem != nil {
		return nil, problem
	}
	leaf, _ := pem.Decode(crt)
	others := slices.DeleteFunc(slices.Clone(bundle.Certificates), func(c pemfile.Certificate) bool { return bytes.Equal(c.DER(), leaf.Bytes) })
	if len(others) == 0 && selfSigned(bundle.Certificates) {
		others = bundle.Certificates
	}
	return pemfile.Bundle{Certificates: others}.PEM(), nil
}

// selfSigned reports whether the only certificate is its own issuer.
func selfSigned(certificates []pemfile.Certificate) bool {
	if len(certificates) != 1 {
		return false
	}
	parsed := certificates[0].X509()
	return parsed != nil && bytes.Equal(parsed.RawIssuer, parsed.RawSubject)
}
