// SPDX-License-Identifier: Apache-2.0

package entra_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// fakeNode answers as a node's identity service does (IMDS). Its tokens name what was asked.
type fakeNode struct {
	mu     sync.Mutex
	asked  int
	refuse func(*http.Request) (*http.Response, error)
	// same lets it repeat its first token, as the real one does.
	same bool
}

func (f *fakeNode) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.asked++
	n := f.asked
	f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse(r)
	}
	if r.Header.Get("Metadata") != "true" || r.URL.Scheme != "http" || r.URL.Host != "169.254.169.254" ||
		r.URL.Path != "/metadata/identity/oauth2/token" {
		return answer(r, 400, `{"error":"bad_request_102","error_description":"Required metadata header not specified"}`), nil
	}
	if f.same {
		n = 0
	}
	query := r.URL.Query()
	return answer(r, 200, fmt.Sprintf(`{"access_token":"%s|%s|%d","client_id":"","refresh_token":"","expires_in":"86400","expires_on":"%d",`+
		`"ext_expires_in":"86399","not_before":"%d","resource":%q,"token_type":"Bearer"}`,
		query.Get("client_id"), query.Get("resource"), n, time.Now().Add(24*time.Hour).Unix(), time.Now().Unix(), query.Get("resource"))), nil
}

// nodeTokens gets tokens from node and fails a test in which Entra ID is asked.
func nodeTokens(t *testing.T, node http.RoundTripper) *entra.Tokens {
	t.Helper()
	tokens, err := entra.New(entra.Config{NodeTransport: node, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		t.Errorf("Entra ID was asked for %s", r.URL)
		return nil, errors.New("not here")
	})})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func ofNode(clientID, sub string) entra.Login {
	return entra.Login{Mode: entra.ManagedIdentity, Cloud: entra.PublicCloud(), Tenant: tenant, ClientID: clientID, Subject: sub}
}

func TestTheNodesIdentity(t *testing.T) {
	for _, id := range []string{"", clientID} {
		session := nodeTokens(t, &fakeNode{}).Session(ofNode(id, subject))
		token, err := session.Token(t.Context(), scope, "")
		if err != nil || token.Token != id+"|https://vault.azure.net|1" {
			t.Fatalf("got %q, %v", token.Token, err)
		}
		want := entra.Identity{Mode: entra.ManagedIdentity, Cloud: entra.PublicCloud(), Tenant: tenant, ClientID: id, Subject: subject}
		if session.Identity() != want {
			t.Fatalf("got %+v", session.Identity())
		}
	}
}

// IMDS allows few requests, and a node has many service accounts.
func TestAllServiceAccountsOfANodeShareItsToken(t *testing.T) {
	node := &fakeNode{}
	tokens := nodeTokens(t, node)
	identities := map[entra.Identity]bool{}
	for n := range 20 {
		session := tokens.Session(ofNode(clientID, fmt.Sprintf("system:serviceaccount:payments:sa-%d", n)))
		if _, err := session.Token(t.Context(), scope, ""); err != nil {
			t.Fatal(err)
		}
		identities[session.Identity()] = true
	}
	if node.asked != 1 || len(identities) != 20 {
		t.Fatalf("%d requests for %d identities", node.asked, len(identities))
	}
}

// The library keeps the tokens of managed identities in memory of the whole process, where another instance finds them.
func TestARejectedNodeTokenIsNotGivenOutAgain(t *testing.T) {
	node := &fakeNode{}
	tokens := nodeTokens(t, node)
	session := tokens.Session(ofNode(clientID, subject))
	first, err := session.Token(t.Context(), scope, "")
	if err != nil {
		t.Fatal(err)
	}
	session.Reject(first.Token)
	other := tokens.Session(ofNode(clientID, subject+"-2"))
	if again, err := other.Token(t.Context(), scope, ""); err != nil || again.Token == first.Token || node.asked != 2 {
		t.Fatalf("got %q after %d requests, %v", again.Token, node.asked, err)
	}
}

func TestANodeThatRepeatsARejectedTokenIsAskedAgain(t *testing.T) {
	node := &fakeNode{same: true}
	session := nodeTokens(t, node).Session(ofNode(clientID, subject))
	for n := 1; n <= 3; n++ {
		token, err := session.Token(t.Context(), scope, "")
		if err != nil || node.asked != n {
			t.Fatalf("%v, %d requests", err, node.asked)
		}
		session.Reject(token.Token)
	}
	node.same = false
	fresh, err := session.Token(t.Context(), scope, "")
	if err != nil || !strings.HasSuffix(fresh.Token, "|4") {
		t.Fatalf("got %q, %v", fresh.Token, err)
	}
	if again, _ := session.Token(t.Context(), scope, ""); again.Token != fresh.Token || node.asked != 4 {
		t.Fatalf("a good token is not kept: %d requests", node.asked)
	}
}

