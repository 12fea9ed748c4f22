// SPDX-License-Identifier: Apache-2.0

package pemfile

// ParsePKCS12Within is [ParsePKCS12] for as many digests.
func ParsePKCS12Within(der []byte, password string, work int) (Bundle, error) {
	return parsePKCS12(der, password, rounds(work))
}
