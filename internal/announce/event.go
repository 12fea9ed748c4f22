// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vaultferry/vaultferry/internal/keyvault"
)

// Delivery is an event as it was received.
type Delivery struct {
	// Lock is what it is acknowledged with.
	Lock string
	// Type is the CloudEvents attribute "type", such as Microsoft.KeyVault.SecretNewVersionCreated; Time is its "time", zero if it has none.
	Type string
	Time time.Time
	// Data is the CloudEvents attribute "data", JSON.
	Data []byte
}

// change is a new version of an object.
type change struct {
	vault string
	// kind is a type of package keyvault.
	kind    string
	name    string
	version string
}

var errIncomplete = errors.New("its data names no VaultName or no ObjectName")

// kindOf returns which type of object an event of the given type is about, "" where it announces no new version (Microsoft Learn, "Azure Key Vault as Event
// Grid source", Available event types).
func kindOf(eventType string) string {
	switch eventType {
	case "Microsoft.KeyVault.SecretNewVersionCreated":
		return keyvault.TypeSecret
	case "Microsoft.KeyVault.KeyNewVersionCreated":
		return keyvault.TypeKey
	case "Microsoft.KeyVault.CertificateNewVersionCreated":
		return keyvault.TypeCertificate
	}
	return ""
}

// parse reads an event that announces a new version.
func parse(d Delivery) (change, error) {
	var data struct {
		VaultName  string
		ObjectName string
		Version    string
	}
	if err := json.Unmarshal(d.Data, &data); err != nil {
		return change{}, fmt.Errorf("its data is not the JSON of a Key Vault event: %w", err)
	}
	if data.VaultName == "" || data.ObjectName == "" {
		return change{}, errIncomplete
	}
	return change{vault: data.VaultName, kind: kindOf(d.Type), name: data.ObjectName, version: data.Version}, nil
}
