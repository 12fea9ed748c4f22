// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
)

func TestObjectsComeInTheOrderAsked(t *testing.T) {
	var asked sync.Map
	reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		asked.Store(r.URL.Path, r.Header)
		return secretNamed(r)
	}))
	ask := request("a", "b", "c")
	ask.Items[1].Version = version
	got, err := reader.Fetch(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "b", "c"} {
		if string(got[i].Content.Reveal()) != "value of "+name || got[i].Version != version || got[i].OfCertificate {
			t.Fatalf("object %d is %+v", i, got[i])
		}
	}
	header, ok := asked.Load("/secrets/b/" + version)
	if !ok {
		t.Fatal("the version was not asked for")
	}
	if h := header.(http.Header); h.Get("Authorization") != "Bearer https://vault.azure.net/.default#0" ||
		!strings.HasPrefix(h.Get("User-Agent"), "vaultferry/test azsdk-go-azsecrets/") {
		t.Fatalf("got header %v", h)
	}
}

func TestAtMostEightRequestsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			now := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			time.Sleep(time.Millisecond)
			return secretNamed(r)
		}))
		started := time.Now()
		if _, err := reader.Fetch(t.Context(), request(names(32)...)); err != nil {
			t.Fatal(err)
		}
		if most.Load() != 8 || time.Since(started) != 4*time.Millisecond {
			t.Fatalf("%d at once, %v in all", most.Load(), time.Since(started))
		}
	})
}

func TestAFailedTokenIsAskedForOnce(t *testing.T) {
	source := &tokens{err: reason.New(reason.FederatedSubjectMismatch, "", "no")}
	reader := newReader(t, roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("the vault was called without a token")
		return nil, errors.New("unexpected")
	}))
	_, err := reader.Fetch(t.Context(), keyvault.Request{Tokens: source, Items: items("a", "b")})
	if !errors.Is(err, source.err) {
		t.Fatalf("got %v", err)
	}
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	claims := base64.StdEncoding.EncodeToString([]byte(`{"access_token":{}}`))
	for name, tc := range map[string]struct {
		challenge string
		good      string
		claims    string
		calls     int
		reason    string
	}{
		"ended on its way": {`Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`, "#1", "", 2, ""},
		"more claims":      {`Bearer error="insufficient_claims", claims="` + claims + `"`, "#1", `{"access_token":{}}`, 2, ""},
		"never accepted":   {`Bearer resource="https://vault.azure.net"`, "none", "", 2, "VaultUnauthorized"},
		"other tenant":     {`Bearer authorization="https://login.microsoftonline.com/99999999-0000-0000-0000-000000000000"`, "none", "", 1, "VaultUnauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
				calls++
				if strings.HasSuffix(r.Header.Get("Authorization"), tc.good) {
					return secretNamed(r)
				}
				refused := answer(r, 401, `{"error":{"code":"Unauthorized","message":"AKV10032: Invalid issuer."}}`)
				refused.Header.Set("WWW-Authenticate", tc.challenge)
				return refused, nil
			}))
			ask := request("a")
			_, err := reader.Fetch(t.Context(), ask)
			if reason.Of(err) != tc.reason || calls != tc.calls || ask.Tokens.(*tokens).claims != tc.claims {
				t.Fatalf("got %v after %d calls", err, calls)
			}
			if name == "other tenant" && !strings.Contains(err.Error(), "set spec.parameters.tenantID to 99999999-0000-0000-0000-000000000000") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestAFailingServerGetsAnotherTry(t *testing.T) {
	for name, broken := range map[string]func(*http.Request) (*http.Response, error){
		"status": func(r *http.Request) (*http.Response, error) { return answer(r, 503, ""), nil },
		"reset": func(*http.Request) (*http.Response, error) {
			return nil, os.NewSyscallError("read", syscall.ECONNRESET)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					if calls++; calls < 3 {
						return broken(r)
					}
					return secretNamed(r)
				}))
				if _, err := reader.Fetch(t.Context(), request("a")); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestNoAnswer(t *testing.T) {
	lost := func(cause error) roundTrip {
		return func(*http.Request) (*http.Response, error) { return nil, cause }
	}
	for name, tc := range map[string]struct {
		transport roundTrip
		reason    reason.Reason
		says      string
	}{
		"unknown name": {
			lost(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}), reason.VaultNotFound,
			"vault kv-platform-prod does not exist: kv-platform-prod.vault.azure.net does not resolve",
		},
		"refused": {lost(os.NewSyscallError("connect", syscall.ECONNREFUSED)), reason.VaultUnreachable, "refused the connection"},
		"hanging": {func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, reason.VaultUnreachable, "did not answer in time"},
		"garbage":    {func(r *http.Request) (*http.Response, error) { return answer(r, 200, "canary"), nil }, reason.VaultAnswerInvalid, "could not be understood"},
		"wrong type": {func(r *http.Request) (*http.Response, error) { return answer(r, 200, `{"value":[7]}`), nil }, reason.VaultAnswerInvalid, ""},
		"no value":   {func(r *http.Request) (*http.Response, error) { return answer(r, 200, `{}`), nil }, reason.VaultAnswerInvalid, "secret value is nil"},
		"no id":      {func(r *http.Request) (*http.Response, error) { return answer(r, 200, `{"value":""}`), nil }, reason.VaultAnswerInvalid, "secret id is nil"},
		"odd id": {func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, `{"value":"","id":"https://kv/secrets/x"}`), nil
		}, reason.VaultAnswerInvalid, "holds no version"},
		"huge": {func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, strings.Repeat(" ", 2<<20)), nil
		}, reason.VaultAnswerInvalid, ""},
		"redirect": {func(r *http.Request) (*http.Response, error) {
			moved := answer(r, 302, "")
			moved.Header.Set("Location", "https://elsewhere.example/")
			return moved, nil
		}, reason.VaultAnswerInvalid, "HTTP status 302"},
		"down": {func(r *http.Request) (*http.Response, error) { return answer(r, 500, "oops"), nil }, reason.VaultUnreachable, "HTTP status 500"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				started := time.Now()
				_, err := newReader(t, tc.transport).Fetch(ctx, request("a"))
				if reason.Of(err) != tc.reason.Name || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "canary") {
					t.Fatalf("got %v", err)
				}
				if took := time.Since(started); took > 4*time.Second {
					t.Fatalf("took %v", took)
				}
			})
		})
	}
}

func TestACancelledRequestIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		cancel()
		return nil, r.Context().Err()
	}))
	if _, err := reader.Fetch(ctx, request("a")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestTheFirstProblemIsToldAndTheOthersCounted(t *testing.T) {
	reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "/secrets/bad") {
			return answer(r, 404, `{"error":{"code":"SecretNotFound","message":"A secret with (name/id) x was not found"}}`), nil
		}
		return secretNamed(r)
	}))
	_, err := reader.Fetch(t.Context(), request("a", "bad1", "b", "bad2", "bad3"))
	if reason.Of(err) != reason.ObjectNotFound.Name || !strings.Contains(err.Error(), `secret "bad1" in kv-platform-prod does not exist`) ||
		!strings.Contains(err.Error(), `(and 2 more failed: "bad2", "bad3")`) {
		t.Fatalf("got %v", err)
	}
}

func TestAThrottledVaultIsLeftAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		header, value string
		atLeast       time.Duration
		atMost        time.Duration
	}{
		"seconds":         {"Retry-After", "7", 7 * time.Second, 7 * time.Second},
		"milliseconds":    {"Retry-After-Ms", "300", 300 * time.Millisecond, 300 * time.Millisecond},
		"without":         {"X", "", time.Second, 1500 * time.Millisecond},
		"absurdly long":   {"Retry-After", "99999999", time.Minute, time.Minute},
		"not understood":  {"Retry-After", "soon", time.Second, 1500 * time.Millisecond},
		"in the past":     {"Retry-After", "Mon, 02 Jan 1995 15:04:05 GMT", time.Second, 1500 * time.Millisecond},
		"negative number": {"Retry-After", "-4", time.Second, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				throttled := true
				reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.URL.Host != vault+".vault.azure.net" || !throttled {
						return secretNamed(r)
					}
					calls.Add(1)
					busy := answer(r, 429, `{"error":{"code":"Throttled","message":"too many"}}`)
					busy.Header.Set(tc.header, tc.value)
					return busy, nil
				}))
				if _, err := reader.Fetch(t.Context(), request("a")); reason.Of(err) != reason.VaultThrottled.Name || calls.Load() != 1 {
					t.Fatalf("got %v after %d calls", err, calls.Load())
				}
				time.Sleep(tc.atLeast - time.Millisecond)
				if _, err := reader.Fetch(t.Context(), request("a")); reason.Of(err) != reason.VaultThrottled.Name || calls.Load() != 1 {
					t.Fatalf("got %v after %d calls: the vault was not left alone", err, calls.Load())
				}
				other := request("a")
				other.Items[0].Vault = "kv-other"
				if _, err := reader.Fetch(t.Context(), other); err != nil {
					t.Fatalf("another vault pays for it: %v", err)
				}
				time.Sleep(tc.atMost - tc.atLeast + 2*time.Millisecond)
				throttled = false
				if _, err := reader.Fetch(t.Context(), request("a")); err != nil {
					t.Fatalf("the vault is still left alone: %v", err)
				}
			})
		})
	}
}

