// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"encoding/asn1"
	"errors"
	"fmt"
)

// The reader is our own since software.sslmate.com/src/go-pkcs12 reads exactly one key, fails on keys and certificates that
// crypto/x509 cannot read, and computes as many iterations as the file asks for. The tests use that module to write files.

// Object identifiers of PKCS#12 (RFC 7292 §4, appendix D) and PKCS#7 (RFC 2315 §14).
const (
	oidData          = "1.2.840.113549.1.7.1"
	oidEncryptedData = "1.2.840.113549.1.7.6"
	oidKeyBag        = "1.2.840.113549.1.12.10.1.1"
	oidShroudedKey   = "1.2.840.113549.1.12.10.1.2"
	oidCertBag       = "1.2.840.113549.1.12.10.1.3"
	oidSafeContents  = "1.2.840.113549.1.12.10.1.6"
	oidX509          = "1.2.840.113549.1.9.22.1"
)

// maxNesting bounds SafeContents bags within each other; nobody writes more than one.
const maxNesting = 4

// pfx is PFX of RFC 7292 §4.
type pfx struct {
	Version  int
	AuthSafe contentInfo
	MAC      macData `asn1:"optional"`
}

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content rawElement `asn1:"tag:0,explicit,optional"`
}

// encryptedData is EncryptedData of RFC 2315 §13.
type encryptedData struct {
	Version int
	Content struct {
		Type      asn1.ObjectIdentifier
		Algorithm algorithmIdentifier
		Data      []byte `asn1:"tag:0,optional"`
	}
}

// encryptedKey is EncryptedPrivateKeyInfo of RFC 5208 §6.
type encryptedKey struct {
	Algorithm algorithmIdentifier
	Data      []byte
}

// safeBag is SafeBag of RFC 7292 §4.2. Attributes, such as a friendly name, are not needed.
type safeBag struct {
	Type       asn1.ObjectIdentifier
	Value      rawElement `asn1:"tag:0,explicit"`
	Attributes rawElement `asn1:"optional"`
}

type certBag struct {
	Type asn1.ObjectIdentifier
	Data rawElement `asn1:"tag:0,explicit"`
}

// ParsePKCS12 reads a PKCS#12 file (RFC 7292) in DER with its password, which may be empty. It reads password-based encryption with
// 3DES and RC2 (RFC 7292 appendix C) and PBES2 with AES (RFC 8018), and checks MACs of the SHA family (RFC 7292 §4, RFC 9579); a
// file without a MAC or encryption is read as well. Bags of other kinds, such as CRLs, are left out.
func ParsePKCS12(der []byte, password string) (Bundle, error) {
	return parsePKCS12(der, password, maxRounds)
}

func parsePKCS12(der []byte, password string, work rounds) (Bundle, error) {
	var file pfx
	if err := unmarshal(der, &file); err != nil {
		return Bundle{}, fmt.Errorf("%w: it is not DER, or not complete", ErrPKCS12)
	}
	if file.Version != 3 {
		return Bundle{}, fmt.Errorf("%w: version %d", ErrPKCS12, file.Version)
	}
	content, err := file.AuthSafe.data()
	if err != nil {
		return Bundle{}, err
	}
	passwords, err := encodings(password)
	if err != nil {
		return Bundle{}, err
	}
	reader := safeReader{work: work}
	if file.MAC.present() {
		return reader.authenticated(file.MAC, content, passwords)
	}
	// Without a MAC only the decryption tells which encoding of the password is right.
	for _, p := range passwords {
		if err = reader.read(content, p); !errors.Is(err, ErrPassword) {
			break
		}
		reader.bundle = Bundle{}
	}
	return reader.result(err)
}

// looksLikePKCS12 tells a PKCS#12 file from other ASN.1, such as a bare certificate: it begins with the version, 3.
func looksLikePKCS12(element rawElement) bool {
	var version int
	_, err := asn1.Unmarshal(element.Bytes, &version)
	return err == nil && element.Tag == asn1.TagSequence && version == 3
}

