// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // the digest of older PKCS#12 files
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"hash"
	"unicode/utf16"
	"unicode/utf8"
)

// Object identifiers of digests (RFC 3279, RFC 5754) and of HMACs with them (RFC 8018 appendix B.1).
const (
	oidSHA1       = "1.3.14.3.2.26"
	oidSHA224     = "2.16.840.1.101.3.4.2.4"
	oidSHA256     = "2.16.840.1.101.3.4.2.1"
	oidSHA384     = "2.16.840.1.101.3.4.2.2"
	oidSHA512     = "2.16.840.1.101.3.4.2.3"
	oidHMACSHA1   = "1.2.840.113549.2.7"
	oidHMACSHA224 = "1.2.840.113549.2.8"
	oidHMACSHA256 = "1.2.840.113549.2.9"
	oidHMACSHA384 = "1.2.840.113549.2.10"
	oidHMACSHA512 = "1.2.840.113549.2.11"
)

// maxRounds bounds the digests that one file may ask for, some seconds of work. Programs write 1 to 10,000 iterations; the highest
// advice in use is about 1.3 million, and a file needs them for its MAC, its certificates and each key.
const maxRounds = 10_000_000

// rounds is how many digests may still be computed.
type rounds int

// spend takes the work of deriving size bytes with a digest, and refuses it if it is too much.
func (r *rounds) spend(iterations, size int, d digest) error {
	if iterations < 1 {
		return ErrPKCS12
	}
	blocks := (size + d.size - 1) / d.size
	if iterations > maxRounds || iterations*blocks > int(*r) {
		return ErrTooMuchWork
	}
	*r -= rounds(iterations * blocks)
	return nil
}

// digest is a hash function with its sizes in bytes.
type digest struct {
	new         func() hash.Hash
	size, block int
}

func digestOf(oid string) (digest, bool) {
	switch oid {
	case oidSHA1:
		return digest{sha1.New, sha1.Size, sha1.BlockSize}, true
	case oidSHA224:
		return digest{sha256.New224, sha256.Size224, sha256.BlockSize}, true
	case oidSHA256:
		return digest{sha256.New, sha256.Size, sha256.BlockSize}, true
	case oidSHA384:
		return digest{sha512.New384, sha512.Size384, sha512.BlockSize}, true
	case oidSHA512:
		return digest{sha512.New, sha512.Size, sha512.BlockSize}, true
	}
	return digest{}, false
}

func hmacOf(oid string) (digest, bool) {
	switch oid {
	case oidHMACSHA1:
		return digestOf(oidSHA1)
	case oidHMACSHA224:
		return digestOf(oidSHA224)
	case oidHMACSHA256:
		return digestOf(oidSHA256)
	case oidHMACSHA384:
		return digestOf(oidSHA384)
	case oidHMACSHA512:
		return digestOf(oidSHA512)
	}
	return digest{}, false
}

// password is one password in the two encodings that PKCS#12 files use.
type password struct {
	// bmp is a BMPString with a terminator (RFC 7292 appendix B.1).
	bmp []byte
	// utf8 is for PBKDF2 (RFC 8018 §3).
	utf8 string
}

// encodings returns the encodings to try for a password: some programs write an empty password as no bytes at all.
func encodings(text string) ([]password, error) {
	if !utf8.ValidString(text) {
		return nil, ErrPassword
	}
	var bmp []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		bmp = append(bmp, byte(unit>>8), byte(unit))
	}
	passwords := []password{{bmp: append(bmp, 0, 0), utf8: text}}
	if text == "" {
		passwords = append(passwords, password{})
	}
	return passwords, nil
}

// The purposes of a derivation, the diversifier of RFC 7292 appendix B.3.
const (
	kdfForKey byte = 1
	kdfForIV  byte = 2
	kdfForMAC byte = 3
)

// pkcs12KDF derives size bytes from a password as in RFC 7292 appendix B.2; the names are those of its steps.
func pkcs12KDF(d digest, purpose byte, salt []byte, p password, iterations, size int, work *rounds) ([]byte, error) {
	if err := work.spend(iterations, size, d); err != nil {
		return nil, err
	}
	v := d.block
	diversifier := bytes.Repeat([]byte{purpose}, v)
	i := append(fill(salt, v), fill(p.bmp, v)...)
	var derived []byte
	for h := d.new(); len(derived) < size; {
		h.Reset()
		h.Write(diversifier)
		h.Write(i)
		a := h.Sum(nil)
		for range iterations - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		derived = append(derived, a...)
		addToBlocks(i, fill(a, v)[:v])
	}
	return derived[:size], nil
}

// fill repeats data up to a whole number of blocks of v bytes; nothing stays nothing.
func fill(data []byte, v int) []byte {
	if len(data) == 0 {
		return nil
	}
	length := (len(data) + v - 1) / v * v
	return bytes.Repeat(data, length/len(data)+1)[:length]
}

// addToBlocks adds b + 1 to each block of i, as big-endian numbers modulo the block.
func addToBlocks(i, b []byte) {
	for ; len(i) > 0; i = i[len(b):] {
		carry := 1
		for at := len(b) - 1; at >= 0; at-- {
			carry += int(i[at]) + int(b[at])
			i[at] = byte(carry)
			carry >>= 8
		}
	}
}

// pbkdf2Params is PBKDF2-params of RFC 8018 appendix A.2.
type pbkdf2Params struct {
	Salt       rawElement
	Iterations int
	KeyLength  int                 `asn1:"optional"`
	PRF        algorithmIdentifier `asn1:"optional"`
}

func parsePBKDF2(algorithm algorithmIdentifier) (pbkdf2Params, error) {
	var params pbkdf2Params
	if algorithm.Algorithm.String() != oidPBKDF2 {
		return params, unsupported("key derivation", algorithm.Algorithm)
	}
	if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil || params.Salt.Tag != asn1.TagOctetString {
		return params, ErrPKCS12
	}
	return params, nil
}

// derive returns a key of size bytes.
func (k pbkdf2Params) derive(p password, size int, work *rounds) ([]byte, error) {
	d, ok := digestOf(oidSHA1)
	if len(k.PRF.Algorithm) > 0 {
		d, ok = hmacOf(k.PRF.Algorithm.String())
	}
	if !ok {
		return nil, unsupported("key derivation", k.PRF.Algorithm)
	}
	if err := work.spend(k.Iterations, size, d); err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(d.new, p.utf8, k.Salt.Bytes, k.Iterations, size)
	if err != nil {
		return nil, ErrAlgorithm
	}
	return key, nil
}
