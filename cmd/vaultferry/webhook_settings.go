// SPDX-License-Identifier: Apache-2.0

//go:build !vaultferry_controller && !vaultferry_driver && !vaultferry_provider

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/vaultferry/vaultferry/internal/webhook"
)

// settings returns what pods get, from flags and from the environment: the variables of the Azure webhook's ConfigMap.
func (f *webhookFlags) settings(getenv func(string) string) (webhook.Settings, error) {
	s := webhook.Settings{
		Audience: f.audience, TenantID: getenv("AZURE_TENANT_ID"),
		ProxyImage: getenv("PROXY_IMAGE"), ProxyInitImage: getenv("PROXY_INIT_IMAGE"), ProxyLogLevel: f.proxyLogLevel(),
		LegacyTokenPath: f.legacyTokenPath,
	}
	if s.Audience == "" {
		s.Audience = webhook.DefaultAudience
	}
	if s.TenantID == "" {
		return s, errors.New("AZURE_TENANT_ID is required: set it to the id of the tenant whose identities pods use (az account show --query tenantId)")
	}
	var known bool
	if s.AuthorityHost, known = webhook.AuthorityHost(getenv("AZURE_ENVIRONMENT")); !known {
		return s, fmt.Errorf("AZURE_ENVIRONMENT must be AzurePublicCloud, AzureUSGovernmentCloud, AzureChinaCloud or AzureGermanCloud, not %q", getenv("AZURE_ENVIRONMENT"))
	}
	var err error
	s.Endpoint, err = f.endpoint(getenv)
	return s, err
}

// endpoint returns the cluster's token endpoint, nil where the flags name none.
func (f *webhookFlags) endpoint(getenv func(string) string) (*webhook.TokenEndpoint, error) {
	const suffixFlag, audienceFlag = "--custom-token-endpoint-annotation-suffix", "--custom-token-endpoint-audience"
	switch {
	case f.endpointSuffix == "" && f.endpointAudience == "":
		return nil, nil //nolint:nilnil // no endpoint is no error
	case f.endpointSuffix == "":
		return nil, errors.New(suffixFlag + " is required with " + audienceFlag)
	case f.endpointAudience == "":
		return nil, errors.New(audienceFlag + " is required with " + suffixFlag)
	case strings.EqualFold(f.endpointAudience, webhook.DefaultAudience):
		return nil, fmt.Errorf("%s must differ from the default audience %s", audienceFlag, webhook.DefaultAudience)
	}
	e := &webhook.TokenEndpoint{
		Annotation: webhook.EndpointAnnotationPrefix + f.endpointSuffix, Audience: f.endpointAudience,
		URL: getenv("AZURE_KUBERNETES_TOKEN_PROXY"), SNIName: getenv("AZURE_KUBERNETES_SNI_NAME"),
		CAData: getenv("AZURE_KUBERNETES_CA_DATA"), CAConfigMap: getenv("AZURE_KUBERNETES_CA_CONFIGMAP_NAME"),
		CASigner: getenv("AZURE_KUBERNETES_CA_CTB_SIGNER_NAME"),
	}
	if problems := validation.IsQualifiedName(strings.ToLower(e.Annotation)); len(problems) > 0 {
		return nil, fmt.Errorf("%s: %s is no annotation: %s", suffixFlag, e.Annotation, strings.Join(problems, ", "))
	}
	if u, err := url.Parse(e.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("AZURE_KUBERNETES_TOKEN_PROXY must be an https:// URL without user, query and fragment, not %q", e.URL)
	}
	return e, trustOf(e, getenv("AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR"))
}

// trustOf checks where the endpoint's certificate authorities come from, and sets the selector of ClusterTrustBundles.
func trustOf(e *webhook.TokenEndpoint, selector string) error {
	sources := 0
	for _, source := range []string{e.CAData, e.CAConfigMap, e.CASigner} {
		if source != "" {
			sources++
		}
	}
	if sources > 1 {
		return errors.New("only one of AZURE_KUBERNETES_CA_DATA, AZURE_KUBERNETES_CA_CONFIGMAP_NAME and AZURE_KUBERNETES_CA_CTB_SIGNER_NAME can be set")
	}
	switch {
	case selector == "":
		return nil
	case e.CASigner == "":
		return errors.New("AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR needs AZURE_KUBERNETES_CA_CTB_SIGNER_NAME")
	}
	e.CASelector = &metav1.LabelSelector{}
	if err := json.Unmarshal([]byte(selector), e.CASelector); err != nil {
		return fmt.Errorf("AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR must be a label selector as JSON: %w", err)
	}
	return nil
}
