// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
)

const (
	// maxChain is the number of certificates up to which a chain is looked for.
	maxChain = 64
	// maxChecks bounds the signatures that are checked for one chain; a chain of n certificates needs about n.
	maxChecks = 256
	// minRSABits and maxRSABits bound the keys that signatures are checked with: crypto/rsa refuses shorter ones, and longer ones
	// take long.
	minRSABits, maxRSABits = 1024, 8192
)

// OrderChain orders certificates from the leaf over the intermediates to the root: each certificate directly certifies the one before
// it, as RFC 5246 §7.4.2 has it. A link is a signature that checks out between an issuer and a subject of the same name or key
// identifier; a signature of a kind that cannot be checked counts where the names agree and no other certificate fits.
//
// Two certificates with the same subject and key are cross-signed twins. The chain then takes the shortest way to a root; the twin,
// and the certificates that only it leads to, follow after the chain. Copies of a certificate are dropped. The leaf is the certificate
// that issued no other; where they issued each other in a circle, it is the one that a key of keys belongs to.
//
// Where the certificates are not all of one leaf's chain, they are returned in their order, with [ErrNoLeaf], [ErrCycle] or
// [ErrIncompleteChain].
func OrderChain(certificates []Certificate, keys []Key) ([]Certificate, error) {
	if len(certificates) == 0 {
		return certificates, ErrNoLeaf
	}
	distinct := withoutCopies(certificates)
	if len(distinct) > maxChain {
		return certificates, ErrIncompleteChain
	}
	graph := newIssuers(distinct)
	if graph.checks == 0 {
		return certificates, ErrIncompleteChain
	}
	leaf, err := graph.leaf(keys)
	if err != nil {
		return certificates, err
	}
	order := graph.from(leaf)
	if len(order) < len(distinct) {
		return certificates, ErrIncompleteChain
	}
	ordered := make([]Certificate, len(order))
	for at, c := range order {
		ordered[at] = distinct[c]
	}
	return ordered, nil
}

// Chain parts ordered certificates into the leaf and those that vouch for it: its issuers or, where it signed itself, the leaf. That
// is what ca.crt holds. There is no issuer for a lone certificate that another one signed.
func Chain(ordered []Certificate) (leaf Certificate, issuers []Certificate, err error) {
	if len(ordered) == 0 {
		return Certificate{}, nil, ErrNoLeaf
	}
	leaf = ordered[0]
	if len(ordered) == 1 && bytes.Equal(leaf.issuer, leaf.subject) {
		return leaf, ordered, nil
	}
	return leaf, ordered[1:], nil
}

func withoutCopies(certificates []Certificate) []Certificate {
	seen := make(map[string]bool, len(certificates))
	var distinct []Certificate
	for _, c := range certificates {
		if !seen[string(c.der)] {
			seen[string(c.der)] = true
			distinct = append(distinct, c)
		}
	}
	return distinct
}

// issuers is the graph of who issued whom. Its nodes are entities: a subject with its key, which may have several certificates.
type issuers struct {
	certificates []Certificate
	// entity is the entity of each certificate, entities are numbered in the order of their first certificate.
	entity []int
	// issued holds for each certificate the entities that issued it, in their order.
	issued [][]int
	// checks is how many signatures may still be checked.
	checks int
}

func newIssuers(certificates []Certificate) *issuers {
	g := &issuers{certificates: certificates, checks: maxChecks}
	numbers := map[string]int{}
	var faces []Certificate
	for _, c := range certificates {
		id := string(c.subject) + string(c.publicKey)
		if _, ok := numbers[id]; !ok {
			numbers[id] = len(faces)
			faces = append(faces, c)
		}
		g.entity = append(g.entity, numbers[id])
	}
	for _, c := range certificates {
		var proven, named []int
		for entity, face := range faces {
			switch g.link(c, face) {
			case linkProven:
				proven = append(proven, entity)
			case linkNamed:
				named = append(named, entity)
			}
		}
		if len(proven) == 0 {
			proven = named
		}
		g.issued = append(g.issued, proven)
	}
	return g
}

// link is what one certificate is to another.
type link int

const (
	linkNone link = iota
	// linkNamed means that the names agree, and that the signature cannot be checked.
	linkNamed
	// linkProven means that the signature checks out.
	linkProven
)

