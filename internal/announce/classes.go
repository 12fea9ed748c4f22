// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/provider"
)

// providerName is the provider whose classes name objects of Key Vault.
const providerName = "azure"

// class is what is kept of a SecretProviderClass: what identifies it, which objects it wants, and what was asked for last.
type class struct {
	metav1.ObjectMeta
	wants     []want
	requested string
}

// want is an object that a class mounts at its newest version.
type want struct {
	vault, kind string
	// name is "" where the class selects objects of the vault by what a listing tells.
	name string
}

// slim is the transform of the cache, which holds every class of the cluster. What cannot be told of a class with mistakes is left out: nothing mounts it.
func slim(object any) (any, error) {
	c, ok := object.(*v1.SecretProviderClass)
	if !ok {
		return object, nil
	}
	kept := &class{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion}}
	kept.requested = c.Annotations[v1.RotateAnnotation]
	if string(c.Spec.Provider) != providerName || refreshingIsOff(c.Annotations[v1.RotationIntervalAnnotation]) {
		return kept, nil
	}
	for _, o := range provider.Check(c.Spec.Parameters, provider.CheckConfig{}).Objects {
		if o.Version != "" && !o.Lists {
			continue // pinned
		}
		// Without the clone, a name would keep the whole text of the class.
		kept.wants = append(kept.wants, want{vault: strings.Clone(o.Vault), kind: strings.Clone(o.Type), name: strings.Clone(o.Name)})
	}
	return kept, nil
}

// refreshingIsOff reports whether a class says that its volumes stay as they are.
func refreshingIsOff(interval string) bool {
	d, err := time.ParseDuration(interval)
	return err == nil && d == 0
}

// concerns reports whether a class mounts the object. The names of vaults and of objects have no case. A new version of a certificate is one of the key and of the
// secret that belong to it.
func (c *class) concerns(ch change) bool {
	for _, w := range c.wants {
		if strings.EqualFold(w.vault, ch.vault) && (w.kind == ch.kind || ch.kind == keyvault.TypeCertificate) &&
			(w.name == "" || strings.EqualFold(w.name, ch.name)) {
			return true
		}
	}
	return false
}

// mounting returns the classes that one of the changes concerns.
func mounting(store cache.Store, changes []change) []*class {
	var found []*class
	for _, object := range store.List() {
		c, ok := object.(*class)
		if !ok {
			continue
		}
		for _, ch := range changes {
			if c.concerns(ch) {
				found = append(found, c)
				break
			}
		}
	}
	return found
}
