// SPDX-License-Identifier: Apache-2.0

package secretsync

import (
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/vaultferry/vaultferry/internal/core"
)

// FieldManager is the field manager of every write.
const FieldManager = "vaultferry"

// formerManager reports whether an entry of managedFields is that of the Secrets Store CSI Driver, which writes whole objects and so appears
// under its program's name.
func formerManager(entry metav1.ManagedFieldsEntry) bool {
	return entry.Operation == metav1.ManagedFieldsOperationUpdate && entry.Subresource == "" &&
		(entry.Manager == "secrets-store-csi" || entry.Manager == "secrets-store-csi.exe")
}

func ownManager(entry metav1.ManagedFieldsEntry) bool {
	return entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == "" && entry.Manager == FieldManager
}

// ownedFields are the fields of a Secret that are ours.
type ownedFields struct {
	data, labels, annotations sets.Set[string]
	owners                    sets.Set[types.UID]
}

// owned returns the fields that our manager holds, or will hold once [migration] is done.
func owned(current *core.Secret) (ownedFields, error) {
	fields := ownedFields{
		data: sets.New[string](), labels: sets.New[string](), annotations: sets.New[string](), owners: sets.New[types.UID](),
	}
	for _, entry := range current.ManagedFields {
		if !ownManager(entry) && !formerManager(entry) {
			continue
		}
		set, err := fieldSet(entry)
		if err != nil {
			return ownedFields{}, err
		}
		set.Iterate(fields.add)
	}
	return fields, nil
}

func fieldSet(entry metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	if entry.FieldsV1 == nil {
		return set, nil
	}
	if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
		return nil, fmt.Errorf("reading managedFields of %s: %w", entry.Manager, err)
	}
	return set, nil
}

func (f ownedFields) add(path fieldpath.Path) {
	names := make([]string, len(path))
	for i, element := range path {
		if element.FieldName != nil {
			names[i] = *element.FieldName
		}
	}
	switch {
	case len(path) == 2 && names[0] == "data":
		f.data.Insert(names[1])
	case len(path) >= 3 && names[0] == "metadata":
		f.addMetadata(names[1], names[2], path)
	}
}

// addMetadata adds what is at metadata.<field>.<key>.
func (f ownedFields) addMetadata(field, key string, path fieldpath.Path) {
	switch {
	case len(path) == 3 && field == "labels":
		f.labels.Insert(key)
	case len(path) == 3 && field == "annotations":
		f.annotations.Insert(key)
	case field == "ownerReferences" && path[2].Key != nil:
		for _, field := range *path[2].Key {
			if field.Name == "uid" && field.Value.IsString() {
				f.owners.Insert(types.UID(field.Value.AsString()))
			}
		}
	}
}

// migration returns the JSON patch (RFC 6902) that hands the former driver's fields to our manager, nil where there are none. Without it
// these fields would stay for ever, since a server-side apply removes only what its own manager applied before. The patch carries the
// resourceVersion, so that it changes exactly the object that was read.
// See https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply
func migration(current *core.Secret) ([]byte, error) {
	if !slices.ContainsFunc(current.ManagedFields, formerManager) {
		return nil, nil
	}
	fields := &fieldpath.Set{}
	ours := metav1.ManagedFieldsEntry{
		Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{},
	}
	var entries []metav1.ManagedFieldsEntry
	for _, entry := range current.ManagedFields {
		if !ownManager(entry) && !formerManager(entry) {
			entries = append(entries, entry)
			continue
		}
		set, err := fieldSet(entry)
		if err != nil {
			return nil, err
		}
		fields = fields.Union(set)
		if ours.Time.Before(entry.Time) {
			ours.Time = entry.Time
		}
	}
	raw, err := fields.ToJSON()
	if err != nil {
		return nil, fmt.Errorf("writing managedFields: %w", err)
	}
	ours.FieldsV1.SetRawBytes(raw)
	return json.Marshal([]map[string]any{
		{"op": "replace", "path": "/metadata/managedFields", "value": append(entries, ours)},
		{"op": "replace", "path": "/metadata/resourceVersion", "value": current.ResourceVersion},
	})
}
