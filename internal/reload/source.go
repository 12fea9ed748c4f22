// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the hash of Reloader's contract
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"
)

// SourceKind is a kind of object that workloads are restarted for.
type SourceKind string

// The kinds.
const (
	ConfigMap SourceKind = "ConfigMap"
	Secret    SourceKind = "Secret"
	Class     SourceKind = "SecretProviderClass"
)

// SourceKinds returns all kinds.
func SourceKinds() []SourceKind { return []SourceKind{ConfigMap, Secret, Class} }

// Source is one object that workloads of its namespace are restarted for.
type Source struct {
	Kind SourceKind `json:"kind"`
	Name string     `json:"name"`
}

// String returns kind and name, as in "Secret app-db".
func (s Source) String() string { return string(s.Kind) + " " + s.Name }

// Content is what is known of a source. It holds hashes and no values.
type Content struct {
	// Present is false where the object is not there.
	Present bool
	// Hash stands for the whole content, Parts for the value of each key.
	Hash  string
	Parts map[string]string
	// SHA1 is Reloader's hash of the whole, where it is asked for.
	SHA1 string
	// At is when the content of a class was last seen to change; zero for the other kinds.
	At time.Time
	// Fresh says that every pod has mounted a class's content at its start and none has seen it change.
	Fresh bool
	// Synced says that a Secret mirrors mounted files.
	Synced bool
	// Ignored and Matched are the source's own annotations.
	Ignored, Matched bool
}

// Hasher makes hashes that stand for values. They are keyed, since they stand in annotations that more people may read than may read the
// values: without the key nobody can try guesses against them.
type Hasher struct{ key []byte }

// NewHasher returns a Hasher with the given key.
func NewHasher(key []byte) Hasher { return Hasher{key: key} }

// ID names the key without telling it.
func (h Hasher) ID() string {
	sum := sha256.Sum256(append([]byte("vaultferry reload key\x00"), h.key...))
	return hex.EncodeToString(sum[:4])
}

// Content returns the hashes of a source's data.
func (h Hasher) Content(data map[string][]byte) Content {
	const wholeBytes, partBytes = 12, 6
	c := Content{Present: true, Parts: make(map[string]string, len(data))}
	whole := hmac.New(sha256.New, h.key)
	for _, key := range slices.Sorted(maps.Keys(data)) {
		mac := hmac.New(sha256.New, h.key)
		mac.Write([]byte(key))
		mac.Write([]byte{0})
		mac.Write(data[key])
		sum := mac.Sum(nil)
		c.Parts[key] = hex.EncodeToString(sum[:partBytes])
		whole.Write(sum)
	}
	c.Hash = hex.EncodeToString(whole.Sum(nil)[:wholeBytes])
	return c
}

// SHA1 returns the hash that Reloader gives to a Secret's data, or to a ConfigMap's data and binaryData.
func SHA1[T string | []byte](data map[string]T, binary map[string][]byte) string {
	values := make([]string, 0, len(data)+len(binary))
	for key, value := range data {
		values = append(values, key+"="+string(value))
	}
	for key, value := range binary {
		values = append(values, key+"="+base64.StdEncoding.EncodeToString(value))
	}
	return sha1Of(values)
}

// ClassSHA1 returns the hash that Reloader gives to the mounted versions of a class.
func ClassSHA1(class string, versions map[string]string) string {
	values := make([]string, 0, len(versions)+1)
	for id, version := range versions {
		values = append(values, id+"="+version)
	}
	return sha1Of(append(values, "SecretProviderClassName="+class))
}

func sha1Of(values []string) string {
	slices.Sort(values)
	sum := sha1.Sum([]byte(strings.Join(values, ";"))) //nolint:gosec // the hash of Reloader's contract
	return hex.EncodeToString(sum[:])
}