// The answers of one burst come in any order; the longest of what they ask for holds, and the burst is one step all the same.
func TestTheLongestPauseOfABurstHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttled := true
		reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			if !throttled {
				return answer(r, 429, ""), nil
			}
			after := strings.TrimPrefix(strings.Split(r.URL.Path, "/")[2], "after-")
			pause, _ := strconv.Atoi(after)
			time.Sleep(time.Duration(pause*3%10+1) * time.Millisecond) // so that the longest one comes neither first nor last
			busy := answer(r, 429, "")
			busy.Header.Set("Retry-After", after)
			return busy, nil
		}))
		var burst sync.WaitGroup
		for _, name := range []string{"after-3", "after-9", "after-6", "after-0"} {
			burst.Go(func() {
				if _, err := reader.Fetch(t.Context(), request(name)); reason.Of(err) != reason.VaultThrottled.Name {
					t.Errorf("got %v", err)
				}
			})
		}
		burst.Wait()
		time.Sleep(9*time.Second - 3*time.Millisecond)
		if _, err := reader.Fetch(t.Context(), request("a")); !strings.Contains(err.Error(), "asked to wait before") {
			t.Fatalf("the vault was not left alone: %v", err)
		}
		time.Sleep(2 * time.Millisecond)
		throttled = false
		if _, err := reader.Fetch(t.Context(), request("a")); !strings.Contains(err.Error(), "alone for 2 s") && !strings.Contains(err.Error(), "alone for 3 s") {
			t.Fatalf("the burst was not one step: %v", err)
		}
	})
}

// A vault's name may be written in either case, and is one vault.
func TestAPauseHoldsHoweverTheVaultIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			calls++
			return answer(r, 429, ""), nil
		}))
		for _, name := range []string{strings.ToUpper(vault), vault} {
			ask := request("a")
			ask.Items[0].Vault = name
			if _, err := reader.Fetch(t.Context(), ask); reason.Of(err) != reason.VaultThrottled.Name || calls != 1 {
				t.Fatalf("%s: got %v after %d calls", name, err, calls)
			}
		}
	})
}

func TestPausesGrowWithoutRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := newReader(t, roundTrip(func(r *http.Request) (*http.Response, error) { return answer(r, 429, ""), nil }))
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			_, err := reader.Fetch(t.Context(), request("a"))
			var seconds int
			if _, scan := fmt.Sscanf(err.Error()[strings.Index(err.Error(), "alone for"):], "alone for %d s", &seconds); scan != nil {
				t.Fatal(scan)
			}
			if got := time.Duration(seconds); got < want || got > want*3/2+1 {
				t.Fatalf("pause %d is %d s, want about %d s", i, got, want)
			}
			time.Sleep(time.Duration(seconds) * time.Second)
		}
	})
}

func TestAPanicInOneObjectIsAnError(t *testing.T) {
	reader := newReader(t, roundTrip(func(*http.Request) (*http.Response, error) { panic("canary") }))
	if _, err := reader.Fetch(t.Context(), request("a")); reason.Of(err) != reason.Unexpected.Name || strings.Contains(err.Error(), "canary") {
		t.Fatalf("got %v", err)
	}
}
