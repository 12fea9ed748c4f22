// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // what PKCS#12 files of many vaults are encrypted with
	"crypto/hmac"
	"encoding/asn1"
	"fmt"
	"slices"
)

// Object identifiers of password-based encryption (RFC 7292 appendix C, RFC 8018, RFC 3565).
const (
	oidPBE3DES    = "1.2.840.113549.1.12.1.3"
	oidPBE2DES    = "1.2.840.113549.1.12.1.4"
	oidPBERC2128  = "1.2.840.113549.1.12.1.5"
	oidPBERC240   = "1.2.840.113549.1.12.1.6"
	oidPBES2      = "1.2.840.113549.1.5.13"
	oidPBMAC1     = "1.2.840.113549.1.5.14"
	oidPBKDF2     = "1.2.840.113549.1.5.12"
	oidDESEDE3CBC = "1.2.840.113549.3.7"
	oidAES128CBC  = "2.16.840.1.101.3.4.1.2"
	oidAES192CBC  = "2.16.840.1.101.3.4.1.22"
	oidAES256CBC  = "2.16.840.1.101.3.4.1.42"
)

// macData is MacData of RFC 7292 §4.
type macData struct {
	MAC struct {
		Algorithm algorithmIdentifier
		Digest    []byte
	}
	Salt       []byte
	Iterations int `asn1:"optional,default:1"`
}

func (m macData) present() bool { return len(m.MAC.Algorithm.Algorithm) > 0 }

// minPBMAC1Key is the least length of a key in bytes that RFC 9579 §9 recommends to accept: shorter ones can be guessed.
const minPBMAC1Key = 20

// verify reports whether the MAC of content agrees with the password.
func (m macData) verify(content []byte, p password, work *rounds) (bool, error) {
	digest, key, err := m.key(p, work)
	if err != nil {
		return false, err
	}
	mac := hmac.New(digest.new, key)
	mac.Write(content)
	return hmac.Equal(mac.Sum(nil), m.MAC.Digest), nil
}

// key derives the key of the MAC, and says which digest it is for.
func (m macData) key(p password, work *rounds) (digest, []byte, error) {
	algorithm := m.MAC.Algorithm.Algorithm.String()
	if algorithm != oidPBMAC1 {
		d, ok := digestOf(algorithm)
		if !ok {
			return digest{}, nil, unsupported("MAC", m.MAC.Algorithm.Algorithm)
		}
		key, err := pkcs12KDF(d, kdfForMAC, m.Salt, p, m.Iterations, d.size, work)
		return d, key, err
	}
	var params struct {
		KDF    algorithmIdentifier
		Scheme algorithmIdentifier
	}
	if err := unmarshal(m.MAC.Algorithm.Parameters.FullBytes, &params); err != nil {
		return digest{}, nil, ErrPKCS12
	}
	d, ok := hmacOf(params.Scheme.Algorithm.String())
	if !ok {
		return digest{}, nil, unsupported("MAC", params.Scheme.Algorithm)
	}
	kdf, err := parsePBKDF2(params.KDF)
	if err != nil {
		return digest{}, nil, err
	}
	if kdf.KeyLength < minPBMAC1Key || kdf.KeyLength > d.block {
		return digest{}, nil, fmt.Errorf("%w: a MAC key of %d bytes", ErrAlgorithm, kdf.KeyLength)
	}
	key, err := kdf.derive(p, kdf.KeyLength, work)
	return d, key, err
}

// unsupported names an algorithm by its object identifier, unless that is longer than any in use.
func unsupported(what string, algorithm asn1.ObjectIdentifier) error {
	if len(algorithm) > 20 {
		return fmt.Errorf("%w: %s", ErrAlgorithm, what)
	}
	return fmt.Errorf("%w: %s %s", ErrAlgorithm, what, algorithm)
}

