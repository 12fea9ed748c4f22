// SPDX-License-Identifier: Apache-2.0

package entra

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

const (
	// DefaultAudience is the audience of a service account token that Entra ID exchanges in the public cloud (Microsoft Learn,
	// "Workload identity federation concepts").
	DefaultAudience = "api://AzureADTokenExchange"

	// CustomCloud is the name of every cloud that a file describes; see [ParseCloud].
	CustomCloud = "AzureStackCloud"

	// TenantADFS is the tenant of AD FS, which has no other.
	TenantADFS = "adfs"
)

// Cloud is one of Microsoft's clouds. It is comparable.
type Cloud struct {
	// Name is the name that SecretProviderClasses use, such as AzurePublicCloud, or a custom cloud's own.
	Name string
	// AuthorityHost is the host name of Entra ID or AD FS, with a port where it is not 443.
	AuthorityHost string
	// VaultSuffix is the DNS domain of the vaults, without a leading dot, with a port where it is not 443.
	VaultSuffix string
	// VaultResource is the URL that names the vaults in tokens, without a trailing slash; "" means https:// and VaultSuffix.
	VaultResource string
	// Audience is the audience recommended for federated credentials in this cloud.
	Audience string
	// ADFS tells that AuthorityHost is an AD FS, whose only tenant is [TenantADFS].
	ADFS bool
}

// Scope is the OAuth 2.0 scope of an access token for the cloud's vaults.
func (c Cloud) Scope() string {
	if c.VaultResource != "" {
		return c.VaultResource + "/.default"
	}
	return "https://" + c.VaultSuffix + "/.default"
}

// PublicCloud is the one that is meant where nothing is said.
func PublicCloud() Cloud {
	return Cloud{
		Name: "AzurePublicCloud", AuthorityHost: "login.microsoftonline.com", VaultSuffix: "vault.azure.net", Audience: DefaultAudience,
	}
}

// CloudNamed returns the cloud with the given name, whatever its case; [CustomCloud] is not one of them. The names are those of
// the Azure provider for the Secrets Store CSI Driver.
func CloudNamed(name string) (Cloud, bool) {
	switch strings.ToLower(name) {
	case "azurepubliccloud", "azurecloud":
		return PublicCloud(), true
	case "azureusgovernmentcloud", "azureusgovernment":
		return Cloud{
			Name: "AzureUSGovernmentCloud", AuthorityHost: "login.microsoftonline.us", VaultSuffix: "vault.usgovcloudapi.net",
			Audience: DefaultAudience + "USGov",
		}, true
	case "azurechinacloud":
		return Cloud{
			Name: "AzureChinaCloud", AuthorityHost: "login.chinacloudapi.cn", VaultSuffix: "vault.azure.cn",
			Audience: DefaultAudience + "China",
		}, true
	case "azuregermancloud":
		return Cloud{
			Name: "AzureGermanCloud", AuthorityHost: "login.microsoftonline.de", VaultSuffix: "vault.microsoftazure.de",
			Audience: DefaultAudience,
		}, true
	}
	return Cloud{}, false
}

// CloudNames lists the names that classes may use, one per cloud.
func CloudNames() []string {
	return []string{"AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud", "AzureGermanCloud", CustomCloud}
}

// IsCloudName reports whether name is [CustomCloud] or known to [CloudNamed], whatever its case.
func IsCloudName(name string) bool {
	_, known := CloudNamed(name)
	return known || strings.EqualFold(name, CustomCloud)
}

var (
	cloudName = regexp.MustCompile(`^[0-9A-Za-z ._-]+$`)
	hostPort  = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?(:[0-9]{1,5})?$`)
)

// ParseCloud reads the description of a custom cloud: the environment file of the Azure SDKs for Go (AZURE_ENVIRONMENT_FILEPATH),
// JSON with the fields name, activeDirectoryEndpoint, keyVaultEndpoint and keyVaultDNSSuffix. Of the last two, one will do.
// Other fields are ignored. Errors name the field.
func ParseCloud(content []byte) (Cloud, error) {
	var file struct {
		Name      string `json:"name"`
		Authority string `json:"activeDirectoryEndpoint"`
		Vaults    string `json:"keyVaultEndpoint"`
		Suffix    string `json:"keyVaultDNSSuffix"`
	}
	// Editors on Windows begin a file with a byte order mark.
	if err := json.Unmarshal(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), &file); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return Cloud{}, fmt.Errorf("field %s should be a string", strings.TrimSpace(clip(wrong.Field)))
		}
		return Cloud{}, errors.New("it is not a JSON object")
	}
	c := Cloud{Name: CustomCloud, Audience: DefaultAudience}
	if name := strings.TrimSpace(file.Name); name != "" {
		c.Name = name
	}
	if len(c.Name) > 64 || !cloudName.MatchString(c.Name) {
		return Cloud{}, errors.New("name should have at most 64 letters, digits, spaces, dots, dashes and underscores")
	}
	var path string
	var err error
	if c.AuthorityHost, path, err = endpoint("activeDirectoryEndpoint", file.Authority); err != nil {
		return Cloud{}, err
	}
	switch strings.ToLower(path) {
	case "":
	case "/" + TenantADFS:
		c.ADFS = true
	default:
		return Cloud{}, errors.New("activeDirectoryEndpoint should have no path, or that of AD FS: https://<host>/adfs")
	}
	return c, c.setVaults(file.Vaults, file.Suffix)
}

// setVaults takes the vaults' names from an environment file.
func (c *Cloud) setVaults(resource, suffix string) error {
	c.VaultSuffix = strings.TrimPrefix(strings.TrimSpace(suffix), ".")
	if strings.TrimSpace(resource) != "" {
		host, path, err := endpoint("keyVaultEndpoint", resource)
		if err != nil {
			return err
		}
		c.VaultResource = "https://" + host + path
		if c.VaultSuffix == "" {
			c.VaultSuffix = host
		}
	}
	switch {
	case c.VaultSuffix == "":
		return errors.New("keyVaultDNSSuffix is missing")
	case !isHost(c.VaultSuffix):
		return errors.New("keyVaultDNSSuffix should be a domain name such as vault.local.azurestack.external")
	}
	// Addresses are compared without the port that goes without saying.
	c.VaultSuffix = strings.TrimSuffix(c.VaultSuffix, ":443")
	return nil
}

// isHost reports whether text is a host name, at most 253 characters (RFC 1035), and perhaps a port.
func isHost(text string) bool { return len(text) <= 253+len(":65535") && hostPort.MatchString(text) }

// endpoint returns host and port, and the path without a trailing slash, of an https URL.
func endpoint(field, text string) (host, path string, err error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", "", errors.New(field + " is missing")
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme != "https" || !isHost(parsed.Host) || parsed.User != nil ||
		parsed.RawQuery != "" || parsed.Fragment != "" || parsed.RawPath != "" {
		return "", "", errors.New(field + " should be a URL such as https://login.local.azurestack.external/")
	}
	return parsed.Host, strings.TrimRight(parsed.Path, "/"), nil
}
