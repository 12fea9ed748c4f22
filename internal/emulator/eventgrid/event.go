// SPDX-License-Identifier: Apache-2.0

package eventgrid

import (
	"encoding/json"
	"time"

	"github.com/vaultferry/vaultferry/internal/emulator/directory"
	"github.com/vaultferry/vaultferry/internal/emulator/guid"
)

// vaultEvent is an event of a vault in the CloudEvents schema ("Azure Key Vault
// as Event Grid source").
type vaultEvent struct {
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Subject     string    `json:"subject"`
	Type        string    `json:"type"`
	Time        string    `json:"time"`
	SpecVersion string    `json:"specversion"`
	Data        vaultData `json:"data"`
}

// vaultData names a version and says nothing of its content.
type vaultData struct {
	ID         string `json:"Id"`
	VaultName  string `json:"VaultName"`
	ObjectType string `json:"ObjectType"`
	ObjectName string `json:"ObjectName"`
	Version    string `json:"Version"`
	// NBF and EXP are Unix seconds; null when unset.
	NBF *int64 `json:"NBF"`
	EXP *int64 `json:"EXP"`
}

// newVersionEvent is the event of a new version. The suffix is the parent domain
// of vaults.
func newVersionEvent(v directory.NewVersion, suffix string, now time.Time) (json.RawMessage, error) {
	kind := map[string]string{"secrets": "Secret", "keys": "Key", "certificates": "Certificate"}[v.Collection]
	return json.Marshal(vaultEvent{
		ID: guid.New(), Source: v.VaultID, Subject: v.Name, Type: "Microsoft.KeyVault." + kind + "NewVersionCreated",
		Time: now.UTC().Format(time.RFC3339Nano), SpecVersion: "1.0",
		Data: vaultData{
			ID: "https://" + v.Vault + "." + suffix + "/" + v.Collection + "/" + v.Name + "/" + v.Version, VaultName: v.Vault,
			ObjectType: kind, ObjectName: v.Name, Version: v.Version, NBF: v.NotBefore, EXP: v.Expires,
		},
	})
}
