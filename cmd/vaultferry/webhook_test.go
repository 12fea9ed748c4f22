// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_driver && !vaultferry_provider

package main

import (
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/vaultferry/vaultferry/internal/webhook"
)

func webhookSettings(t *testing.T, env map[string]string, args ...string) (webhook.Settings, error) {
	t.Helper()
	f := &webhookFlags{}
	cmd := newWebhookCommand(environment{stdout: io.Discard, stderr: io.Discard})
	cmd.ResetFlags()
	f.add(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		return webhook.Settings{}, err
	}
	if err := f.validate(); err != nil {
		return webhook.Settings{}, err
	}
	return f.settings(func(name string) string { return env[name] })
}

func bindingEnv() map[string]string {
	return map[string]string{
		"AZURE_TENANT_ID": "tenant", "AZURE_KUBERNETES_TOKEN_PROXY": "https://kubernetes.default.svc", "AZURE_KUBERNETES_SNI_NAME": "a.ests.aks",
		"AZURE_KUBERNETES_CA_CONFIGMAP_NAME": "kube-root-ca.crt",
	}
}

func bindingFlags() []string {
	return []string{"--custom-token-endpoint-annotation-suffix=identity-binding", "--custom-token-endpoint-audience=api://AKSIdentityBinding"}
}

func TestWebhookTakesFlagsAndEnvironmentOfTheAzureWebhook(t *testing.T) {
	env := bindingEnv()
	maps.Copy(env, map[string]string{"AZURE_ENVIRONMENT": "AzureUSGovernmentCloud", "PROXY_IMAGE": "p:1", "PROXY_INIT_IMAGE": "i:1"})
	got, err := webhookSettings(t, env, append(bindingFlags(), "--audience=api://a", "--webhook-cert-dir=/certs", "--disable-cert-rotation=false", "--tls-min-version=1.2",
		"--health-addr=:9440", "--metrics-addr=:8095", "--metrics-backend=prometheus", "--log-level=debug")...)
	if err != nil {
		t.Fatal(err)
	}
	if got.Audience != "api://a" || got.TenantID != "tenant" || got.AuthorityHost != "https://login.microsoftonline.us/" || got.ProxyImage != "p:1" ||
		got.ProxyInitImage != "i:1" || got.ProxyLogLevel != "debug" {
		t.Errorf("got %+v", got)
	}
	if e := got.Endpoint; e == nil || e.Annotation != "azure.workload.identity/use-identity-binding" || e.Audience != "api://AKSIdentityBinding" ||
		e.URL != "https://kubernetes.default.svc" || e.SNIName != "a.ests.aks" || e.CAConfigMap != "kube-root-ca.crt" {
		t.Errorf("got endpoint %+v", e)
	}
	plain, err := webhookSettings(t, map[string]string{"AZURE_TENANT_ID": "tenant"})
	if err != nil || plain.Audience != "api://AzureADTokenExchange" || plain.Endpoint != nil || plain.ProxyLogLevel != "info" {
		t.Errorf("got %+v, %v", plain, err)
	}
}

func TestWebhookRefusesABadStart(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(map[string]string)
		args   []string
		want   string
	}{
		"no tenant":        {func(e map[string]string) { delete(e, "AZURE_TENANT_ID") }, nil, "AZURE_TENANT_ID is required"},
		"unknown cloud":    {func(e map[string]string) { e["AZURE_ENVIRONMENT"] = "AzurePublcCloud" }, nil, `AZURE_ENVIRONMENT must be AzurePublicCloud`},
		"TLS":              {nil, []string{"--tls-min-version=1.4"}, "--tls-min-version"},
		"log level":        {nil, []string{"--log-level=loud"}, "--log-level"},
		"metrics backend":  {nil, []string{"--metrics-backend=statsd"}, "--metrics-backend"},
		"negative delay":   {nil, []string{"--shutdown-delay=-1s"}, "--shutdown-delay"},
		"suffix alone":     {nil, bindingFlags()[:1], "--custom-token-endpoint-audience is required"},
		"audience alone":   {nil, bindingFlags()[1:], "--custom-token-endpoint-annotation-suffix is required"},
		"default audience": {nil, []string{bindingFlags()[0], "--custom-token-endpoint-audience=API://azureadtokenexchange"}, "must differ"},
		"bad suffix":       {nil, []string{"--custom-token-endpoint-annotation-suffix=a/b", bindingFlags()[1]}, "is no annotation"},
		"no proxy":         {func(e map[string]string) { delete(e, "AZURE_KUBERNETES_TOKEN_PROXY") }, bindingFlags(), "AZURE_KUBERNETES_TOKEN_PROXY must be"},
		"two CAs":          {func(e map[string]string) { e["AZURE_KUBERNETES_CA_DATA"] = "PEM" }, bindingFlags(), "only one of"},
		"selector alone":   {func(e map[string]string) { e["AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR"] = "{}" }, bindingFlags(), "needs AZURE_KUBERNETES_CA_CTB_SIGNER_NAME"},
		"selector that is none": {func(e map[string]string) {
			delete(e, "AZURE_KUBERNETES_CA_CONFIGMAP_NAME")
			e["AZURE_KUBERNETES_CA_CTB_SIGNER_NAME"], e["AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR"] = "example.com/s", "a=b"
		}, bindingFlags(), "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR must be"},
	} {
		t.Run(name, func(t *testing.T) {
			env := bindingEnv()
			if tc.change != nil {
				tc.change(env)
			}
			if _, err := webhookSettings(t, env, tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
		})
	}
}
