// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"errors"
	"testing"

	"github.com/vaultferry/vaultferry/internal/emulator/fault"
)

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		fault fault.Fault
		ok    bool
	}{
		"status":                     {fault.Fault{Status: 503}, true},
		"status with garbage":        {fault.Fault{Status: 502, Garbage: true}, true},
		"truncated":                  {fault.Fault{Truncate: 10, Latency: 1}, true},
		"huge":                       {fault.Fault{Huge: 1 << 20}, true},
		"metadata service":           {fault.Fault{Service: fault.IMDS, Status: 410}, true},
		"path":                       {fault.Fault{Path: "^/secrets/db(/|$)", Reset: true}, true},
		"nothing":                    {fault.Fault{}, false},
		"path alone":                 {fault.Fault{Path: "x"}, false},
		"broken path":                {fault.Fault{Path: "(", Status: 500}, false},
		"negative truncation":        {fault.Fault{Truncate: -1}, false},
		"larger than huge":           {fault.Fault{Huge: 1<<30 + 1}, false},
		"two bodies":                 {fault.Fault{Garbage: true, Huge: 1}, false},
		"a body on a cut connection": {fault.Fault{Reset: true, Garbage: true}, false},
		"objects of Entra ID":        {fault.Fault{Service: fault.Entra, Object: "x", Status: 500}, false},
		"vaults of a proxy":          {fault.Fault{Service: fault.Binding, Vault: "x", Status: 500}, false},
		"unknown service":            {fault.Fault{Service: "storage", Status: 500}, false},
	} {
		err := tt.fault.Check()
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, fault.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMatch(t *testing.T) {
	request := fault.Request{Service: fault.Vault, Vault: "kv-one", Operation: "SecretGet", Identity: "id-app", AppID: "1", Object: "db", Path: "/secrets/db/1"}
	for name, tt := range map[string]struct {
		fault fault.Fault
		want  bool
	}{
		"everything": {fault.Fault{}, true},
		"all alike":  {fault.Fault{Service: "vault", Vault: "KV-one", Operation: "secretget", Identity: "ID-app", Object: "DB", Path: "^/secrets/"}, true},
		"client id":  {fault.Fault{Identity: "1"}, true},
		"service":    {fault.Fault{Service: "entra"}, false},
		"vault":      {fault.Fault{Vault: "kv-two"}, false},
		"operation":  {fault.Fault{Operation: "SecretSet"}, false},
		"identity":   {fault.Fault{Identity: "other"}, false},
		"object":     {fault.Fault{Object: "d"}, false},
		"path":       {fault.Fault{Path: "^/keys/"}, false},
	} {
		tt.fault.Status = 500
		var set fault.Set
		if _, err := set.Add(tt.fault); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, got := set.Match(request); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
