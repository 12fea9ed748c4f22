// SPDX-License-Identifier: Apache-2.0

package pemfile_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/internal/pemfile"
)

// encoders are the ways in which another implementation writes PKCS#12.
func encoders() map[string]*pkcs12.Encoder {
	return map[string]*pkcs12.Encoder{
		"legacy RC2":          pkcs12.LegacyRC2,
		"legacy 3DES":         pkcs12.LegacyDES,
		"modern 2023":         pkcs12.Modern2023,
		"modern 2026, PBMAC1": pkcs12.Modern2026,
		"without a password":  pkcs12.Passwordless,
		"many iterations":     pkcs12.Modern2023.WithIterations(20_000),
	}
}

func TestParsePKCS12OfEveryEncoderAndKey(t *testing.T) {
	for kind, key := range keyKinds(t) {
		root := certify(t, "root", ecKey(t), nil)
		leaf := certify(t, "leaf", key, root)
		for encoding, encoder := range encoders() {
			for _, password := range []string{"", "s3cret", "pässwörd €"} {
				if encoding == "without a password" && password != "" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%q", kind, encoding, password), func(t *testing.T) {
					file := must(encoder.Encode(key, leaf.cert, []*x509.Certificate{root.cert}, password))(t)
					bundle := must(pemfile.ParsePKCS12(file, password))(t)
					want := append(pkcs8PEM(t, key), certPEM(leaf, root)...)
					if got := bundle.PEM(); !bytes.Equal(got, want) {
						t.Fatalf("got\n%s\nwant\n%s", got, want)
					}
				})
			}
		}
	}
}

func TestParsePKCS12OfOpenSSL(t *testing.T) {
	key := must(x509.ParsePKCS8PrivateKey(blockOf(t, fixture(t, "leaf.key"))))(t).(crypto.Signer)
	want := append(append(pkcs8PEM(t, key), fixture(t, "leaf.crt")...), fixture(t, "ca.crt")...)
	for _, name := range []string{
		"default", "nomac", "plain", "plain-nomac", "aes128-sha384", "des3-sha512", "rc2-128", "legacy",
	} {
		t.Run(name, func(t *testing.T) {
			bundle := must(pemfile.ParsePKCS12(fixture(t, name+".pfx"), ""))(t)
			if got := bundle.PEM(); !bytes.Equal(got, want) {
				t.Fatalf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func blockOf(t tester, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM block")
	}
	return block.Bytes
}

func TestSecp256k1PassesThrough(t *testing.T) {
	text := fixture(t, "secp256k1.pem")
	var blocks [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, pem.EncodeToMemory(block))
	}
	pkcs8, sec1, cert := blocks[0], blocks[1], blocks[2]
	fromFile := must(pemfile.ParsePKCS12(fixture(t, "secp256k1.pfx"), ""))(t)
	if got, want := fromFile.PEM(), bytes.Join([][]byte{pkcs8, cert}, nil); !bytes.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	for form, key := range map[string][]byte{"PKCS#8": pkcs8, "SEC 1": sec1} {
		t.Run(form, func(t *testing.T) {
			bundle := bundleOf(t, bytes.Join([][]byte{cert, key}, nil))
			if !bundle.Keys[0].Matches(fromFile.Certificates[0]) {
				t.Fatal("the key does not match its certificate")
			}
			if bundle.Certificates[0].X509() != nil || bundle.Keys[0].Matches(bundleOf(t, fixture(t, "ca.crt")).Certificates[0]) {
				t.Fatal("the key matches another certificate")
			}
			crt, tlsKey, ca, err := bundle.TLSPair()
			if err != nil || !bytes.Equal(crt, cert) || !bytes.Equal(ca, cert) {
				t.Fatalf("got %v\n%s\n%s", err, crt, ca)
			}
			if again := bundleOf(t, tlsKey); !again.Keys[0].Matches(bundle.Certificates[0]) {
				t.Fatal("tls.key is another key")
			}
		})
	}
}

// bag is a safe bag for files that no encoder writes.
func bag(t tester, oid asn1.ObjectIdentifier, value any) []byte {
	t.Helper()
	inner := must(asn1.Marshal(value))(t)
	return must(asn1.Marshal(struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}{oid, explicit(inner)}))(t)
}

func explicit(der []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der}
}

func sequence(elements ...[]byte) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: bytes.Join(elements, nil)}
}

