// SPDX-License-Identifier: Apache-2.0

package pemfile_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/internal/pemfile"
)

// fixtures calls add with every file of testdata whose name ends so.
func fixtures(f *testing.F, suffix string, add func([]byte)) {
	f.Helper()
	files := must(filepath.Glob("testdata/*" + suffix))(f)
	if len(files) == 0 {
		f.Fatal("no fixtures")
	}
	for _, file := range files {
		add(must(os.ReadFile(file))(f))
	}
}

// checkError fails for an error that could not be shown to anybody.
func checkError(t *testing.T, err error) {
	t.Helper()
	if strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 200 {
		t.Fatalf("not one short line: %q", err)
	}
}

// checkBundle fails unless what the bundle writes is read as the same.
func checkBundle(t *testing.T, bundle pemfile.Bundle) {
	t.Helper()
	text := bundle.PEM()
	again, err := pemfile.ParsePEM(text)
	if err != nil || !bytes.Equal(again.PEM(), text) {
		t.Fatalf("read again: %v", err)
	}
	if ordered, err := bundle.Ordered(); err == nil && len(ordered.Keys) != len(bundle.Keys) {
		t.Fatal("a key is lost")
	}
}

func FuzzParsePKCS12(f *testing.F) {
	leaf := certify(f, "leaf", ecKey(f), nil)
	for _, encoder := range encoders() {
		if encoder != pkcs12.Passwordless {
			encoder = encoder.WithIterations(1)
		}
		f.Add(must(encoder.Encode(leaf.key, leaf.cert, []*x509.Certificate{leaf.cert}, ""))(f))
	}
	f.Add(plainFile(f, [][]byte{keyBag(f, leaf.key), bag(f, bagType(6), sequence(certBag(f, leaf)))}))
	fixtures(f, ".pfx", func(file []byte) { f.Add(file) })
	f.Fuzz(func(t *testing.T, file []byte) {
		// With seconds of work for a file whose iterations are a large number, few others would have their turn.
		bundle, err := pemfile.ParsePKCS12Within(file, "", 10_000)
		if err != nil {
			checkError(t, err)
			return
		}
		checkBundle(t, bundle)
		// What the other implementation reads, we read alike.
		key, certificate, _, err := pkcs12.DecodeChain(file, "")
		if err != nil {
			return
		}
		if !bytes.Equal(bundle.Certificates[0].DER(), certificate.Raw) {
			t.Fatal("another certificate")
		}
		if want, err := x509.MarshalPKCS8PrivateKey(key); err == nil && !bytes.Equal(bundle.Keys[0].PKCS8(), want) {
			t.Fatal("another key")
		}
	})
}

func FuzzParsePEM(f *testing.F) {
	fixtures(f, ".pem", func(text []byte) { f.Add(text) })
	for _, key := range keyKinds(f) {
		f.Add(pkcs8PEM(f, key))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		pemfile.SplitPEM(text)
		bundle, err := pemfile.ParsePEM(text)
		if err != nil {
			checkError(t, err)
			return
		}
		checkBundle(t, bundle)
	})
}

func FuzzTLSPair(f *testing.F) {
	chain := hierarchy(f, 3)
	f.Add(append(pkcs8PEM(f, chain[0].key), certPEM(chain[2], chain[1], chain[0])...))
	fixtures(f, ".pem", func(text []byte) { f.Add(text) })
	fixtures(f, ".pfx", func(file []byte) { f.Add(file) })
	f.Fuzz(func(t *testing.T, content []byte) {
		crt, key, _, err := pemfile.TLSPair(content)
		if err != nil {
			checkError(t, err)
			return
		}
		bundle := must(pemfile.ParsePEM(append(bytes.Clone(crt), key...)))(t)
		if !bundle.Keys[0].Matches(bundle.Certificates[0]) {
			t.Fatal("tls.key does not belong to tls.crt")
		}
		if bundle.Certificates[0].X509() == nil {
			return
		}
		if _, err := tls.X509KeyPair(crt, key); err != nil && !strings.Contains(err.Error(), "unknown public key algorithm") {
			t.Fatal(err)
		}
	})
}

// FuzzOrderChain takes a picture of who signs whom: each byte makes a certificate whose low half names the subject and key, and whose
// high half the issuer.
func FuzzOrderChain(f *testing.F) {
	for _, picture := range []string{"\x10\x21\x32\x33", "\x33\x32\x21\x10", "\x10\x21\x12", "\x10\x21\x31\x22\x33", "\x00\x11"} {
		f.Add([]byte(picture))
	}
	var subjects []*entity
	for i := range 16 {
		subjects = append(subjects, certify(f, string(rune('a'+i)), ecKey(f), nil))
	}
	f.Fuzz(func(t *testing.T, picture []byte) {
		if len(picture) > 24 {
			return
		}
		var given []*entity
		for _, pair := range picture {
			subject, issuer := subjects[pair&15], subjects[pair>>4]
			given = append(given, certify(t, subject.name, subject.key, issuer))
		}
		bundle := bundleOf(t, certPEM(given...))
		ordered, err := pemfile.OrderChain(bundle.Certificates, nil)
		if err != nil {
			checkError(t, err)
		}
		if len(ordered) != len(given) {
			t.Fatalf("%d certificates became %d", len(given), len(ordered))
		}
		if err != nil {
			return
		}
		checkLinks(t, ordered)
	})
}

// checkLinks fails if a certificate is neither the leaf nor one that another vouches with, or if the second does not certify the first.
func checkLinks(t *testing.T, ordered []pemfile.Certificate) {
	t.Helper()
	if len(ordered) > 1 && ordered[0].X509().Subject.CommonName != ordered[1].X509().Subject.CommonName {
		leaf := ordered[0].X509()
		if err := ordered[1].X509().CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range ordered[1:] {
		issuing := false
		for _, other := range ordered {
			issuing = issuing || bytes.Equal(other.X509().RawIssuer, c.X509().RawSubject)
		}
		if !issuing && c.X509().Subject.CommonName != ordered[0].X509().Subject.CommonName {
			t.Fatalf("certificate %d vouches for none", i+1)
		}
	}
}
