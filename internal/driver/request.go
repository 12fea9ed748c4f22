// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"path/filepath"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// Keys of the volume context. Kubelet sets those of csi.storage.k8s.io (CSIDriver podInfoOnMount, tokenRequests); the pod's
// author sets the rest in volumes[].csi.volumeAttributes.
const (
	classKey          = "secretProviderClass"
	kubeletPrefix     = "csi.storage.k8s.io/"
	podNameKey        = kubeletPrefix + "pod.name"
	podNamespaceKey   = kubeletPrefix + "pod.namespace"
	podUIDKey         = kubeletPrefix + "pod.uid"
	serviceAccountKey = kubeletPrefix + "serviceAccount.name"
	tokensKey         = kubeletPrefix + "serviceAccount.tokens"
)

// publication is a validated NodePublishVolumeRequest.
type publication struct {
	target string
	class  string
	pod    podRef
	// gid is the pod's fsGroup, or nil.
	gid *int
	// context is the volume context; secrets is the content of nodePublishSecretRef, and the tokens where kubelet puts them there.
	context, secrets map[string]string
}

// podRef names a pod.
type podRef struct {
	namespace, name, uid string
}

func (p podRef) String() string { return p.namespace + "/" + p.name }

// parsePublish validates a request; the texts that begin with a capital letter are those of today's driver.
func parsePublish(req *csi.NodePublishVolumeRequest) (publication, error) {
	attributes := req.GetVolumeContext()
	switch {
	case req.GetVolumeCapability() == nil:
		return publication{}, invalid("", "Volume capability missing in request")
	case req.GetVolumeId() == "":
		return publication{}, invalid("", "Volume ID missing in request")
	case req.GetTargetPath() == "":
		return publication{}, invalid("", "Target path missing in request")
	case !plainPath(req.GetTargetPath()):
		return publication{}, invalid("", "Target path %q is not an absolute, clean path", req.GetTargetPath())
	case req.GetVolumeCapability().GetBlock() != nil:
		return publication{}, invalid("remove volumeMode: Block", "a volume of secrets cannot be a block device")
	case len(attributes) == 0:
		return publication{}, invalid("", "Volume attributes missing in request")
	case attributes[classKey] == "":
		return publication{}, classrule.Unnamed()
	case attributes[podNameKey] == "" || attributes[podNamespaceKey] == "":
		return publication{}, invalid("set podInfoOnMount: true in the CSIDriver object", "kubelet did not say for which pod the volume is")
	case !req.GetReadonly():
		return publication{}, classrule.ReadOnly()
	}
	gid, err := mountGroup(req.GetVolumeCapability().GetMount().GetVolumeMountGroup())
	if err != nil {
		return publication{}, err
	}
	return publication{
		target:  req.GetTargetPath(),
		class:   shared(attributes[classKey]),
		pod:     podRef{shared(attributes[podNamespaceKey]), attributes[podNameKey], attributes[podUIDKey]},
		gid:     gid,
		context: sharedContext(attributes),
		secrets: req.GetSecrets(),
	}, nil
}

// sharedContext returns a volume context whose keys, and those values that the volumes of a node have in common, are there once for all volumes. What
// each has for itself, above all the tokens, stays as it came.
func sharedContext(attributes map[string]string) map[string]string {
	context := make(map[string]string, len(attributes))
	for key, value := range attributes {
		switch key {
		case podNameKey, podUIDKey, tokensKey:
		default:
			value = shared(value)
		}
		context[shared(key)] = value
	}
	return context
}

// parseUnpublish validates a request and returns the target path.
func parseUnpublish(req *csi.NodeUnpublishVolumeRequest) (string, error) {
	switch {
	case req.GetVolumeId() == "":
		return "", invalid("", "Volume ID missing in request")
	case req.GetTargetPath() == "":
		return "", invalid("", "Target path missing in request")
	case !plainPath(req.GetTargetPath()):
		return "", invalid("", "Target path %q is not an absolute, clean path", req.GetTargetPath())
	}
	return req.GetTargetPath(), nil
}

// plainPath reports whether p names one directory below the root and nothing else.
func plainPath(p string) bool { return filepath.IsAbs(p) && filepath.Clean(p) == p && p != "/" }

func mountGroup(group string) (*int, error) {
	if group == "" {
		return nil, nil
	}
	gid, err := strconv.ParseUint(group, 10, 31)
	if err != nil {
		return nil, invalid("set pod.spec.securityContext.fsGroup to a number", "volume mount group %q is not a group id", group)
	}
	n := int(gid)
	return &n, nil
}

func invalid(next, format string, args ...any) error {
	return reason.New(reason.RequestInvalid, next, format, args...)
}

// classKey names the class of the volume.
func (p publication) classKey() string { return p.pod.namespace + "/" + p.class }