// A vault may reject a good token, once. Then IMDS, which repeats it for a day, must not be asked for each request of that day.
func TestARepeatedTokenThatIsNotRejectedAgainIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{same: true}
		session := nodeTokens(t, node).Session(ofNode(clientID, subject))
		get := func() string {
			t.Helper()
			token, err := session.Token(t.Context(), scope, "")
			if err != nil {
				t.Fatal(err)
			}
			return token.Token
		}
		first := get()
		session.Reject(first)
		for range 100 {
			if get() != first || node.asked != 2 {
				t.Fatalf("%d requests", node.asked)
			}
			time.Sleep(100 * time.Millisecond)
		}
		node.same = false
		time.Sleep(20 * time.Second)
		if fresh := get(); fresh == first || get() != fresh || node.asked != 3 {
			t.Fatalf("a newer token is not looked for: got %q after %d requests", fresh, node.asked)
		}
	})
}

func TestRefusalsOfTheNode(t *testing.T) {
	const notFound = `{"error":"invalid_request","error_description":"Identity not found"}`
	const several = `{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / ` +
		`resourceId of the identity in the token request"}`
	for name, tc := range map[string]struct {
		id     string
		status int
		body   string
		reason reason.Reason
		says   []string
	}{
		"not assigned": {
			clientID, 400, notFound, reason.IdentityNotAssigned,
			[]string{clientID, "userAssignedIdentityID", "az vmss identity assign", "azureKeyvaultSecretsProvider"},
		},
		"no system-assigned":   {"", 400, notFound, reason.IdentityNotAssigned, []string{"system-assigned", "userAssignedIdentityID", "az vmss identity assign"}},
		"several":              {"", 400, several, reason.IdentityAmbiguous, []string{"userAssignedIdentityID", "azureKeyvaultSecretsProvider"}},
		"other 400":            {"", 400, `{"error":"bad_request_102"}`, reason.NodeIdentityRejected, []string{"bad_request_102"}},
		"proxy at the address": {"", 403, "<html>canary</html>", reason.NodeIdentityRejected, []string{"HTTP status 403"}},
		"throttled":            {clientID, 429, `{}`, reason.EntraThrottled, nil},
		"starting":             {clientID, 410, `{}`, reason.NodeIdentityUnreachable, []string{"not available"}},
		"down":                 {clientID, 503, `canary`, reason.NodeIdentityUnreachable, []string{"HTTP status 503"}},
		"not a token":          {clientID, 200, `{"access_token":"canary`, reason.EntraRejected, []string{"169.254.169.254", "not a token"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				node := &fakeNode{refuse: func(r *http.Request) (*http.Response, error) { return answer(r, tc.status, tc.body), nil }}
				started := time.Now()
				_, err := nodeTokens(t, node).Session(ofNode(tc.id, subject)).Token(t.Context(), scope, "")
				if reason.Of(err) != tc.reason.Name {
					t.Fatalf("got %v", err)
				}
				for _, want := range tc.says {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q is missing in %q", want, err)
					}
				}
				if took := time.Since(started); took > 4*time.Second || strings.Contains(err.Error(), "canary") || len(err.Error()) > 600 {
					t.Errorf("after %v: %q", took, err)
				}
			})
		})
	}
}

func TestANodeWithoutAnIdentityService(t *testing.T) {
	for name, node := range map[string]http.RoundTripper{
		"no answer": roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}),
		"refused": roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}),
		"no route": roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				_, err := nodeTokens(t, node).Session(ofNode("", subject)).Token(t.Context(), scope, "")
				if reason.Of(err) != reason.NodeIdentityUnreachable.Name || !strings.Contains(err.Error(), "the provider's pod must reach 169.254.169.254") {
					t.Fatalf("got %v", err)
				}
				if took := time.Since(started); took > 4*time.Second {
					t.Fatalf("took %v", took)
				}
			})
		})
	}
}

// Starting nodes answer with errors for a moment, so a short trouble is not the user's.
func TestAShortTroubleOfTheNodeIsSatOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{}
		var tries []time.Time
		flaky := roundTrip(func(r *http.Request) (*http.Response, error) {
			if tries = append(tries, time.Now()); len(tries) < 3 {
				return answer(r, 429, `{}`), nil
			}
			return node.RoundTrip(r)
		})
		if _, err := nodeTokens(t, flaky).Session(ofNode("", subject)).Token(t.Context(), scope, ""); err != nil {
			t.Fatal(err)
		}
		// Who was told that there are too many requests does not send the next ones at once.
		for i := range 2 {
			if pause := tries[i+1].Sub(tries[i]); pause < 800*time.Millisecond {
				t.Errorf("try %d came %v after the one before", i+2, pause)
			}
		}
	})
}

// The library looks at these variables itself, as in App Service.
func TestIdentityEndpoint(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-IDENTITY-HEADER") != "h" || r.URL.Query().Get("client_id") != clientID {
			t.Errorf("got %s %v", r.URL, r.Header)
		}
		fmt.Fprintf(w, `{"access_token":"from-the-endpoint","expires_on":"%d","resource":"x","token_type":"Bearer"}`, time.Now().Add(time.Hour).Unix())
	}))
	defer service.Close()
	t.Setenv("IDENTITY_ENDPOINT", service.URL)
	t.Setenv("IDENTITY_HEADER", "h")
	transport := entra.NewTransport(nil)
	defer transport.CloseIdleConnections()
	token, err := nodeTokens(t, transport).Session(ofNode(clientID, subject)).Token(t.Context(), scope, "")
	if err != nil || token.Token != "from-the-endpoint" {
		t.Fatalf("got %q, %v", token.Token, err)
	}
}
