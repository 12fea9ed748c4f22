// SPDX-License-Identifier: Apache-2.0

package pemfile_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/pemfile"
)

func TestAnyChainComesOutFromLeafToRoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var shapes []shape
		if rapid.Bool().Draw(t, "without key identifiers") {
			shapes = append(shapes, withoutKeyIDs)
		}
		chain := hierarchy(t, rapid.IntRange(1, 5).Draw(t, "length"), shapes...)
		want, given := slices.Clone(chain), slices.Clone(chain)
		if len(chain) > 1 && rapid.Bool().Draw(t, "with a twin") {
			of := chain[rapid.IntRange(1, len(chain)-1).Draw(t, "twin of")]
			twin := certify(t, of.name, of.key, certify(t, "elsewhere", ecKey(t), nil, shapes...), shapes...)
			given, want = append(given, twin), append(want, twin)
		}
		if rapid.Bool().Draw(t, "with a copy") {
			given = append(given, chain[0])
		}
		if len(chain) > 1 && rapid.Bool().Draw(t, "without root") {
			given = slices.DeleteFunc(given, func(e *entity) bool { return e == chain[len(chain)-1] })
			want = slices.DeleteFunc(want, func(e *entity) bool { return e == chain[len(chain)-1] })
		}
		shuffled := rapid.Permutation(given).Draw(t, "order")

		bundle := bundleOf(t, certPEM(shuffled...))
		ordered, err := pemfile.OrderChain(bundle.Certificates, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkOrder(t, ordered, want)
	})
}

// checkOrder compares with the expected order by name, and has each certificate of the chain certified by the next.
func checkOrder(t *rapid.T, ordered []pemfile.Certificate, want []*entity) {
	var wanted []string
	chain := map[string]bool{}
	for _, e := range want {
		wanted = append(wanted, e.name)
		chain[e.name] = true
	}
	if got := names(ordered); !slices.Equal(got, wanted) {
		t.Fatalf("got %v, want %v", got, wanted)
	}
	for i := range len(chain) - 1 {
		c, issuer := ordered[i].X509(), ordered[i+1].X509()
		if err := issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
			t.Fatalf("certificate %d is not certified by the next: %v", i, err)
		}
	}
	distinct := map[string]bool{}
	for _, c := range ordered {
		distinct[string(c.DER())] = true
	}
	if len(distinct) != len(want) {
		t.Fatal("a certificate is lost")
	}
}

func TestOrderChain(t *testing.T) {
	chain := hierarchy(t, 4)
	leaf, lower, upper, root := chain[0], chain[1], chain[2], chain[3]
	otherRoot := certify(t, "other root", ecKey(t), nil)
	crossUpper := certify(t, upper.name, upper.key, otherRoot)
	namesake := certify(t, lower.name, ecKey(t), nil)
	strange := certify(t, "strange", ecKey(t), nil)
	knotA := certify(t, "knot a", ecKey(t), nil)
	knotB := certify(t, "knot b", ecKey(t), knotA)
	knotA = certify(t, knotA.name, knotA.key, knotB)
	knotLeaf := certify(t, "knot leaf", ecKey(t), knotA)
	rootTwin := certify(t, root.name, root.key, otherRoot)

	tests := map[string]struct {
		given, want []*entity
		key         *entity
		err         error
	}{
		"nothing":                      {err: pemfile.ErrNoLeaf},
		"in order":                     {given: chain, want: chain},
		"reversed":                     {given: []*entity{root, upper, lower, leaf}, want: chain},
		"no root":                      {given: []*entity{upper, lower, leaf}, want: chain[:3]},
		"cross-signed, both roots":     {[]*entity{otherRoot, crossUpper, root, upper, lower, leaf}, []*entity{leaf, lower, crossUpper, otherRoot, upper, root}, nil, nil},
		"cross-signed, second root":    {[]*entity{upper, otherRoot, crossUpper, lower, leaf}, []*entity{leaf, lower, crossUpper, otherRoot, upper}, nil, nil},
		"cross-signed root":            {[]*entity{rootTwin, root, upper, leaf, lower}, []*entity{leaf, lower, upper, root, rootTwin}, nil, nil},
		"a hole":                       {[]*entity{root, leaf, lower}, nil, nil, pemfile.ErrIncompleteChain},
		"another chain":                {[]*entity{strange, root, upper, lower, leaf}, nil, nil, pemfile.ErrIncompleteChain},
		"an issuer by name only":       {[]*entity{namesake, leaf}, nil, nil, pemfile.ErrIncompleteChain},
		"a circle behind the leaf":     {given: []*entity{knotB, knotA, knotLeaf}, want: []*entity{knotLeaf, knotA, knotB}},
		"a circle":                     {[]*entity{knotA, knotB}, nil, nil, pemfile.ErrCycle},
		"a circle with a known leaf":   {[]*entity{knotA, knotB}, []*entity{knotB, knotA}, knotB, nil},
		"a circle with an unknown key": {[]*entity{knotA, knotB}, nil, strange, pemfile.ErrCycle},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := certPEM(test.given...)
			if test.key != nil {
				text = append(pkcs8PEM(t, test.key.key), text...)
			}
			bundle := bundleOf(t, text)
			got, err := pemfile.OrderChain(bundle.Certificates, bundle.Keys)
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			want := test.want
			if err != nil {
				want = test.given
			}
			if pem := (pemfile.Bundle{Certificates: got}).PEM(); !bytes.Equal(pem, certPEM(want...)) {
				t.Fatalf("got the order %v", names(got))
			}
		})
	}
}

