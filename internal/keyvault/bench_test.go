// SPDX-License-Identifier: Apache-2.0

package keyvault_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/vaultferry/vaultferry/internal/keyvault"
)

func BenchmarkFetchOfFiveFromMemory(b *testing.B) {
	cache := keyvault.NewCache(newReader(b, roundTrip(secretNamed)), keyvault.CacheConfig{Window: time.Hour})
	ask := keyvault.Request{Tokens: &steadyTokens{}, Items: items(names(5)...)}
	if _, err := cache.Fetch(b.Context(), ask); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cache.Fetch(b.Context(), ask); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead is one read from an official client to its answer, without a network.
func BenchmarkRead(b *testing.B) {
	for _, objectType := range []string{"secret", "key", "cert"} {
		b.Run(objectType, func(b *testing.B) {
			reader := newReader(b, always(fmt.Sprintf(`{"value":"x","id":"https://kv/secrets/x/%[1]s","cer":"MAA=",
				"key":{"kid":"https://kv/keys/x/%[1]s","kty":"RSA","n":"AQ","e":"AQ"}}`, version)))
			ask := keyvault.Request{Tokens: &steadyTokens{}, Items: []keyvault.Item{itemOf(objectType)}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := reader.Fetch(b.Context(), ask); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// steadyTokens always have the same token.
type steadyTokens struct{ tokens }

func (*steadyTokens) Token(context.Context, string, string) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "t"}, nil
}