func bagType(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, n}
}

func keyBag(t tester, key crypto.Signer) []byte {
	t.Helper()
	return bag(t, bagType(1), asn1.RawValue{FullBytes: must(x509.MarshalPKCS8PrivateKey(key))(t)})
}

func certBag(t tester, e *entity) []byte {
	t.Helper()
	return bag(t, bagType(3), struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}, explicit(must(asn1.Marshal(e.cert.Raw))(t))})
}

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue
}

func dataOf(t tester, content []byte) contentInfo {
	t.Helper()
	return contentInfo{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, explicit(must(asn1.Marshal(content))(t))}
}

// plainFile is a PKCS#12 file without encryption or MAC, with one safe for each list of bags.
func plainFile(t tester, safes ...[][]byte) []byte {
	t.Helper()
	var contents []contentInfo
	for _, bags := range safes {
		contents = append(contents, dataOf(t, must(asn1.Marshal(sequence(bags...)))(t)))
	}
	return must(asn1.Marshal(struct {
		Version int
		Safe    contentInfo
	}{3, dataOf(t, must(asn1.Marshal(contents))(t))}))(t)
}

func TestParsePKCS12WithSeveralKeysAndSafes(t *testing.T) {
	chain := hierarchy(t, 3)
	other, last := ecKey(t), ecKey(t)
	crl := bag(t, bagType(4), sequence())
	nested := bag(t, bagType(6), sequence(keyBag(t, chain[0].key), certBag(t, chain[0])))
	file := plainFile(t, [][]byte{keyBag(t, other), certBag(t, chain[2])}, [][]byte{crl, nested}, nil,
		[][]byte{certBag(t, chain[1]), keyBag(t, last)})
	bundle := must(pemfile.ParsePKCS12(file, ""))(t)

	want := bytes.Join([][]byte{
		pkcs8PEM(t, other), pkcs8PEM(t, chain[0].key), pkcs8PEM(t, last), certPEM(chain[2], chain[0], chain[1]),
	}, nil)
	if got := bundle.PEM(); !bytes.Equal(got, want) {
		t.Fatalf("not in the order of the file:\n%s\nwant\n%s", got, want)
	}
	want = bytes.Join([][]byte{
		pkcs8PEM(t, chain[0].key), pkcs8PEM(t, other), pkcs8PEM(t, last), certPEM(chain...),
	}, nil)
	if got := must(bundle.Ordered())(t).PEM(); !bytes.Equal(got, want) {
		t.Fatalf("not in the order of TLS:\n%s\nwant\n%s", got, want)
	}
}

func TestParsePKCS12Refuses(t *testing.T) {
	leaf := certify(t, "leaf", ecKey(t), nil)
	modern := must(pkcs12.Modern2023.Encode(leaf.key, leaf.cert, nil, "right"))(t)
	nest := func(depth int) []byte {
		inner := certBag(t, leaf)
		for range depth {
			inner = bag(t, bagType(6), sequence(inner))
		}
		return plainFile(t, [][]byte{inner})
	}
	tests := map[string]struct {
		file     []byte
		password string
		want     error
	}{
		"empty":                    {nil, "", pemfile.ErrPKCS12},
		"a certificate":            {leaf.cert.Raw, "", pemfile.ErrPKCS12},
		"data after the file":      {append(bytes.Clone(modern), 0), "right", pemfile.ErrPKCS12},
		"cut off":                  {modern[:len(modern)-1], "right", pemfile.ErrPKCS12},
		"version 4":                {bytes.Replace(modern, []byte{2, 1, 3}, []byte{2, 1, 4}, 1), "right", pemfile.ErrPKCS12},
		"wrong password":           {modern, "wrong", pemfile.ErrPassword},
		"no password":              {modern, "", pemfile.ErrPassword},
		"password not UTF-8":       {modern, "\xff", pemfile.ErrPassword},
		"no MAC, wrong password":   {fixture(t, "nomac.pfx"), "wrong", pemfile.ErrPassword},
		"nested":                   {nest(5), "", pemfile.ErrPKCS12},
		"nested beyond all reason": {nest(2000), "", pemfile.ErrPKCS12},
		"a broken key": {
			plainFile(t, [][]byte{bag(t, bagType(1), sequence())}), "", pemfile.ErrKey,
		},
		"a broken certificate": {
			plainFile(t, [][]byte{certBag(t, &entity{cert: &x509.Certificate{Raw: []byte("x")}})}), "", pemfile.ErrCertificate,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := pemfile.ParsePKCS12(test.file, test.password)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("more than one line: %q", err)
			}
		})
	}
	if _, err := pemfile.ParsePKCS12(nest(4), ""); err != nil {
		t.Fatalf("a sane depth: %v", err)
	}
}

