// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
)

// Parse reads the content of a certificate's secret: PEM text, or a PKCS#12 file with an empty password, either binary or in base64
// as Key Vault keeps it.
func Parse(content []byte) (Bundle, error) {
	text := withoutMark(content)
	if block, _ := pem.Decode(text); block != nil {
		return ParsePEM(text)
	}
	der := content
	if decoded, ok := decodeBase64(text); ok {
		der = decoded
	}
	var element rawElement
	if err := unmarshal(der, &element); err != nil || !looksLikePKCS12(element) {
		return Bundle{}, ErrFormat
	}
	return ParsePKCS12(der, "")
}

// withoutMark takes away the byte order mark that editors put before UTF-8 text, which would hide the first PEM block.
func withoutMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) }

// decodeBase64 reads base64 with or without line breaks.
func decodeBase64(text []byte) ([]byte, bool) {
	joined := bytes.Join(bytes.Fields(text), nil)
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(joined)))
	n, err := base64.StdEncoding.Decode(decoded, joined)
	return decoded[:n], err == nil && n > 0
}

// ParsePEM reads PEM text (RFC 7468). Headers, text between the blocks, and blocks that are neither certificates nor private keys are
// ignored. Text without any block is an empty bundle.
func ParsePEM(text []byte) (Bundle, error) {
	var bundle Bundle
	for rest := withoutMark(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return bundle, nil
		}
		if err := bundle.add(block); err != nil {
			return Bundle{}, err
		}
	}
}

func (b *Bundle) add(block *pem.Block) error {
	switch {
	case block.Type == typeCertificate:
		certificate, err := parseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("%w: number %d in the PEM text", err, len(b.Certificates)+1)
		}
		b.Certificates = append(b.Certificates, certificate)
	case !strings.HasSuffix(block.Type, typePrivateKey):
	case encrypted(block):
		return ErrEncryptedKey
	case strings.HasPrefix(block.Type, "OPENSSH"):
		return fmt.Errorf("%w: it is in the OpenSSH format", ErrKey)
	default:
		key, err := parseKey(block.Bytes)
		if err != nil {
			return err
		}
		b.Keys = append(b.Keys, key)
	}
	return nil
}

// encrypted reports whether a block is a PKCS#8 EncryptedPrivateKeyInfo, or encrypted as in RFC 1421.
func encrypted(block *pem.Block) bool {
	return strings.HasPrefix(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
}

// SplitPEM splits PEM text into the CERTIFICATE blocks and all other blocks, each in the order of the text. Headers stay; what stands
// between the blocks goes.
func SplitPEM(text []byte) (certificates, others []byte) {
	for rest := withoutMark(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return certificates, others
		}
		encoded := pem.EncodeToMemory(block)
		if block.Type == typeCertificate {
			certificates = append(certificates, encoded...)
		} else {
			others = append(others, encoded...)
		}
	}
}
