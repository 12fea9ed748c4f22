// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secret"
)

func TestMount(t *testing.T) {
	var asked keyvault.Request
	r := start(t, fetch(func(ctx context.Context, request keyvault.Request) ([]keyvault.Object, error) {
		asked = request
		return everything(ctx, request)
	}))
	call := validCall()
	call.attributes["objects"] = "array:\n  - |\n    objectName: db\n    objectType: secret\n  - |\n    objectName: key\n    objectType: secret\n" +
		"    objectAlias: dir/key.txt\n    objectVersion: " + version + "\n    filePermission: \"0400\"\n"
	got, err := r.client.Mount(t.Context(), call.request())
	if err != nil {
		t.Fatal(err)
	}
	want := &v1alpha1.MountResponse{
		ObjectVersion: []*v1alpha1.ObjectVersion{{Id: "secret/db", Version: version}, {Id: "secret/key", Version: version}},
		Files: []*v1alpha1.File{
			{Path: "db", Mode: 0o644, Contents: []byte(canary)}, {Path: "dir/key.txt", Mode: 0o400, Contents: []byte(canary)},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatal(diff)
	}
	wantItems := []keyvault.Item{
		{Vault: "kv-platform-prod", Type: "secret", Name: "db"}, {Vault: "kv-platform-prod", Type: "secret", Name: "key", Version: version},
	}
	if diff := cmp.Diff(wantItems, asked.Items); diff != "" {
		t.Fatal(diff)
	}
	wantIdentity := entra.Identity{
		Cloud: entra.PublicCloud(), Tenant: "ffffffff-1111-2222-3333-444444444444",
		ClientID: "00001111-aaaa-2222-bbbb-3333cccc4444", Subject: subject, Issuer: "https://oidc.example/",
	}
	if diff := cmp.Diff(wantIdentity, asked.Tokens.Identity()); diff != "" {
		t.Fatal(diff)
	}
	for _, leak := range []string{canary, "c2lnbmF0dXJl", "eyJ"} {
		if strings.Contains(r.log.String(), leak) {
			t.Fatalf("the log holds %q: %s", leak, r.log)
		}
	}
}

func TestTokensInSecrets(t *testing.T) {
	r := start(t, fetch(everything))
	call := validCall()
	call.secrets = map[string]string{tokensKey: call.attributes[tokensKey]}
	delete(call.attributes, tokensKey)
	if _, err := r.client.Mount(t.Context(), call.request()); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedIdentities(t *testing.T) {
	for name, tc := range map[string]struct {
		breaks func(*mountCall)
		says   string
	}{
		"no tokens":           {func(m *mountCall) { delete(m.attributes, tokensKey) }, "service account tokens not found"},
		"tokens not JSON":     {func(m *mountCall) { m.attributes[tokensKey] = jwt() }, "failed to unmarshal service account tokens"},
		"another audience":    {func(m *mountCall) { m.attributes[tokensKey] = tokensFor("api://x", jwt()) }, "token for audience api://AzureADTokenExchange not found"},
		"not a token":         {func(m *mountCall) { m.attributes[tokensKey] = tokensFor(entra.DefaultAudience, canary) }, "not a JSON Web Token"},
		"another account":     {func(m *mountCall) { m.attributes[serviceAccountKey] = "other" }, "but the pod runs as"},
		"another namespace":   {func(m *mountCall) { m.attributes[podNamespaceKey] = "default" }, "but the pod runs as"},
		"another case":        {func(m *mountCall) { m.attributes[serviceAccountKey] = "App-sa" }, "but the pod runs as"},
		"account not told":    {func(m *mountCall) { delete(m.attributes, serviceAccountKey) }, "podInfoOnMount"},
		"audience's token ''": {func(m *mountCall) { m.attributes[tokensKey] = tokensFor(entra.DefaultAudience, "") }, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, fetch(func(context.Context, keyvault.Request) ([]keyvault.Object, error) {
				t.Error("the vault was asked")
				return nil, errors.New("unexpected")
			}))
			call := validCall()
			tc.breaks(&call)
			_, err := r.client.Mount(t.Context(), call.request())
			if reason.Of(err) != reason.TokenMissing.Name || status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error()+r.log.String(), canary) || strings.Contains(err.Error()+r.log.String(), "c2lnbmF0dXJl") {
				t.Fatalf("a token is in the error or the log: %v %s", err, r.log)
			}
		})
	}
}