func (g *issuers) link(child, issuer Certificate) link {
	byName := bytes.Equal(child.issuer, issuer.subject)
	if child.parsed == nil || issuer.parsed == nil {
		if byName {
			return linkNamed
		}
		return linkNone
	}
	byKeyID := len(child.parsed.AuthorityKeyId) > 0 && bytes.Equal(child.parsed.AuthorityKeyId, issuer.parsed.SubjectKeyId)
	if !byName && !byKeyID || g.checks == 0 {
		return linkNone
	}
	g.checks--
	checkable, err := verify(child, issuer)
	switch {
	case checkable && err == nil:
		return linkProven
	case !checkable && byName:
		return linkNamed
	}
	return linkNone
}

// verify checks the signature of a certificate, if crypto/x509 can check one of its kind.
func verify(child, issuer Certificate) (checkable bool, err error) {
	if key, ok := issuer.parsed.PublicKey.(*rsa.PublicKey); ok {
		if size := key.N.BitLen(); size < minRSABits || size > maxRSABits {
			return false, nil
		}
	}
	signed := child.parsed
	err = issuer.parsed.CheckSignature(signed.SignatureAlgorithm, signed.RawTBSCertificate, signed.Signature)
	var insecure x509.InsecureAlgorithmError
	if errors.Is(err, x509.ErrUnsupportedAlgorithm) || errors.As(err, &insecure) {
		return false, nil
	}
	return true, err
}

// leaf returns the entity that issued no other.
func (g *issuers) leaf(keys []Key) (int, error) {
	issuedOther := make([]bool, len(g.certificates))
	for c, by := range g.issued {
		for _, issuer := range by {
			issuedOther[issuer] = issuedOther[issuer] || issuer != g.entity[c]
		}
	}
	var leaves []int
	for _, entity := range g.entity {
		if !issuedOther[entity] && !slices.Contains(leaves, entity) {
			leaves = append(leaves, entity)
		}
	}
	switch len(leaves) {
	case 0:
		if c, _, ok := pair(g.certificates, keys); ok {
			return g.entity[c], nil
		}
		return 0, ErrCycle
	case 1:
		return leaves[0], nil
	}
	return 0, ErrIncompleteChain
}

// pair finds the first certificate that one of the keys belongs to, and that key.
func pair(certificates []Certificate, keys []Key) (certificate, key int, ok bool) {
	for c := range certificates {
		for k := range keys {
			if keys[k].Matches(certificates[c]) {
				return c, k, true
			}
		}
	}
	return 0, 0, false
}

// step is how an entity was reached.
type step struct {
	entity int
	// via is the certificate that this entity issued to the one that the step before stands for.
	via int
	// before is the step that it was reached from, -1 for the leaf.
	before int
}

// from returns the certificates of all entities that the leaf leads to, the chain first.
func (g *issuers) from(leaf int) []int {
	steps := g.walk(leaf)
	order := g.path(steps)
	for _, s := range steps {
		for c, entity := range g.entity {
			if entity == s.entity && !slices.Contains(order, c) {
				order = append(order, c)
			}
		}
	}
	return order
}

// walk visits the entities that the leaf leads to, the nearest first.
func (g *issuers) walk(leaf int) []step {
	steps := []step{{entity: leaf, before: -1}}
	seen := map[int]bool{leaf: true}
	for at := 0; at < len(steps); at++ {
		for c, entity := range g.entity {
			if entity != steps[at].entity {
				continue
			}
			for _, issuer := range g.issued[c] {
				if !seen[issuer] {
					seen[issuer] = true
					steps = append(steps, step{entity: issuer, via: c, before: at})
				}
			}
		}
	}
	return steps
}

// path returns the chain: the way to the nearest root other than the leaf or, without one, to the farthest entity.
func (g *issuers) path(steps []step) []int {
	end, last := len(steps)-1, slices.Index(g.entity, steps[len(steps)-1].entity)
	for at, s := range steps {
		if root, ok := g.selfSigned(s.entity); ok && (at > 0 || len(steps) == 1) {
			end, last = at, root
			break
		}
	}
	path := []int{last}
	for at := end; steps[at].before >= 0; at = steps[at].before {
		path = append(path, steps[at].via)
	}
	slices.Reverse(path)
	return path
}

// selfSigned returns the certificate that an entity issued to itself.
func (g *issuers) selfSigned(entity int) (certificate int, ok bool) {
	for c, by := range g.issued {
		if g.entity[c] == entity && slices.Contains(by, entity) {
			return c, true
		}
	}
	return 0, false
}