// withMAC makes a file whose MAC says what the test wants.
func withMAC(t tester, algorithm pkix.AlgorithmIdentifier, iterations int) []byte {
	t.Helper()
	return must(asn1.Marshal(struct {
		Version int
		Safe    contentInfo
		MAC     any
	}{3, dataOf(t, must(asn1.Marshal([]contentInfo{}))(t)), struct {
		Digest struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt       []byte
		Iterations int
	}{struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}{algorithm, make([]byte, 20)}, make([]byte, 8), iterations}}))(t)
}

func TestParsePKCS12BoundsItsWork(t *testing.T) {
	sha1 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}}
	pbmac1 := func(iterations, keyLength int) pkix.AlgorithmIdentifier {
		hmac := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}}
		kdf := must(asn1.Marshal(struct {
			Salt            []byte
			Iterations, Key int
			PRF             pkix.AlgorithmIdentifier
		}{make([]byte, 8), iterations, keyLength, hmac}))(t)
		params := must(asn1.Marshal(struct{ KDF, MAC pkix.AlgorithmIdentifier }{
			pkix.AlgorithmIdentifier{
				Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12},
				Parameters: asn1.RawValue{FullBytes: kdf},
			}, hmac,
		}))(t)
		return pkix.AlgorithmIdentifier{
			Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14},
			Parameters: asn1.RawValue{FullBytes: params},
		}
	}
	tests := map[string]struct {
		file []byte
		want error
	}{
		"MAC iterations":          {withMAC(t, sha1, 1<<31-1), pemfile.ErrTooMuchWork},
		"MAC iterations overflow": {withMAC(t, sha1, 1<<62), pemfile.ErrTooMuchWork},
		"no MAC iterations":       {withMAC(t, sha1, 0), pemfile.ErrPKCS12},
		"negative MAC iterations": {withMAC(t, sha1, -1), pemfile.ErrPKCS12},
		"PBMAC1 iterations":       {withMAC(t, pbmac1(1<<40, 32), 1), pemfile.ErrTooMuchWork},
		"PBMAC1 short key":        {withMAC(t, pbmac1(1, 8), 1), pemfile.ErrAlgorithm},
		"PBMAC1 long key":         {withMAC(t, pbmac1(1, 1<<30), 1), pemfile.ErrAlgorithm},
		"MAC with MD5": {
			withMAC(t, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}}, 1), pemfile.ErrAlgorithm,
		},
		"encryption iterations": {plainFile(t, [][]byte{costlyBag(t)}), pemfile.ErrTooMuchWork},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := pemfile.ParsePKCS12(test.file, ""); !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
		})
	}
}

// costlyBag is a shrouded key that wants very many iterations.
func costlyBag(t tester) []byte {
	t.Helper()
	params := must(asn1.Marshal(struct {
		Salt       []byte
		Iterations int
	}{make([]byte, 8), 1 << 31}))(t)
	return bag(t, bagType(2), struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}{pkix.AlgorithmIdentifier{
		Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 3},
		Parameters: asn1.RawValue{FullBytes: params},
	}, make([]byte, 64)})
}

func TestKeysDoNotPrintThemselves(t *testing.T) {
	key := ecKey(t)
	bundle := bundleOf(t, pkcs8PEM(t, key))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		got := fmt.Sprintf(verb+" "+verb, bundle.Keys[0], bundle.Keys)
		if !strings.Contains(got, "[private key]") || len(got) > 100 {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}
