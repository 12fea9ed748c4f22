// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

func TestSecretsAreRead(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	class := w.class("app", "db")
	class["objects"] += "  - |\n    objectName: old\n    objectType: secret\n    objectVersion: 0123456789abcdef0123456789abcdef\n" +
		"    objectAlias: dir/first\n    filePermission: \"0400\"\n"
	got, err := w.publish(class)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.GetFiles()) != 2 || len(got.GetObjectVersion()) != 2 {
		t.Fatalf("got %d files and %d versions", len(got.GetFiles()), len(got.GetObjectVersion()))
	}
	db, first := got.GetFiles()[0], got.GetFiles()[1]
	if db.GetPath() != "db" || db.GetMode() != 0o644 || string(db.GetContents()) != canary+"db" {
		t.Fatalf("got %s %o", db.GetPath(), db.GetMode())
	}
	if first.GetPath() != "dir/first" || first.GetMode() != 0o400 || string(first.GetContents()) != canary+"v1" {
		t.Fatalf("got %s %o", first.GetPath(), first.GetMode())
	}
	if v := got.GetObjectVersion(); v[0].GetId() != "secret/db" || len(v[0].GetVersion()) != 32 ||
		v[1].GetId() != "secret/old" || v[1].GetVersion() != "0123456789abcdef0123456789abcdef" {
		t.Fatalf("got versions %v", v)
	}
}

// 50 volumes of 5 secrets at once on a cold provider ask Entra ID once, and the vault for nothing but the objects.
func TestAnIdentityAsksForOneToken(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC, "other": rightFIC})
	var volumes sync.WaitGroup
	for range 50 {
		class := w.class("app", "s1", "s2", "s3", "s4", "s5")
		volumes.Go(func() {
			if _, err := w.publish(class); err != nil {
				t.Error(err)
			}
		})
	}
	volumes.Wait()
	if _, err := w.publish(w.class("other", "s1")); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"OpenIDConfiguration 200": 1, "TokenRequest 200": 2, "SecretGet 200": 251}
	if diff := cmp.Diff(want, w.requests()); diff != "" {
		t.Fatal(diff)
	}
}

// mistake is one thing done wrong: the identity used, what is changed in its class, and what the answer says.
type mistake struct {
	identity string
	breaks   func(w *world, class map[string]string)
	reason   reason.Reason
	code     codes.Code
	says     []string
}

func set(key, value string) func(*world, map[string]string) {
	return func(_ *world, class map[string]string) { class[key] = value }
}

func object(lines ...string) func(*world, map[string]string) {
	return set("objects", "array:\n  - |\n    "+strings.Join(lines, "\n    ")+"\n")
}