func TestOrderChainByKeyIdentifierWhereNamesAreSpeltDifferently(t *testing.T) {
	// The issuer's name is a UTF8String in its own certificate and a PrintableString in the leaf.
	root := certify(t, "root", ecKey(t), nil, func(c *x509.Certificate) { c.RawSubject = commonName(t, "root", asn1.TagUTF8String) })
	spelt := *root
	spelt.cert = must(x509.ParseCertificate(root.cert.Raw))(t)
	spelt.cert.RawSubject = commonName(t, "root", asn1.TagPrintableString)
	leaf := certify(t, "leaf", ecKey(t), &spelt)
	ordered := must(pemfile.OrderChain(bundleOf(t, certPEM(root, leaf)).Certificates, nil))(t)
	if got := names(ordered); !slices.Equal(got, []string{"leaf", "root"}) {
		t.Fatalf("got %v", got)
	}
}

func commonName(t tester, name string, tag int) []byte {
	t.Helper()
	attribute := sequence(must(asn1.Marshal(asn1.ObjectIdentifier{2, 5, 4, 3}))(t),
		must(asn1.Marshal(asn1.RawValue{Tag: tag, Bytes: []byte(name)}))(t))
	set := asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: must(asn1.Marshal(attribute))(t)}
	return must(asn1.Marshal(sequence(must(asn1.Marshal(set))(t))))(t)
}

func TestOrderChainLinksByNameWhatItCannotCheck(t *testing.T) {
	root := certify(t, "root", must(rsa.GenerateKey(rand.Reader, 2048))(t), nil)
	leaf, strange := certify(t, "leaf", ecKey(t), root), certify(t, "strange", ecKey(t), nil)
	// SHA256-RSA (…1.1.11) becomes MD5-RSA (…1.1.4), which crypto/x509 refuses to check.
	sha256 := must(asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}))(t)
	md5 := must(asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}))(t)
	leaf.cert.Raw = bytes.ReplaceAll(leaf.cert.Raw, sha256, md5)
	ordered := must(pemfile.OrderChain(bundleOf(t, certPEM(root, leaf)).Certificates, nil))(t)
	if got := names(ordered); !slices.Equal(got, []string{"leaf", "root"}) {
		t.Fatalf("got %v", got)
	}
	if _, err := pemfile.OrderChain(bundleOf(t, certPEM(strange, root, leaf)).Certificates, nil); err == nil {
		t.Fatal("an unrelated certificate was linked")
	}
}

func TestOrderChainBoundsItsWork(t *testing.T) {
	key := ecKey(t)
	var many, few []*entity
	for range 2000 {
		many = append(many, certify(t, "same", key, nil))
	}
	for range 64 {
		few = append(few, certify(t, "same", ecKey(t), nil))
	}
	for name, given := range map[string][]*entity{"thousands": many, "all of one name": few} {
		t.Run(name, func(t *testing.T) {
			bundle := bundleOf(t, certPEM(given...))
			got, err := pemfile.OrderChain(bundle.Certificates, nil)
			if !errors.Is(err, pemfile.ErrIncompleteChain) || len(got) != len(given) {
				t.Fatalf("got %d certificates, %v", len(got), err)
			}
		})
	}
}

func TestChain(t *testing.T) {
	chain := hierarchy(t, 3)
	certificates := bundleOf(t, certPEM(chain...)).Certificates
	leaf, issuers, err := pemfile.Chain(certificates)
	if err != nil || leaf.X509().Subject.CommonName != "a.test" || strings.Join(names(issuers), " ") != "b.test c.test" {
		t.Fatalf("got %v %v %v", leaf.X509().Subject, names(issuers), err)
	}
	if _, issuers, _ := pemfile.Chain(certificates[2:]); strings.Join(names(issuers), " ") != "c.test" {
		t.Fatalf("a self-signed certificate's issuer: got %v", names(issuers))
	}
	if _, issuers, _ := pemfile.Chain(certificates[:1]); len(issuers) != 0 {
		t.Fatalf("a lone leaf's issuer: got %v", names(issuers))
	}
	if _, _, err := pemfile.Chain(nil); !errors.Is(err, pemfile.ErrNoLeaf) {
		t.Fatalf("got %v", err)
	}
}
