// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/vaultferry/vaultferry/internal/emulator"
)

// The official Go SDK works unmodified: no option of a client but its
// transport, which does what HTTPS_PROXY and SSL_CERT_FILE do.
func TestGoSDK(t *testing.T) {
	r, is := startPlatform(t)
	options := azcore.ClientOptions{Transport: r.http}
	tokenFile := filepath.Join(t.TempDir(), "token")
	write(t, tokenFile, is.sign(t, is.claims(r.clock.now())))

	bySecret, err := azidentity.NewClientSecretCredential(tenantID, ciApp, "ci-secret", &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	byAssertion, err := azidentity.NewClientAssertionCredential(tenantID, clientID, func(context.Context) (string, error) {
		return is.sign(t, is.claims(r.clock.now())), nil
	}, &azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	byFile, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: options, ClientID: clientID, TenantID: tenantID, TokenFilePath: tokenFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, credential := range map[string]azcore.TokenCredential{"secret": bySecret, "assertion": byAssertion, "workload identity": byFile} {
		// An empty version and a URL that ends in a slash are what people write.
		for _, url := range []string{vaultURL, vaultURL + "/"} {
			client := secretsClient(t, url, credential, options)
			got, err := client.GetSecret(t.Context(), "db", "", nil)
			if err != nil || *got.Value != dbSecret {
				t.Errorf("%s at %s: %v", name, url, err)
			}
		}
	}
	everySecretCall(t, secretsClient(t, vaultURL, bySecret, options))
}

func secretsClient(t *testing.T, url string, credential azcore.TokenCredential, options azcore.ClientOptions) *azsecrets.Client {
	t.Helper()
	client, err := azsecrets.NewClient(url, credential, &azsecrets.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func everySecretCall(t *testing.T, client *azsecrets.Client) {
	t.Helper()
	ctx := t.Context()
	value, off := "one", false
	set, err := client.SetSecret(ctx, "made", azsecrets.SetSecretParameters{Value: &value}, nil)
	if err != nil {
		t.Fatalf("set: %v", err)
	}
	for i := range 30 {
		if _, err := client.SetSecret(ctx, fmt.Sprintf("many-%02d", i), azsecrets.SetSecretParameters{Value: &value}, nil); err != nil {
			t.Fatalf("set: %v", err)
		}
	}
	if got, err := client.GetSecret(ctx, "made", set.ID.Version(), nil); err != nil || *got.Value != value {
		t.Errorf("get by version: %v", err)
	}
	names := 0
	for pager := client.NewListSecretPropertiesPager(nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		names += len(page.Value)
	}
	if names != 35 {
		t.Errorf("listed %d secrets, want 35", names)
	}
	if _, err := client.UpdateSecretProperties(ctx, "made", set.ID.Version(), azsecrets.UpdateSecretPropertiesParameters{
		SecretAttributes: &azsecrets.SecretAttributes{Enabled: &off}}, nil); err != nil {
		t.Errorf("update: %v", err)
	}
	wantCode(t, "disabled", 403, "Forbidden", func() error { _, err := client.GetSecret(ctx, "made", "", nil); return err })
	versions := client.NewListSecretPropertiesVersionsPager("made", nil)
	if page, err := versions.NextPage(ctx); err != nil || len(page.Value) != 1 || *page.Value[0].Attributes.Enabled {
		t.Errorf("versions: %v %v", page, err)
	}
	backup, err := client.BackupSecret(ctx, "made", nil)
	if err != nil {
		t.Errorf("backup: %v", err)
	}
	if _, err := client.DeleteSecret(ctx, "made", nil); err != nil {
		t.Errorf("delete: %v", err)
	}
	wantCode(t, "deleted", 404, "SecretNotFound", func() error { _, err := client.GetSecret(ctx, "made", "", nil); return err })
	wantCode(t, "set deleted", 409, "Conflict", func() error {
		_, err := client.SetSecret(ctx, "made", azsecrets.SetSecretParameters{Value: &value}, nil)
		return err
	})
	if _, err := client.GetDeletedSecret(ctx, "made", nil); err != nil {
		t.Errorf("get deleted: %v", err)
	}
	if page, err := client.NewListDeletedSecretPropertiesPager(nil).NextPage(ctx); err != nil || len(page.Value) != 1 {
		t.Errorf("list deleted: %v", err)
	}
	if _, err := client.RecoverDeletedSecret(ctx, "made", nil); err != nil {
		t.Errorf("recover: %v", err)
	}
	if _, err := client.DeleteSecret(ctx, "made", nil); err != nil {
		t.Errorf("delete again: %v", err)
	}
	if _, err := client.PurgeDeletedSecret(ctx, "made", nil); err != nil {
		t.Errorf("purge: %v", err)
	}
	if _, err := client.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: backup.Value}, nil); err != nil {
		t.Errorf("restore: %v", err)
	}
}

func wantCode(t *testing.T, what string, status int, code string, call func() error) {
	t.Helper()
	var re *azcore.ResponseError
	if err := call(); !errors.As(err, &re) || re.StatusCode != status || re.ErrorCode != code {
		t.Errorf("%s: got %v, want %d %s", what, err, status, code)
	}
}

// Names of one's own and a port of one's own, without the proxy: the challenge
// must still satisfy the SDK's check of host and port.
func TestGoSDKOwnNames(t *testing.T) {
	is := newIssuer(t)
	state := "names: {login: login.azure.test, vaultSuffix: vault.azure.test}\n" + strings.ReplaceAll(platform, "ISSUER", is.url)
	r := start(t, state, func(c *emulator.Config) { c.IssuerCAFiles = []string{is.caFile} })
	address := r.Addresses().TLS
	_, port, _ := net.SplitHostPort(address)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.CA())
	direct := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		// Name resolution: every name is the emulator.
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	t.Cleanup(direct.CloseIdleConnections)
	options := azcore.ClientOptions{Transport: direct, Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: "https://login.azure.test:" + port + "/"}}
	credential, err := azidentity.NewClientSecretCredential(tenantID, ciApp, "ci-secret", &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	got, err := secretsClient(t, "https://kv-platform-prod.vault.azure.test:"+port, credential, options).GetSecret(t.Context(), "db", "", nil)
	if err != nil || *got.Value != dbSecret || !strings.HasPrefix(string(*got.ID), "https://kv-platform-prod.vault.azure.test:"+port+"/") {
		t.Errorf("%v", err)
	}
}

// The SDK's own retries get through a throttled vault, and a refusal of Entra ID
// arrives as azidentity's error.
func TestGoSDKErrors(t *testing.T) {
	r, is := startPlatform(t)
	options := azcore.ClientOptions{Transport: r.http, Retry: policy.RetryOptions{RetryDelay: 1}}
	credential := func(subject string) azcore.TokenCredential {
		c, err := azidentity.NewClientAssertionCredential(tenantID, clientID, func(context.Context) (string, error) {
			claims := is.claims(r.clock.now())
			claims["sub"] = subject
			return is.sign(t, claims), nil
		}, &azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r.adminDo("POST", "/faults", map[string]any{"operation": "SecretGet", "status": 429, "count": 2}, nil)
	if _, err := secretsClient(t, vaultURL, credential(subject), options).GetSecret(t.Context(), "db", "", nil); err != nil {
		t.Errorf("throttled twice: %v", err)
	}
	if n := r.count("SecretGet", 429); n != 2 {
		t.Errorf("%d answers of 429, want 2", n)
	}
	var failed *azidentity.AuthenticationFailedError
	_, err := secretsClient(t, vaultURL, credential("system:serviceaccount:payments:typo"), options).GetSecret(t.Context(), "db", "", nil)
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "AADSTS700213") {
		t.Errorf("wrong subject: %v", err)
	}
	_, err = secretsClient(t, "https://kv-unknown.vault.azure.net", credential(subject), options).GetSecret(t.Context(), "db", "", nil)
	if err == nil || !strings.Contains(err.Error(), "no such host kv-unknown.vault.azure.net") {
		t.Errorf("unknown vault: %v", err)
	}
}