func mistakes() map[string]mistake {
	const noRecord = "No matching federated identity record found"
	return map[string]mistake{
		"objects not YAML": {
			"app", object("objectName: db", "objectType secret", "objectAlias: x"), reason.ObjectsInvalid, codes.InvalidArgument,
			[]string{"index 0", "line 4 of spec.parameters.objects"},
		},
		"unknown objectType": {
			"app", object("objectName: db", "objectType: secrets"), reason.ObjectsInvalid, codes.InvalidArgument,
			[]string{"line 4", "Should be secret, key, or cert", "did you mean secret?"},
		},
		"no keyvaultName": {"app", set("keyvaultName", ""), reason.ParameterInvalid, codes.InvalidArgument, []string{"keyvaultName is not provided", "spec.parameters.keyvaultName"}},
		"no tenantId":     {"app", set("tenantId", ""), reason.ParameterInvalid, codes.InvalidArgument, []string{"tenantId is not provided", "spec.parameters.tenantID"}},
		"no clientID":     {"app", set("clientID", ""), reason.ParameterInvalid, codes.InvalidArgument, []string{"clientID is not provided", "spec.parameters.clientID"}},
		"invalid vault name": {
			"app", set("keyvaultName", "kv_prod"), reason.VaultNameInvalid, codes.InvalidArgument, []string{`Invalid vault name: "kv_prod", must match`},
		},
		"path escapes": {
			"app", object("objectName: db", "objectType: secret", "objectAlias: ../../etc/passwd"), reason.ObjectsInvalid, codes.InvalidArgument,
			[]string{"line 5", "file name must not contain '..'"},
		},
		"wrong subject": {
			"subject", nil, reason.FederatedSubjectMismatch, codes.Unauthenticated,
			[]string{"AADSTS700213: " + noRecord, subject, "az identity federated-credential create"},
		},
		"subject in another case": {
			"case", nil, reason.FederatedSubjectMismatch, codes.Unauthenticated, []string{"AADSTS7002138", "upper and lower case count"},
		},
		"wrong issuer": {
			"issuer", nil, reason.FederatedIssuerMismatch, codes.Unauthenticated, []string{"AADSTS700211: " + noRecord, "--issuer " + issuer},
		},
		"wrong audience": {
			"audience", nil, reason.FederatedAudienceMismatch, codes.Unauthenticated, []string{"AADSTS700212: " + noRecord},
		},
		"no federated credential": {"none", nil, reason.FederatedCredentialMissing, codes.Unauthenticated, []string{"AADSTS70025"}},
		"unknown client": {
			"app", set("clientID", "99999999-9999-4999-8999-999999999999"), reason.IdentityNotFound, codes.Unauthenticated, []string{"AADSTS700016"},
		},
		"unknown tenant": {
			"app", set("tenantId", "99999999-9999-4999-8999-999999999999"), reason.TenantNotFound, codes.Unauthenticated, []string{"AADSTS90002"},
		},
		"ended token": {"app", func(w *world, class map[string]string) {
			class["csi.storage.k8s.io/serviceAccount.tokens"] = `{"` + entra.DefaultAudience + `":{"token":"` +
				w.token(subject, -6*time.Minute) + `"}}`
		}, reason.TokenExpired, codes.Unauthenticated, []string{"compare the clocks"}},
		"no token": {
			"app", set("csi.storage.k8s.io/serviceAccount.tokens", ""), reason.TokenMissing, codes.FailedPrecondition, []string{"tokenRequests"},
		},
		"another account's token": {
			"app", set("csi.storage.k8s.io/serviceAccount.name", "other"), reason.TokenMissing, codes.FailedPrecondition, []string{"but the pod runs as"},
		},
		"missing role": {
			"norole", nil, reason.VaultForbidden, codes.PermissionDenied,
			[]string{`secret "db" in ` + vault, `"Key Vault Secrets User"`, "az role assignment create"},
		},
		"object not found": {"app", object("objectName: nope", "objectType: secret"), reason.ObjectNotFound, codes.NotFound, []string{`secret "nope" in ` + vault}},
		"version not found": {
			"app", object("objectName: db", "objectType: secret", "objectVersion: ffffffffffffffffffffffffffffffff"), reason.ObjectNotFound, codes.NotFound,
			[]string{"version ffffffffffffffffffffffffffffffff"},
		},
		"disabled object": {"app", object("objectName: off", "objectType: secret"), reason.ObjectDisabled, codes.FailedPrecondition, []string{`secret "off" in ` + vault + " is disabled"}},
		"vault does not resolve": {
			"app", set("keyvaultName", "kv-typo"), reason.VaultNotFound, codes.NotFound, []string{"no such host kv-typo.vault.azure.net", "spec.parameters.keyvaultName"},
		},
		"Entra unreachable": {"hanging-entra", nil, reason.EntraUnreachable, codes.Unavailable, []string{"login.microsoftonline.com", "did not answer in time"}},
		"vault unreachable": {"hanging-vault", nil, reason.VaultUnreachable, codes.Unavailable, []string{vault, "did not answer in time"}},
		"throttled": {
			"app", set("keyvaultName", "kv-throttled"), reason.VaultThrottled, codes.ResourceExhausted, []string{"kv-throttled", "left alone for 7 s"},
		},
	}
}

// Each mistake gets its reason, its gRPC code and one line with the next step; none disturbs the next mount.
func TestMistakes(t *testing.T) {
	w := newWorld(t, map[string]string{
		"app": rightFIC, "norole": rightFIC, "hanging-entra": rightFIC, "hanging-vault": rightFIC, "none": "",
		"subject":  `{issuer: "` + issuer + `", subject: "system:serviceaccount:payments:app"}`,
		"case":     `{issuer: "` + issuer + `", subject: "system:serviceaccount:payments:App-sa"}`,
		"issuer":   `{issuer: "https://oidc.example.test/cluster", subject: "` + subject + `"}`,
		"audience": `{issuer: "` + issuer + `", subject: "` + subject + `", audiences: [api://Else]}`,
	})
	w.do("POST", "/faults", map[string]any{"service": "entra", "identity": "hanging-entra", "blackhole": true}, nil)
	w.do("POST", "/faults", map[string]any{"service": "vault", "identity": "hanging-vault", "blackhole": true}, nil)
	w.do("POST", "/faults", map[string]any{"vault": "kv-throttled", "status": 429, "retryAfter": "7s"}, nil)
	t.Run("mistakes", func(t *testing.T) {
		for name, m := range mistakes() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				class := w.class(m.identity, "db")
				if m.breaks != nil {
					m.breaks(w, class)
				}
				_, err := w.publish(class)
				m.check(t, err)
			})
		}
	})
	if _, err := w.publish(w.class("app", "db")); err != nil {
		t.Fatalf("after the mistakes: %v", err)
	}
}

