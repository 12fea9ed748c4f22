// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vaultferry/vaultferry/internal/emulator/limit"
)

// Azure's own numbers, each by itself.
func TestAzureNumbers(t *testing.T) {
	for class, want := range map[limit.Class]int{
		limit.Transactions: 4000, limit.Writes: 300, limit.KeyCreate: 20, limit.RSA2048: 4000, limit.RSA3072: 1000, limit.RSA4096: 500, limit.EC: 4000,
	} {
		s := limit.NewSet(func() time.Time { return time.Unix(0, 0) })
		if err := s.Put(limit.Limit{Azure: true}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for n <= want {
			if ok, _ := s.Take("kv", class); !ok {
				break
			}
			n++
		}
		if n != want {
			t.Errorf("%s: %d requests, want %d", class, n, want)
		}
	}
}

func TestClassOf(t *testing.T) {
	for operation, want := range map[[2]string]limit.Class{
		{"SecretGet", ""}: limit.Transactions, {"SecretSet", ""}: limit.Writes, {"CertificateImport", ""}: limit.Writes, {"KeyImport", ""}: limit.Writes,
		{"KeyGet", "RSA-4096"}: limit.Transactions, {"KeyCreate", ""}: limit.KeyCreate, {"KeySign", "RSA-2048"}: limit.RSA2048,
		{"KeyUnwrap", "RSA-3072"}: limit.RSA3072, {"KeyDecrypt", "RSA-4096"}: limit.RSA4096, {"KeySign", "EC-P-256"}: limit.EC, {"KeySign", ""}: limit.RSA2048,
	} {
		if got := limit.ClassOf(operation[0], operation[1]); got != want {
			t.Errorf("%v: %s, want %s", operation, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, l := range []limit.Limit{{}, {Writes: -1}, {Azure: true, RetryAfter: -1}} {
		if err := l.Check(); !errors.Is(err, limit.ErrInvalid) {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

// Whatever the requests and their times: in no window is more let through than
// fits, and a request that comes when the window before it is empty is never
// refused.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_000_000, 0)
		s := limit.NewSet(func() time.Time { return now })
		window := time.Duration(rapid.IntRange(10, 20_000).Draw(t, "window")) * time.Millisecond
		allowed := map[limit.Class]int{
			limit.Transactions: rapid.IntRange(1, 12).Draw(t, "transactions"), limit.Writes: rapid.IntRange(1, 6).Draw(t, "writes"),
		}
		err := s.Put(limit.Limit{Window: limit.Duration(window), Transactions: allowed[limit.Transactions], Writes: allowed[limit.Writes]})
		if err != nil {
			t.Fatal(err)
		}
		type taken struct {
			at       time.Time
			fraction float64
		}
		var passed []taken
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(window)*2/5).Draw(t, "pause")))
			class := rapid.SampledFrom([]limit.Class{limit.Transactions, limit.Writes}).Draw(t, "class")
			sum := 0.0
			for _, p := range passed {
				if now.Sub(p.at) < window-window/10 {
					sum += p.fraction
				}
			}
			used := 0.0
			for _, p := range passed {
				if now.Sub(p.at) < window {
					used += p.fraction
				}
			}
			fraction := 1 / float64(allowed[class])
			ok, _ := s.Take("kv", class)
			switch {
			case ok && sum+fraction > 1+1e-6:
				t.Fatalf("let through %v after %v", fraction, sum)
			case !ok && used+fraction <= 1-1e-6:
				t.Fatalf("refused %v after %v", fraction, used)
			}
			if ok {
				passed = append(passed, taken{now, fraction})
			}
		}
	})
}
