// SPDX-License-Identifier: Apache-2.0

package pemfile_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/internal/pemfile"
)

func TestParsePEMReadsEveryFormOfKey(t *testing.T) {
	for kind, key := range keyKinds(t) {
		forms := map[string][]byte{"PRIVATE KEY": must(x509.MarshalPKCS8PrivateKey(key))(t)}
		switch k := key.(type) {
		case *rsa.PrivateKey:
			forms["RSA PRIVATE KEY"] = x509.MarshalPKCS1PrivateKey(k)
		case *ecdsa.PrivateKey:
			forms["EC PRIVATE KEY"] = must(x509.MarshalECPrivateKey(k))(t)
		}
		for form, der := range forms {
			// Some programs name every form PRIVATE KEY.
			for _, label := range []string{form, "PRIVATE KEY"} {
				t.Run(kind+"/"+form+"/"+label, func(t *testing.T) {
					bundle := bundleOf(t, pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
					if got, want := bundle.PEM(), pkcs8PEM(t, key); !bytes.Equal(got, want) {
						t.Fatalf("got\n%s\nwant\n%s", got, want)
					}
					if !bytes.Equal(bundle.Keys[0].PKCS8(), blockOf(t, bundle.PEM())) {
						t.Fatal("PKCS8 is something else")
					}
				})
			}
		}
	}
}

func TestParsePEMIgnoresWhatIsNotAsked(t *testing.T) {
	key := must(x509.ParsePKCS8PrivateKey(blockOf(t, fixture(t, "leaf.key"))))(t).(*ecdsa.PrivateKey)
	want := append(append(pkcs8PEM(t, key), fixture(t, "leaf.crt")...), fixture(t, "ca.crt")...)
	text := fixture(t, "bag-attributes.pem")
	if !bytes.Contains(text, []byte("friendlyName")) {
		t.Fatal("the fixture has no bag attributes")
	}
	parameters := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	headers := bytes.Replace(text, []byte("-----BEGIN CERTIFICATE-----\n"),
		[]byte("-----BEGIN CERTIFICATE-----\nlocalKeyId: 01\nfriendlyName: x\n\n"), 1)
	for name, variant := range map[string][]byte{
		"bag attributes":  text,
		"headers":         headers,
		"CRLF":            bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")),
		"byte order mark": append([]byte("\xef\xbb\xbf"), want...),
		"EC PARAMETERS":   append([]byte(parameters), text...),
	} {
		t.Run(name, func(t *testing.T) {
			if got := bundleOf(t, variant).PEM(); !bytes.Equal(got, want) {
				t.Fatalf("got\n%s\nwant\n%s", got, want)
			}
			if got := must(pemfile.Parse(variant))(t).PEM(); !bytes.Equal(got, want) {
				t.Fatalf("Parse: got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestParsePEMRefuses(t *testing.T) {
	canary := []byte("canary-hunter2-canary")
	block := func(label string, content []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: content})
	}
	good := certPEM(certify(t, "leaf", ecKey(t), nil))
	for name, test := range map[string]struct {
		text []byte
		want error
	}{
		"encrypted PKCS#8":  {fixture(t, "encrypted.pem"), pemfile.ErrEncryptedKey},
		"encrypted SEC 1":   {fixture(t, "encrypted-sec1.pem"), pemfile.ErrEncryptedKey},
		"OpenSSH":           {block("OPENSSH PRIVATE KEY", canary), pemfile.ErrKey},
		"no key":            {block("PRIVATE KEY", canary), pemfile.ErrKey},
		"cut off":           {block("PRIVATE KEY", blockOf(t, pkcs8PEM(t, ecKey(t)))[:40]), pemfile.ErrKey},
		"no certificate":    {append(bytes.Clone(good), block("CERTIFICATE", canary)...), pemfile.ErrCertificate},
		"certificate + 1":   {block("CERTIFICATE", append(blockOf(t, good), 0)), pemfile.ErrCertificate},
		"empty certificate": {block("CERTIFICATE", nil), pemfile.ErrCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pemfile.ParsePEM(test.text)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if encoded := base64.StdEncoding.EncodeToString(canary); strings.Contains(err.Error(), "canary") ||
				strings.Contains(err.Error(), encoded) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("the error quotes the content or has several lines: %q", err)
			}
		})
	}
	if bundle := bundleOf(t, []byte("nothing here")); len(bundle.PEM()) != 0 {
		t.Fatalf("text without blocks gave %s", bundle.PEM())
	}
}

func TestParseTellsFormatsApart(t *testing.T) {
	leaf := certify(t, "leaf", ecKey(t), nil)
	file := must(pkcs12.Modern2023.Encode(leaf.key, leaf.cert, nil, ""))(t)
	text := base64.StdEncoding.EncodeToString(file)
	want := append(pkcs8PEM(t, leaf.key), certPEM(leaf)...)
	for name, content := range map[string][]byte{
		"PEM":                     want,
		"binary":                  file,
		"base64":                  []byte(text),
		"base64 with line breaks": []byte(text[:64] + "\r\n" + text[64:] + "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if got := must(pemfile.Parse(content))(t).PEM(); !bytes.Equal(got, want) {
				t.Fatalf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
	for name, content := range map[string][]byte{
		"empty":              nil,
		"a password":         []byte("canary-hunter2"),
		"a word in base64":   []byte("aGVsbG8="),
		"a DER certificate":  leaf.cert.Raw,
		"a DER private key":  blockOf(t, pkcs8PEM(t, leaf.key)),
		"a cut off PEM text": want[:100],
		"a cut off PKCS#12":  file[:len(file)-1],
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := pemfile.Parse(content); !errors.Is(err, pemfile.ErrFormat) {
				t.Fatalf("got %v, want %v", err, pemfile.ErrFormat)
			}
		})
	}
	locked := must(pkcs12.Modern2023.Encode(leaf.key, leaf.cert, nil, "password"))(t)
	if _, err := pemfile.Parse(locked); !errors.Is(err, pemfile.ErrPassword) {
		t.Fatalf("got %v, want %v", err, pemfile.ErrPassword)
	}
}

func TestSplitPEM(t *testing.T) {
	chain := hierarchy(t, 2)
	key, other := pkcs8PEM(t, chain[0].key), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte{1}})
	headed := pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Bytes: chain[0].cert.Raw, Headers: map[string]string{"localKeyId": "01"},
	})
	text := bytes.Join([][]byte{[]byte("before\n"), headed, key, []byte("between\n"), certPEM(chain[1]), other}, nil)
	certificates, others := pemfile.SplitPEM(text)
	if want := append(bytes.Clone(headed), certPEM(chain[1])...); !bytes.Equal(certificates, want) {
		t.Errorf("certificates:\n%s\nwant\n%s", certificates, want)
	}
	if want := append(bytes.Clone(key), other...); !bytes.Equal(others, want) {
		t.Errorf("others:\n%s\nwant\n%s", others, want)
	}
	if certificates, others = pemfile.SplitPEM([]byte("MIIKagIBAzCCCiAGCSqGSIb3DQ==")); len(certificates)+len(others) > 0 {
		t.Errorf("base64 was split into %q and %q", certificates, others)
	}
}
