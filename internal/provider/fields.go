// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// object is one entry of objects, checked.
type object struct {
	index int
	// place begins every message about the entry, line is the line in it.
	place string
	line  int
	// item is what to read; its vault is "" for the class's own, its name "" where selector finds the names.
	item     keyvault.Item
	selector *selector
	// path is the file's path in the volume; that of a directory where history is above 1.
	path string
	// caPath is the path of the file with the chain above the leaf, "" for none.
	caPath string
	// mode is the files' mode where the entry sets one.
	mode *fs.FileMode
	// history is how many versions are wanted; up to 1 means one.
	history int
	// property is the path of a value within the secret's JSON, "" for the whole secret.
	property string
	format   format
	encoding encoding
}

// format is objectFormat in lower case.
type format string

const (
	formatPEM format = "pem"
	formatPFX format = "pfx"
	formatJWK format = "jwk"
)

// encoding is objectEncoding in lower case: how a secret's value is written in the vault.
type encoding string

const (
	encodingUTF8   encoding = "utf-8"
	encodingHex    encoding = "hex"
	encodingBase64 encoding = "base64"
)

// latest is the spelling of "the latest version" in objectVersion; so is nothing.
const latest = "latest"

var fieldNames = []string{
	"objectName", "objectAlias", "objectType", "objectVersion", "objectVersionHistory", "objectFormat", "objectEncoding",
	"filePermission",
	"optional", "keyvaultName", "namePrefix", "namePattern", "tags", "property", "caAlias",
}

var (
	objectTypes = []string{keyvault.TypeSecret, keyvault.TypeKey, keyvault.TypeCertificate}
	octal       = regexp.MustCompile(`^[0-7]{1,4}$`)
)

// only notes a problem with a field that is for objects of one type. The type's own problem is told by itself.
func (e *entry) only(field, what, want, objectType string) bool {
	if objectType == want || objectType == "" {
		return true
	}
	e.wrong(field, "%s only supported for objectType: %s", what, want)
	return false
}

// object checks the fields.
func (e *entry) object() object {
	o := object{
		index: e.index,
		place: e.place("objectAlias"),
		line:  e.lineOf("objectAlias"),
		item: keyvault.Item{
			Vault: e.vault(), Type: e.objectType(), Name: e.text("objectName"), Version: e.version(), Optional: e.flag("optional"),
		},
		path: e.text("objectAlias"),
	}
	if o.selector = e.selector(); o.selector == nil {
		e.checkName(o.item.Name)
	}
	switch {
	case o.path != "":
		e.checkFileName("objectAlias", o.path)
	case o.selector != nil:
		o.path = nameInAlias
	case o.item.Name != "":
		o.path = o.item.Name
		e.checkFileName("objectName", o.path)
	}
	o.format = e.format(o.item.Type)
	o.encoding = e.encoding(o.item.Type)
	o.history = e.history()
	o.property = e.property(o)
	o.caPath = e.caPath(o)
	if o.selector != nil {
		e.checkSelected(o)
	}
	o.mode = e.mode()
	return o
}

// objectType returns the type, "" if it is none.
func (e *entry) objectType() string {
	kind := e.text("objectType")
	switch kind {
	case keyvault.TypeSecret, keyvault.TypeKey, keyvault.TypeCertificate:
	default:
		e.wrong("objectType", "objectType is %s: Invalid vaultObjectTypes. Should be secret, key, or cert%s",
			quote(kind), didYouMean(kind, objectTypes))
		return ""
	}
	return kind
}

// version returns the version id, "" for the latest.
func (e *entry) version() string {
	version := e.text("objectVersion")
	if strings.EqualFold(version, latest) {
		return ""
	}
	if version != "" && !keyvault.ValidName(version) {
		e.wrong("objectVersion", "objectVersion %s is not a version id", quote(version))
	}
	return version
}

// vault returns the entry's own vault, "" for the class's.
func (e *entry) vault() string {
	name := e.text("keyvaultName")
	if name == "" {
		return ""
	}
	if problem := vaultNameProblem(name); problem != "" {
		e.wrongFor(reason.VaultNameInvalid, "keyvaultName", "%s: correct keyvaultName (the name alone, without a domain)", problem)
	}
	return name
}

