// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_driver && !vaultferry_provider && !vaultferry_webhook

package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/vaultferry/vaultferry/internal/announce"
	"github.com/vaultferry/vaultferry/internal/entra"
)

// eventFlags are those of rotations that Key Vault's events ask for.
type eventFlags struct {
	endpoint, topic, subscription string
	clientID, tenantID, tokenFile string
}

func (f *eventFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.endpoint, "events-endpoint", "",
		"URL of the Event Grid namespace whose events of Key Vault ask for rotations, https://NAMESPACE.REGION-1.eventgrid.azure.net; empty: none")
	flags.StringVar(&f.topic, "events-topic", "", "topic of the namespace")
	flags.StringVar(&f.subscription, "events-subscription", "", "event subscription of the topic, of delivery mode queue")
	flags.StringVar(&f.clientID, "events-client-id", "", "client id of the workload identity that receives; empty: AZURE_CLIENT_ID")
	flags.StringVar(&f.tenantID, "events-tenant-id", "", "tenant of that identity; empty: AZURE_TENANT_ID")
	flags.StringVar(&f.tokenFile, "events-token-file", "", "file with the service account's token for Entra ID; empty: AZURE_FEDERATED_TOKEN_FILE")
}

// complete takes from the environment what the workload identity webhook puts there.
func (f *eventFlags) complete(env environment) {
	if f.endpoint == "" {
		return
	}
	f.clientID = cmp.Or(f.clientID, env.getenv("AZURE_CLIENT_ID"))
	f.tenantID = cmp.Or(f.tenantID, env.getenv("AZURE_TENANT_ID"))
	f.tokenFile = cmp.Or(f.tokenFile, env.getenv("AZURE_FEDERATED_TOKEN_FILE"))
}

func (f *eventFlags) validate() error {
	for _, flag := range []struct{ name, value, from string }{
		{"--events-topic", f.topic, ""},
		{"--events-subscription", f.subscription, ""},
		{"--events-client-id", f.clientID, "AZURE_CLIENT_ID"},
		{"--events-tenant-id", f.tenantID, "AZURE_TENANT_ID"},
		{"--events-token-file", f.tokenFile, "AZURE_FEDERATED_TOKEN_FILE"},
	} {
		switch {
		case f.endpoint == "" && flag.value != "":
			return fmt.Errorf("%s has no effect without --events-endpoint: pass both, or neither", flag.name)
		case f.endpoint != "" && flag.value == "" && flag.from == "":
			return fmt.Errorf("--events-endpoint needs %s", flag.name)
		case f.endpoint != "" && flag.value == "":
			return fmt.Errorf("--events-endpoint needs %s, or %s in the environment", flag.name, flag.from)
		}
	}
	return nil
}

// newAnnounce returns what asks for rotations upon events.
func newAnnounce(f *eventFlags, api *rest.Config, registry prometheus.Registerer, wrote func(resource string), log *slog.Logger) (*announce.Controller, error) {
	id := "vaultferry/" + version
	id = id[:min(len(id), 24)] // Azure allows no more
	tokens, err := entra.New(entra.Config{Transport: entra.NewTransport(http.ProxyFromEnvironment), ApplicationID: id})
	if err != nil {
		return nil, err
	}
	login, err := announce.NewLogin(announce.LoginConfig{Tokens: tokens, ClientID: f.clientID, TenantID: f.tenantID, TokenFile: f.tokenFile})
	if err != nil {
		return nil, err
	}
	grid, err := announce.NewGrid(announce.GridConfig{
		Endpoint: f.endpoint, Topic: f.topic, Subscription: f.subscription,
		Login: login, Transport: entra.NewTransport(http.ProxyFromEnvironment), ApplicationID: id,
	})
	if err != nil {
		return nil, errors.Join(errors.New("--events-endpoint"), err)
	}
	return announce.New(announce.Config{API: api, Source: grid, Log: log, Metrics: announce.NewMetrics(registry), Wrote: wrote})
}
