// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/spf13/cobra"

	"github.com/vaultferry/vaultferry/internal/arm"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/explain"
)

// azureFlags say whether and how Azure is asked.
type azureFlags struct {
	ask, proxy, caFile, cloud string
	subscriptions             []string
}

func (f *azureFlags) flags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.ask, "azure", "auto", "look federated credentials and roles up in Azure: auto (if there are credentials), always or never")
	fl.StringVar(&f.proxy, "azure-proxy", "", "HTTP proxy to Azure, for example that of azure-emulator (default: HTTPS_PROXY)")
	fl.StringVar(&f.caFile, "azure-ca-file", "", "file with certificates in PEM to trust besides the system's, for example azure-emulator's")
	fl.StringVar(&f.cloud, "azure-cloud", "AzurePublicCloud", "cloud: AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud")
	fl.StringSliceVar(&f.subscriptions, "subscription", nil, "ids of the subscriptions to search (default: all that the credentials see)")
	mustRegister(cmd.RegisterFlagCompletionFunc("azure", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp)))
}

// clouds are those that Azure's libraries know.
func clouds() map[string]cloud.Configuration {
	return map[string]cloud.Configuration{
		"AzurePublicCloud": cloud.AzurePublic, "AzureUSGovernmentCloud": cloud.AzureGovernment, "AzureChinaCloud": cloud.AzureChina,
	}
}

// client returns who is asked about Azure; nil where nobody is.
func (f *azureFlags) client(a *app) (explain.Azure, error) {
	asks := []string{"auto", "always", "never"}
	names := []string{"AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud"}
	switch {
	case !slices.Contains(asks, f.ask):
		return nil, usagef("--azure %q: use auto, always or never%s", f.ask, didYouMean(f.ask, asks))
	case !slices.Contains(names, f.cloud):
		return nil, usagef("--azure-cloud %q: use AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud%s", f.cloud, didYouMean(f.cloud, names))
	case f.ask == "never" || f.ask == "auto" && !f.hasCredentials(a):
		return nil, nil
	}
	transport, err := f.transport()
	if err != nil {
		return nil, err
	}
	client := entra.HTTPClient(transport, maxAzureAnswer)
	credential, err := f.credential(a, client)
	if err != nil {
		return nil, fmt.Errorf("credentials for Azure: %w", err)
	}
	return arm.New(arm.Config{Credential: credential, HTTP: client, Cloud: clouds()[f.cloud], Subscriptions: f.subscriptions}), nil
}

// maxAzureAnswer bounds an answer of Azure Resource Manager, in bytes.
const maxAzureAnswer = 16 << 20

// environment are the variables of a service principal, as Azure's own tools have them.
var environment = []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"}

func (a *app) hasAll(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return a.getenv(name) == "" })
}

func (f *azureFlags) hasCredentials(a *app) bool {
	if a.hasAll(environment) {
		return true
	}
	_, err := exec.LookPath("az")
	return err == nil
}

func (f *azureFlags) credential(a *app, client *http.Client) (azcore.TokenCredential, error) {
	if a.hasAll(environment) {
		return azidentity.NewClientSecretCredential(a.getenv(environment[0]), a.getenv(environment[1]), a.getenv(environment[2]),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: client, Cloud: clouds()[f.cloud]}})
	}
	return azidentity.NewAzureCLICredential(nil)
}

// transport is the way to Azure.
func (f *azureFlags) transport() (*http.Transport, error) {
	proxy := http.ProxyFromEnvironment
	if f.proxy != "" {
		address, err := url.Parse(f.proxy)
		if err != nil || address.Host == "" {
			return nil, usagef("--azure-proxy %q is not a URL such as http://127.0.0.1:8080", f.proxy)
		}
		proxy = http.ProxyURL(address)
	}
	transport := entra.NewTransport(proxy)
	if f.caFile == "" {
		return transport, nil
	}
	certificates, err := os.ReadFile(f.caFile)
	if err != nil {
		return nil, fmt.Errorf("--azure-ca-file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(certificates) {
		return nil, errors.New("--azure-ca-file " + f.caFile + ": it holds no certificate in PEM")
	}
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	return transport, nil
}