// decrypt decrypts data with the password as the algorithm says, and takes away the padding.
func decrypt(algorithm algorithmIdentifier, data []byte, p password, work *rounds) ([]byte, error) {
	mode, err := decrypter(algorithm, p, work)
	if err != nil {
		return nil, err
	}
	size := mode.BlockSize()
	if len(data) == 0 || len(data)%size != 0 {
		return nil, fmt.Errorf("%w: encrypted data of %d bytes", ErrPKCS12, len(data))
	}
	plain := make([]byte, len(data))
	mode.CryptBlocks(plain, data)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > size {
		return nil, ErrPassword
	}
	text, pad := plain[:len(plain)-padding], plain[len(plain)-padding:]
	if !bytes.Equal(pad, bytes.Repeat([]byte{byte(padding)}, padding)) {
		return nil, ErrPassword
	}
	return text, nil
}

func decrypter(algorithm algorithmIdentifier, p password, work *rounds) (cipher.BlockMode, error) {
	switch algorithm.Algorithm.String() {
	case oidPBES2:
		return pbes2(algorithm, p, work)
	case oidPBE3DES:
		return legacyPBE(algorithm, p, 24, des.NewTripleDESCipher, work)
	case oidPBE2DES:
		twoKeys := func(key []byte) (cipher.Block, error) {
			return des.NewTripleDESCipher(slices.Concat(key, key[:8])) //nolint:gosec // see the import
		}
		return legacyPBE(algorithm, p, 16, twoKeys, work)
	case oidPBERC2128:
		return legacyPBE(algorithm, p, 16, newRC2, work)
	case oidPBERC240:
		return legacyPBE(algorithm, p, 5, newRC2, work)
	}
	return nil, unsupported("encryption", algorithm.Algorithm)
}

type newCipher func(key []byte) (cipher.Block, error)

// legacyPBE is the encryption of RFC 7292 appendix C, whose digest is SHA-1.
func legacyPBE(algorithm algorithmIdentifier, p password, keySize int, create newCipher, work *rounds) (cipher.BlockMode, error) {
	var params struct {
		Salt       []byte
		Iterations int
	}
	if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil {
		return nil, ErrPKCS12
	}
	d, _ := digestOf(oidSHA1)
	key, err := pkcs12KDF(d, kdfForKey, params.Salt, p, params.Iterations, keySize, work)
	if err != nil {
		return nil, err
	}
	block, err := create(key)
	if err != nil {
		return nil, ErrPKCS12
	}
	iv, err := pkcs12KDF(d, kdfForIV, params.Salt, p, params.Iterations, block.BlockSize(), work)
	if err != nil {
		return nil, err
	}
	return cipher.NewCBCDecrypter(block, iv), nil
}

// pbes2 is the encryption of RFC 8018 §6.2.
func pbes2(algorithm algorithmIdentifier, p password, work *rounds) (cipher.BlockMode, error) {
	var params struct {
		KDF    algorithmIdentifier
		Scheme algorithmIdentifier
	}
	if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil {
		return nil, ErrPKCS12
	}
	create, keySize := newCipher(aes.NewCipher), 16
	switch params.Scheme.Algorithm.String() {
	case oidAES128CBC:
	case oidAES192CBC:
		keySize = 24
	case oidAES256CBC:
		keySize = 32
	case oidDESEDE3CBC:
		create, keySize = des.NewTripleDESCipher, 24
	default:
		return nil, unsupported("encryption", params.Scheme.Algorithm)
	}
	kdf, err := parsePBKDF2(params.KDF)
	if err != nil {
		return nil, err
	}
	key, err := kdf.derive(p, keySize, work)
	if err != nil {
		return nil, err
	}
	block, err := create(key)
	if err != nil {
		return nil, ErrPKCS12
	}
	iv := params.Scheme.Parameters
	if iv.Tag != asn1.TagOctetString || len(iv.Bytes) != block.BlockSize() {
		return nil, fmt.Errorf("%w: an initialisation vector of %d bytes", ErrPKCS12, len(iv.Bytes))
	}
	return cipher.NewCBCDecrypter(block, iv.Bytes), nil
}
