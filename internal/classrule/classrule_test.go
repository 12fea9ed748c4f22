// SPDX-License-Identifier: Apache-2.0

package classrule_test

import (
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
)

// What a volume adds counts; what it would replace counts only where the class lets it.
func TestAttributesOfAVolume(t *testing.T) {
	attributes := map[string]string{"keyvaultName": "kv-other", "objects": "array: []", "csi.storage.k8s.io/ephemeral": "true"}
	for name, tc := range map[string]struct {
		annotation, vault string
		refused           bool
	}{
		"not allowed": {"", "kv-own", true}, "allowed": {"true", "kv-other", false}, "something else": {"True", "kv-own", true},
	} {
		t.Run(name, func(t *testing.T) {
			class := &v1.SecretProviderClass{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{classrule.OverrideAnnotation: tc.annotation}}}
			class.Spec.Parameters = map[string]string{"keyvaultName": "kv-own", "tenantID": "t"}
			want := map[string]string{"keyvaultName": tc.vault, "tenantID": "t", "objects": "array: []", "csi.storage.k8s.io/ephemeral": "true"}
			if got := classrule.Effective(class, attributes); !maps.Equal(got, want) {
				t.Errorf("effective: %v", got)
			}
			refusal := classrule.Attributes(class, "payments/app-kv", attributes)
			if (refusal != nil) != tc.refused {
				t.Fatalf("refused: %v", refusal)
			}
			// Without its quotes the value would be none that an annotation can have.
			if refusal != nil && !strings.HasSuffix(refusal.Next, classrule.OverrideAnnotation+`: "true"`) {
				t.Errorf("advised: %s", refusal.Next)
			}
		})
	}
}
