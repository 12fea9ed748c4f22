// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"bytes"
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/core"
)

func TestASecretIsThatOfKubernetes(t *testing.T) {
	immutable := true
	theirs := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "payments", Name: "db", UID: "uid-1", ResourceVersion: "7", Labels: map[string]string{"a": "b"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(`{"f:data":{}}`)}},
		},
		Immutable: &immutable, Data: map[string][]byte{"password": []byte("one")}, Type: corev1.SecretTypeOpaque,
	}
	sent, err := json.Marshal(theirs)
	if err != nil {
		t.Fatal(err)
	}
	var ours core.Secret
	if err := json.Unmarshal(sent, &ours); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(ours)
	if err != nil || !bytes.Equal(back, sent) {
		t.Errorf("theirs is %s, ours %s (%v)", sent, back, err)
	}

	copied := ours.DeepCopy()
	if !equality.Semantic.DeepEqual(copied, &ours) {
		t.Errorf("the copy is %+v", copied)
	}
	copied.Data["password"][0], copied.Labels["a"], *copied.Immutable = 'X', "X", false
	if again, err := json.Marshal(ours); err != nil || !bytes.Equal(again, sent) {
		t.Errorf("a change of the copy has changed the Secret to %s (%v)", again, err)
	}
}

func TestNamesAreThoseOfKubernetes(t *testing.T) {
	for ours, theirs := range map[any]any{
		core.MaxSecretSize: corev1.MaxSecretSize, core.NamespaceTerminatingCause: corev1.NamespaceTerminatingCause,
		core.EventTypeNormal: corev1.EventTypeNormal, core.EventTypeWarning: corev1.EventTypeWarning,
		core.DockerConfigKey: corev1.DockerConfigKey, core.DockerConfigJsonKey: corev1.DockerConfigJsonKey,
		core.BasicAuthUsernameKey: corev1.BasicAuthUsernameKey, core.BasicAuthPasswordKey: corev1.BasicAuthPasswordKey,
		core.SSHAuthPrivateKey: corev1.SSHAuthPrivateKey, core.TLSCertKey: corev1.TLSCertKey, core.TLSPrivateKeyKey: corev1.TLSPrivateKeyKey,
		core.SchemeGroupVersion: corev1.SchemeGroupVersion,
	} {
		if ours != theirs {
			t.Errorf("ours is %v, theirs %v", ours, theirs)
		}
	}
	for ours, theirs := range map[core.SecretType]corev1.SecretType{
		core.SecretTypeDockercfg: corev1.SecretTypeDockercfg, core.SecretTypeDockerConfigJson: corev1.SecretTypeDockerConfigJson,
		core.SecretTypeBasicAuth: corev1.SecretTypeBasicAuth, core.SecretTypeSSHAuth: corev1.SecretTypeSSHAuth, core.SecretTypeTLS: corev1.SecretTypeTLS,
	} {
		if string(ours) != string(theirs) {
			t.Errorf("ours is %q, theirs %q", ours, theirs)
		}
	}
}