// safeReader collects the bags of a file.
type safeReader struct {
	bundle Bundle
	work   rounds
}

func (r *safeReader) result(err error) (Bundle, error) {
	if err != nil {
		return Bundle{}, err
	}
	return r.bundle, nil
}

// authenticated reads the file with the first password that its MAC agrees with.
func (r *safeReader) authenticated(mac macData, content []byte, passwords []password) (Bundle, error) {
	for _, p := range passwords {
		ok, err := mac.verify(content, p, &r.work)
		if err != nil {
			return Bundle{}, err
		}
		if ok {
			return r.result(r.read(content, p))
		}
	}
	return Bundle{}, ErrPassword
}

// read reads an AuthenticatedSafe.
func (r *safeReader) read(der []byte, p password) error {
	var safes []contentInfo
	if err := unmarshal(der, &safes); err != nil {
		return ErrPKCS12
	}
	for _, safe := range safes {
		content, err := r.open(safe, p)
		if err != nil {
			return err
		}
		if err := r.readBags(content, p, 0); err != nil {
			return err
		}
	}
	return nil
}

func (r *safeReader) open(safe contentInfo, p password) ([]byte, error) {
	if safe.Type.String() != oidEncryptedData {
		return safe.data()
	}
	var sealed encryptedData
	if err := unmarshal(safe.Content.Bytes, &sealed); err != nil {
		return nil, ErrPKCS12
	}
	return decrypt(sealed.Content.Algorithm, sealed.Content.Data, p, &r.work)
}

// data returns the content of a ContentInfo of type data.
func (c contentInfo) data() ([]byte, error) {
	if c.Type.String() != oidData {
		return nil, unsupported("content", c.Type)
	}
	var content []byte
	if err := unmarshal(c.Content.Bytes, &content); err != nil {
		return nil, ErrPKCS12
	}
	return content, nil
}

// readBags reads a SafeContents.
func (r *safeReader) readBags(der []byte, p password, depth int) error {
	var bags []safeBag
	if err := unmarshal(der, &bags); err != nil {
		return ErrPKCS12
	}
	for _, bag := range bags {
		if err := r.readBag(bag, p, depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *safeReader) readBag(bag safeBag, p password, depth int) error {
	switch bag.Type.String() {
	case oidKeyBag:
		return r.addKey(bag.Value.Bytes)
	case oidShroudedKey:
		var sealed encryptedKey
		if err := unmarshal(bag.Value.Bytes, &sealed); err != nil {
			return ErrPKCS12
		}
		pkcs8, err := decrypt(sealed.Algorithm, sealed.Data, p, &r.work)
		if err != nil {
			return err
		}
		return r.addKey(pkcs8)
	case oidCertBag:
		return r.addCertificate(bag.Value.Bytes)
	case oidSafeContents:
		if depth == maxNesting {
			return fmt.Errorf("%w: nested too deeply", ErrPKCS12)
		}
		return r.readBags(bag.Value.Bytes, p, depth+1)
	}
	return nil
}

func (r *safeReader) addKey(pkcs8 []byte) error {
	key, err := parsePKCS8(pkcs8)
	if err != nil {
		return err
	}
	r.bundle.Keys = append(r.bundle.Keys, key)
	return nil
}

func (r *safeReader) addCertificate(der []byte) error {
	var bag certBag
	if err := unmarshal(der, &bag); err != nil {
		return ErrPKCS12
	}
	if bag.Type.String() != oidX509 {
		return nil
	}
	var encoded []byte
	if err := unmarshal(bag.Data.Bytes, &encoded); err != nil {
		return ErrPKCS12
	}
	certificate, err := parseCertificate(encoded)
	if err != nil {
		return fmt.Errorf("%w: number %d in the PKCS#12 file", err, len(r.bundle.Certificates)+1)
	}
	r.bundle.Certificates = append(r.bundle.Certificates, certificate)
	return nil
}
