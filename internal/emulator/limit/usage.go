// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"strings"
	"time"
)

// usage is what a vault used of its window.
type usage struct {
	// slots are in the order of their times; none is older than the window.
	slots []slot
}

// slot adds up the fractions of requests that came close together.
type slot struct {
	at       time.Time
	fraction float64
}

// rounding is what a sum of fractions such as 1/300 may be off.
const rounding = 1e-9

// take adds a fraction unless the sum of the window would be more than one.
func (u *usage) take(now time.Time, window time.Duration, fraction float64) bool {
	sum := 0.0
	kept := u.slots[:0]
	for _, s := range u.slots {
		if now.Sub(s.at) < window {
			kept = append(kept, s)
			sum += s.fraction
		}
	}
	u.slots = kept
	if sum+fraction > 1+rounding {
		return false
	}
	if n := len(u.slots); n > 0 && now.Sub(u.slots[n-1].at) < window/steps {
		u.slots[n-1].fraction += fraction
		return true
	}
	u.slots = append(u.slots, slot{now, fraction})
	return true
}

// ClassOf finds the class of an operation of the audit log. The kind of key is
// a JSON Web Key type with its size or curve, e.g. "RSA-3072" or "EC-P-256"; a
// key of unknown kind counts as one of RSA 2048.
func ClassOf(operation, keyKind string) Class {
	switch operation {
	case "SecretSet", "KeyImport", "CertificateImport":
		return Writes
	case "KeyCreate", "KeyRotate", "KeyRelease":
		return KeyCreate
	case "KeySign", "KeyVerify", "KeyEncrypt", "KeyDecrypt", "KeyWrap", "KeyUnwrap":
		return ofKey(keyKind)
	}
	return Transactions
}

func ofKey(kind string) Class {
	switch {
	case strings.HasPrefix(kind, "EC"):
		return EC
	case strings.HasSuffix(kind, "3072"):
		return RSA3072
	case strings.HasSuffix(kind, "4096"):
		return RSA4096
	}
	return RSA2048
}
