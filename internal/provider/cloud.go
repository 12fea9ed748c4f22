// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"strings"

	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// clouds knows the clouds that classes may name.
type clouds struct {
	// fallback is the name of the cloud of classes that name none.
	fallback string
}

// parse returns the cloud of a class.
func (c *clouds) parse(p parameters, found *problems) entra.Cloud {
	name := p.get("cloudName")
	if name == "" {
		name = c.fallback
	}
	if cloud, ok := entra.CloudNamed(name); ok {
		return cloud
	}
	switch strings.ToLower(name) {
	case "azurestackcloud", "azuregermancloud":
		found.add(reason.ParameterInvalid, "cloudName %s is not valid, error: this cloud is not supported yet in this version", name)
	default:
		found.add(reason.ParameterInvalid, "cloudName %s is not valid, error: spec.parameters.cloudName should be one of %s%s",
			quote(name), strings.Join(entra.CloudNames(), ", "), didYouMean(name, entra.CloudNames()))
	}
	return entra.Cloud{}
}