func (m mistake) check(t *testing.T, err error) {
	t.Helper()
	s := status.Convert(err)
	if reason.Of(err) != m.reason.Name || s.Code() != m.code {
		t.Fatalf("got %s %v, want %s %s", reason.Of(err), err, m.reason.Name, m.code)
	}
	t.Log(s.Message())
	if !strings.HasPrefix(s.Message(), "failed to mount objects, error: "+m.reason.Name+": ") {
		t.Errorf("the message begins otherwise: %q", s.Message())
	}
	for _, want := range m.says {
		if !strings.Contains(s.Message(), want) {
			t.Errorf("%q is missing in %q", want, s.Message())
		}
	}
	for _, never := range []string{"\n", "\r", "rpc error", "-----", "RESPONSE", "eyJ", canary} {
		if strings.Contains(s.Message(), never) {
			t.Errorf("%q is in %q", never, s.Message())
		}
	}
	// kubelet cuts an event at 1,024 characters and puts some 200 of its own and of the driver's before it.
	if len(s.Message()) > 800 {
		t.Errorf("the message has %d characters: %q", len(s.Message()), s.Message())
	}
}

// What was wrong is put right, and the same running provider reads the secret.
func TestAMendedMistakeNeedsNoRestart(t *testing.T) {
	w := newWorld(t, map[string]string{"norole": rightFIC, "none": ""})
	for identity, mend := range map[string]func(){
		"norole": func() {
			w.do("POST", "/role-assignments", map[string]string{
				"role": "Key Vault Secrets User", "assignee": "norole", "scope": "/subscriptions/eeeeeeee-1111-2222-3333-444444444444/resourceGroups/" +
					"rg-platform/providers/Microsoft.KeyVault/vaults/" + vault,
			}, nil)
		},
		"none": func() {
			w.do("POST", "/identities/none/federated-credentials", map[string]any{"name": "fic", "issuer": issuer, "subject": subject}, nil)
		},
	} {
		if _, err := w.publish(w.class(identity, "db")); err == nil {
			t.Fatalf("%s: the mistake went unnoticed", identity)
		}
		mend()
		if _, err := w.publish(w.class(identity, "db")); err != nil {
			t.Fatalf("%s: %v", identity, err)
		}
	}
}

func TestTransientFaultsAreRiddenOut(t *testing.T) {
	for name, fault := range map[string]map[string]any{
		"vault resets the connection": {"service": "vault", "reset": true, "count": 1},
		"vault is down":               {"service": "vault", "status": 503, "count": 2},
		"Entra is down":               {"service": "entra", "status": 503, "count": 2},
		"Entra resets the connection": {"service": "entra", "reset": true, "count": 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, map[string]string{"app": rightFIC})
			w.do("POST", "/faults", fault, nil)
			if _, err := w.publish(w.class("app", "db")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Entra ID's signing keys change and the old ones are withdrawn at once: the kept token is refused, and a new one is fetched in the
// same call.
func TestAWithdrawnTokenIsReplaced(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	if _, err := w.publish(w.class("app", "db")); err != nil {
		t.Fatal(err)
	}
	w.do("POST", "/keys/rotate?forget=true", nil, nil)
	if _, err := w.publish(w.class("app", "db")); err != nil {
		t.Fatal(err)
	}
	if got := w.requests()["TokenRequest 200"]; got != 2 {
		t.Fatalf("%d token requests", got)
	}
}

// The role is taken away: delivery stops with the next call, although the token is still good.
func TestARevokedRoleStopsDelivery(t *testing.T) {
	w := newWorld(t, map[string]string{"app": rightFIC})
	if _, err := w.publish(w.class("app", "db")); err != nil {
		t.Fatal(err)
	}
	w.do("DELETE", "/role-assignments?assignee=app", nil, nil)
	if _, err := w.publish(w.class("app", "db")); reason.Of(err) != reason.VaultForbidden.Name {
		t.Fatalf("got %v", err)
	}
}
