// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/vaultferry/vaultferry/api/provider/v1alpha1"
	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/reason"
)

const (
	// OverrideAnnotation on a SecretProviderClass, set to "true", lets the volumeAttributes of a pod replace parameters of the class.
	OverrideAnnotation = classrule.OverrideAnnotation

	// filePermission is the default mode of files, which goes to the provider as a decimal number.
	filePermission = "420" // 0644
)

// mountRequest builds what the provider is asked: the class's parameters with the volume context on top. old is what is known of the volume.
func mountRequest(class *v1.SecretProviderClass, p publication, old memory) (*v1alpha1.MountRequest, error) {
	if err := checkClass(class, p); err != nil {
		return nil, err
	}
	attributes := maps.Clone(class.Spec.Parameters)
	maps.Copy(attributes, p.context)
	if tokens, ok := p.secrets[tokensKey]; ok {
		attributes[tokensKey] = tokens
	}
	if !old.fetchedAfter.IsZero() {
		attributes[v1.FetchedAfterAttribute] = old.fetchedAfter.UTC().Format(time.RFC3339Nano)
	}
	attributesJSON, err := json.Marshal(attributes)
	if err != nil {
		return nil, fmt.Errorf("encoding attributes: %w", err)
	}
	secretsJSON, err := json.Marshal(p.secrets)
	if err != nil {
		return nil, fmt.Errorf("encoding secrets: %w", err)
	}
	var current []*v1alpha1.ObjectVersion
	for _, version := range old.versions {
		current = append(current, &v1alpha1.ObjectVersion{Id: version.ID, Version: version.Version})
	}
	return &v1alpha1.MountRequest{
		Attributes:           string(attributesJSON),
		Secrets:              string(secretsJSON),
		TargetPath:           p.target,
		Permission:           filePermission,
		CurrentObjectVersion: current,
	}, nil
}

func checkClass(class *v1.SecretProviderClass, p publication) error {
	where := p.pod.namespace + "/" + p.class
	for _, err := range []*reason.Error{
		classrule.Provider(class, where), classrule.Parameters(class, where), classrule.Attributes(class, where, p.context),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