func (e *entry) checkName(name string) {
	switch {
	case name == "" && e.text("objectAlias") == "":
		e.wrong("objectName", "objectName is missing, file name must not be empty%s", e.misspelt("objectName", "namePrefix", "namePattern", "tags"))
	case name == "":
		e.wrong("objectName", "objectName is missing%s", e.misspelt("objectName", "namePrefix", "namePattern", "tags"))
	case !keyvault.ValidName(name):
		e.wrong("objectName", "objectName %s cannot be in a vault: names are 1 to 127 letters, digits and hyphens", quote(name))
	}
}

// misspelt points at an unknown key that looks like one of fields.
func (e *entry) misspelt(fields ...string) string {
	for _, key := range e.unknown {
		if near := reason.Nearest(key.Value, fields); near != "" {
			return fmt.Sprintf(" (%s is unknown, did you mean %s?)", quote(key.Value), near)
		}
	}
	return ""
}

func (e *entry) checkFileName(field, name string) {
	if problem := fileNameProblem(name); problem != "" {
		e.wrong(field, "%s", problem)
	}
}

// flag reads a field that is true or false.
func (e *entry) flag(field string) bool {
	text := e.text(field)
	if text == "" {
		return false
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		e.wrong(field, "%s is %s, should be true or false%s", field, quote(text), didYouMean(text, []string{"true", "false"}))
	}
	return on
}

func (e *entry) format(objectType string) format {
	text := e.text("objectFormat")
	switch f := format(strings.ToLower(text)); f {
	case "":
	case formatPEM:
		return f
	case formatPFX:
		e.only("objectFormat", "PFX format", keyvault.TypeSecret, objectType)
		return f
	case formatJWK:
		e.only("objectFormat", "JWK format", keyvault.TypeKey, objectType)
		return f
	default:
		e.wrong("objectFormat", "invalid objectFormat: %s, should be PEM or PFX%s", shorten(text),
			didYouMean(text, []string{string(formatPEM), string(formatPFX), string(formatJWK)}))
	}
	return formatPEM
}

func (e *entry) encoding(objectType string) encoding {
	text := e.text("objectEncoding")
	if text == "" || !e.only("objectEncoding", "objectEncoding", keyvault.TypeSecret, objectType) {
		return encodingUTF8
	}
	switch c := encoding(strings.ToLower(text)); c {
	case encodingUTF8, encodingHex, encodingBase64:
		return c
	default:
		e.wrong("objectEncoding", "invalid objectEncoding: %s, should be hex, base64 or utf-8%s", shorten(text),
			didYouMean(text, []string{string(encodingHex), string(encodingBase64), string(encodingUTF8)}))
	}
	return encodingUTF8
}

func (e *entry) history() int {
	text := e.text("objectVersionHistory")
	if text == "" {
		return 1
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		e.wrong("objectVersionHistory", "objectVersionHistory %s is not a number", quote(text))
	}
	return int(max(n, 1))
}

func (e *entry) property(o object) string {
	path := e.text("property")
	switch {
	case path == "" || !e.only("property", "property", keyvault.TypeSecret, o.item.Type):
	case o.format == formatPFX:
		e.wrong("property", "property reads JSON, which objectFormat: pfx is not: remove one of the two")
	case len(path) > maxProperty:
		e.wrong("property", "property is longer than %d characters", maxProperty)
	}
	return path
}

func (e *entry) caPath(o object) string {
	name := e.text("caAlias")
	if name == "" {
		return ""
	}
	e.checkFileName("caAlias", name)
	switch {
	case !e.only("caAlias", "caAlias", keyvault.TypeSecret, o.item.Type):
	case o.history > 1 || o.selector != nil:
		e.wrong("caAlias", "caAlias is one file for one object: not with objectVersionHistory, namePrefix, namePattern or tags")
	case o.property != "":
		e.wrong("caAlias", "caAlias is for a certificate, property for JSON: remove one of the two")
	}
	return name
}

// mode returns the entry's own mode, nil if it has none.
func (e *entry) mode() *fs.FileMode {
	text := e.text("filePermission")
	if text == "" {
		return nil
	}
	bits, err := strconv.ParseUint(text, 8, 32)
	if err != nil || !octal.MatchString(text) || bits > 0o777 {
		e.wrong("filePermission", `filePermission %s is not an octal mode like "0400"`, quote(text))
		return nil
	}
	mode := fs.FileMode(bits)
	return &mode
}
