// SPDX-License-Identifier: Apache-2.0

package pemfile

import (
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// rc2Pi is PITABLE of RFC 2268 §2.
const rc2Pi = "" +
	"d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2" +
	"179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82" +
	"54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626" +
	"6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7" +
	"08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec" +
	"c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731" +
	"2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9" +
	"0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"

// rc2 is the cipher of RFC 2268 with its expanded key. Nothing here encrypts with it: it is for reading old PKCS#12 files.
type rc2 [64]uint16

// newRC2 returns RC2 with all bits of the key effective. The key has 1 to 128 bytes.
func newRC2(key []byte) (cipher.Block, error) {
	pi, err := hex.DecodeString(rc2Pi)
	if err != nil {
		return nil, err
	}
	var l [128]byte
	t := copy(l[:], key)
	for i := t; i < len(l); i++ {
		l[i] = pi[l[i-1]+l[i-t]]
	}
	l[128-t] = pi[l[128-t]]
	for i := 127 - t; i >= 0; i-- {
		l[i] = pi[l[i+1]^l[i+t]]
	}
	var k rc2
	for i := range k {
		k[i] = binary.LittleEndian.Uint16(l[2*i:])
	}
	return &k, nil
}

// BlockSize implements [cipher.Block].
func (*rc2) BlockSize() int { return 8 }

// Encrypt implements [cipher.Block].
func (k *rc2) Encrypt(dst, src []byte) {
	r := rc2Words(src)
	for j := range k {
		i := j % 4
		a, b, c := r[(i+3)%4], r[(i+2)%4], r[(i+1)%4]
		r[i] = bits.RotateLeft16(r[i]+k[j]+(a&b)+(^a&c), rc2Turn(i))
		if rc2Mashes(j + 1) {
			for i := range r {
				r[i] += k[r[(i+3)%4]&63]
			}
		}
	}
	r.put(dst)
}

// Decrypt implements [cipher.Block].
func (k *rc2) Decrypt(dst, src []byte) {
	r := rc2Words(src)
	for j := len(k) - 1; j >= 0; j-- {
		if rc2Mashes(j + 1) {
			for i := len(r) - 1; i >= 0; i-- {
				r[i] -= k[r[(i+3)%4]&63]
			}
		}
		i := j % 4
		a, b, c := r[(i+3)%4], r[(i+2)%4], r[(i+1)%4]
		r[i] = bits.RotateLeft16(r[i], -rc2Turn(i)) - k[j] - (a & b) - (^a & c)
	}
	r.put(dst)
}

// rc2Mashes reports whether a mashing round follows after so many mixing steps: after five and eleven rounds of four.
func rc2Mashes(steps int) bool { return steps == 20 || steps == 44 }

// rc2Turn returns by how many bits word i turns.
func rc2Turn(i int) int {
	if i == 3 {
		return 5
	}
	return i + 1
}

// rc2Block is a block as four words.
type rc2Block [4]uint16

func rc2Words(src []byte) rc2Block {
	var r rc2Block
	for i := range r {
		r[i] = binary.LittleEndian.Uint16(src[2*i:])
	}
	return r
}

func (r rc2Block) put(dst []byte) {
	for i := range r {
		binary.LittleEndian.PutUint16(dst[2*i:], r[i])
	}
}