func TestSovereignCloudsHaveAudiencesOfTheirOwn(t *testing.T) {
	for cloud, audience := range map[string]string{
		"AzureUSGovernmentCloud": "api://AzureADTokenExchangeUSGov", "azurechinacloud": "api://AzureADTokenExchangeChina", "AzureUSGovernment": entra.DefaultAudience,
	} {
		r := start(t, fetch(everything))
		call := validCall()
		call.attributes["cloudName"] = cloud
		call.attributes[tokensKey] = tokensFor(audience, jwt())
		if _, err := r.client.Mount(t.Context(), call.request()); err != nil {
			t.Fatalf("%s: %v", cloud, err)
		}
	}
}

func TestARequestThatIsNotJSON(t *testing.T) {
	for name, tc := range map[string]struct {
		breaks func(*v1alpha1.MountRequest)
		says   string
	}{
		"attributes":       {func(m *v1alpha1.MountRequest) { m.Attributes = canary }, "failed to unmarshal attributes, error: "},
		"attributes' type": {func(m *v1alpha1.MountRequest) { m.Attributes = `{"a":7}` }, "failed to unmarshal attributes, error: "},
		"secrets":          {func(m *v1alpha1.MountRequest) { m.Secrets = "[" + canary }, "failed to unmarshal secrets, error: "},
		"no secrets":       {func(m *v1alpha1.MountRequest) { m.Secrets = "" }, "failed to unmarshal secrets, error: "},
		"permission":       {func(m *v1alpha1.MountRequest) { m.Permission = "rw" }, "failed to unmarshal file permission, error: "},
		"permission < 0":   {func(m *v1alpha1.MountRequest) { m.Permission = "-1" }, "failed to unmarshal file permission, error: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, fetch(everything))
			request := validCall().request()
			tc.breaks(request)
			_, err := r.client.Mount(t.Context(), request)
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), canary) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestErrorsKeepReasonCodeAndPrefix(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		code codes.Code
		want string
	}{
		"reason":    {reason.New(reason.VaultForbidden, "grant it", "secret %q", "db"), codes.PermissionDenied, `failed to mount objects, error: VaultForbidden: secret "db"; grant it`},
		"cancelled": {context.Canceled, codes.Canceled, "context canceled"},
		"other":     {errors.New("two\nlines"), codes.Unknown, "failed to mount objects, error: two lines"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, fetch(func(context.Context, keyvault.Request) ([]keyvault.Object, error) { return nil, tc.err }))
			_, err := r.client.Mount(t.Context(), validCall().request())
			if s := status.Convert(err); s.Code() != tc.code || s.Message() != tc.want {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestTheBudgetBoundsAMount(t *testing.T) {
	r := start(t, fetch(func(ctx context.Context, _ keyvault.Request) ([]keyvault.Object, error) {
		<-ctx.Done()
		return nil, reason.New(reason.VaultUnreachable, "", "vault did not answer in time")
	}), func(c *Config) { c.Budget = 10 * time.Millisecond })
	if _, err := r.client.Mount(t.Context(), validCall().request()); reason.Of(err) != reason.VaultUnreachable.Name {
		t.Fatalf("got %v", err)
	}
}

func TestAPanicEndsOneCallOnly(t *testing.T) {
	panics := true
	r := start(t, fetch(func(ctx context.Context, request keyvault.Request) ([]keyvault.Object, error) {
		if panics {
			panic(canary)
		}
		return everything(ctx, request)
	}))
	_, err := r.client.Mount(t.Context(), validCall().request())
	if status.Code(err) != codes.Internal || reason.Of(err) != reason.Unexpected.Name {
		t.Fatalf("got %v", err)
	}
	if log := r.log.String(); !strings.Contains(log, "panic_type=string") || !strings.Contains(log, "server_test.go") || strings.Contains(log, canary) {
		t.Fatalf("the log says %s", log)
	}
	panics = false
	if _, err := r.client.Mount(t.Context(), validCall().request()); err != nil {
		t.Fatalf("after the panic: %v", err)
	}
}

func TestVersion(t *testing.T) {
	r := start(t, fetch(everything))
	got, err := r.client.Version(t.Context(), &v1alpha1.VersionRequest{Version: "v1alpha1"})
	want := &v1alpha1.VersionResponse{Version: "v1alpha1", RuntimeName: "secrets-store-csi-driver-provider-azure", RuntimeVersion: "v1.2.3"}
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
}

func TestHealth(t *testing.T) {
	r := start(t, fetch(everything))
	answer, err := grpc_health_v1.NewHealthClient(r.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatalf("got %v, %v", answer, err)
	}
	handler, err := NewHealth(r.endpoint, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer handler.Close()
	probe := func() (int, string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		return w.Code, w.Body.String()
	}
	if code, body := probe(); code != http.StatusOK || body != "ok" {
		t.Fatalf("got %d %q", code, body)
	}
	r.stop()
	handler.timeout = 50 * time.Millisecond
	if code, _ := probe(); code != http.StatusServiceUnavailable {
		t.Fatalf("got %d after the end", code)
	}
}

func TestAShutdownLetsCallsFinish(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	r := start(t, fetch(func(ctx context.Context, request keyvault.Request) ([]keyvault.Object, error) {
		close(began)
		<-finish
		return everything(ctx, request)
	}))
	result := make(chan error, 1)
	go func() { _, err := r.client.Mount(t.Context(), validCall().request()); result <- err }()
	<-began
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	path := strings.TrimPrefix(r.endpoint, "unix://")
	await(t, "the socket's name is gone", func() bool { _, err := os.Lstat(path); return err != nil })
	close(finish)
	if err := <-result; err != nil {
		t.Fatalf("the call under way got %v", err)
	}
	<-stopped
}

func TestAShutdownDoesNotWaitForEver(t *testing.T) {
	began := make(chan struct{})
	r := start(t, fetch(func(ctx context.Context, _ keyvault.Request) ([]keyvault.Object, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	}), func(c *Config) { c.Grace, c.Budget = 10*time.Millisecond, time.Hour })
	result := make(chan error, 1)
	go func() {
		_, err := r.client.Mount(t.Context(), validCall().request(), grpc.WaitForReady(false))
		result <- err
	}()
	<-began
	r.stop()
	if err := <-result; err == nil {
		t.Fatal("the call that never ends got an answer")
	}
}

func TestNewRefuses(t *testing.T) {
	valid := Config{
		Endpoint: "unix:///x/y.sock", Objects: fetch(everything), Logger: slog.New(slog.DiscardHandler),
		Session: func(entra.Login) keyvault.TokenSource { return nil },
	}
	if _, err := New(valid); err != nil {
		t.Fatal(err)
	}
	for name, breaks := range map[string]func(*Config){
		"no objects": func(c *Config) { c.Objects = nil }, "no session": func(c *Config) { c.Session = nil }, "no logger": func(c *Config) { c.Logger = nil },
		"tcp": func(c *Config) { c.Endpoint = "tcp://1.2.3.4:5" }, "no path": func(c *Config) { c.Endpoint = "unix://" }, "root": func(c *Config) { c.Endpoint = "unix:///" },
		"cloud": func(c *Config) { c.Cloud = "Moon" },
	} {
		t.Run(name, func(t *testing.T) {
			config := valid
			breaks(&config)
			if _, err := New(config); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}

// One object can be in any number of files, which do not add up without bound.
func TestTheFilesOfAVolumeAreBounded(t *testing.T) {
	value := secret.New(bytes.Repeat([]byte("ab"), 100<<10))
	r := start(t, fetch(func(_ context.Context, q keyvault.Request) ([]keyvault.Object, error) {
		objects := make([]keyvault.Object, len(q.Items))
		for i := range objects {
			objects[i] = keyvault.Object{Version: version, Content: value}
		}
		return objects, nil
	}))
	for files, fits := range map[int]bool{15: true, 81: true, 82: false} {
		call := validCall()
		objects := "array:\n"
		for i := range files {
			objects += fmt.Sprintf("  - |\n    objectName: db\n    objectType: secret\n    objectAlias: f%d\n", i)
		}
		call.attributes["objects"] = objects
		got, err := r.client.Mount(t.Context(), call.request(), grpc.MaxCallRecvMsgSize(32<<20))
		if fits != (err == nil) || fits && len(got.GetFiles()) != files {
			t.Errorf("%d files: got %d, %v", files, len(got.GetFiles()), err)
		} else if !fits && (reason.Of(err) != reason.ObjectsInvalid.Name || !strings.Contains(err.Error(), "more than 16 MiB together")) {
			t.Errorf("%d files: got %v", files, err)
		}
	}
}
