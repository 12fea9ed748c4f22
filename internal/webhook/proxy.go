// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// proxyContainers are the containers of the proxy sidecar by the place that they go to.
type proxyContainers struct {
	beforeInit, afterInit, beforeContainers []corev1.Container
}

// proxies returns the proxy sidecar, for pods that were written for the node's metadata service, or nothing where the pod does not ask for it
// or has it.
//
// As a native sidecar it stands before the pod's own init containers, the redirection first, so that these get tokens too. An ordinary
// container does not run before them, so there the redirection must be the last of them.
func (m *mutation) proxies() (proxyContainers, error) {
	var none proxyContainers
	value, asked := m.pod.Metadata.Annotations[injectProxyAnnotation]
	if no, err := strconv.ParseBool(value); !asked || (err == nil && !no) {
		return none, nil
	}
	if m.pod.Spec.HostNetwork {
		return none, reason.New(reason.WorkloadIdentityInvalid,
			"its redirection would be the node's: take hostNetwork or the annotation "+injectProxyAnnotation+" out of the pod",
			"hostNetwork is set to true, cannot inject proxy sidecar")
	}
	port, err := proxyPort(m.pod)
	if err != nil {
		return none, err
	}
	if m.settings.ProxyImage == "" || m.settings.ProxyInitImage == "" {
		return none, reason.New(reason.WorkloadIdentityInvalid,
			"set the chart's values webhook.proxy.image and webhook.proxy.initImage, or take the annotation "+injectProxyAnnotation+" out of the pod",
			"this cluster has no images for the proxy sidecar")
	}
	var first []corev1.Container
	var redirection []corev1.Container
	if !m.pod.hasContainer(proxyInitContainer) {
		redirection = []corev1.Container{m.settings.redirection(port)}
	}
	if !m.pod.hasContainer(proxyContainer) {
		first = []corev1.Container{m.settings.proxy(port)}
	}
	if !m.settings.NativeSidecar {
		return proxyContainers{afterInit: redirection, beforeContainers: first}, nil
	}
	return proxyContainers{beforeInit: append(redirection, first...)}, nil
}

func proxyPort(p *pod) (int32, error) {
	text, set := p.Metadata.Annotations[proxyPortAnnotation]
	if !set {
		return defaultProxyPort, nil
	}
	const next = "correct the annotation " + proxyPortAnnotation + " of the pod"
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, reason.New(reason.WorkloadIdentityInvalid, next, "failed to parse proxy sidecar port: %w", err)
	}
	if port < 1 || port > 65535 {
		return 0, reason.New(reason.WorkloadIdentityInvalid, next, "failed to parse proxy sidecar port: %d is not between 1 and 65535", port)
	}
	return int32(port), nil
}

// redirection is the init container that sends the pod's calls of the metadata service to the proxy.
func (s *Settings) redirection(port int32) corev1.Container {
	return corev1.Container{
		Name: proxyInitContainer, Image: s.ProxyInitImage, ImagePullPolicy: corev1.PullIfNotPresent,
		Env:       []corev1.EnvVar{{Name: "PROXY_PORT", Value: strconv.Itoa(int(port))}},
		Resources: proxyResources(),
		SecurityContext: &corev1.SecurityContext{
			Privileged: new(true), RunAsUser: new(int64(0)), RunAsNonRoot: new(false),
			Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}},
		},
	}
}

// proxy is the container that answers in the metadata service's place.
func (s *Settings) proxy(port int32) corev1.Container {
	portFlag, levelFlag := fmt.Sprintf("--proxy-port=%d", port), "--log-level="+s.ProxyLogLevel
	c := corev1.Container{
		Name: proxyContainer, Image: s.ProxyImage, ImagePullPolicy: corev1.PullIfNotPresent,
		Args:      []string{portFlag, levelFlag},
		Ports:     []corev1.ContainerPort{{ContainerPort: port}},
		Resources: proxyResources(),
		Lifecycle: &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{
			Exec: &corev1.ExecAction{Command: []string{"/proxy", portFlag, "--probe", levelFlag}},
		}},
		SecurityContext: &corev1.SecurityContext{
			Privileged: new(false), AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), RunAsNonRoot: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	if s.NativeSidecar {
		c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	}
	return c
}

// proxyResources let the pod into a namespace with a quota. Requests and limits are equal, so that a pod of the class Guaranteed stays one.
func proxyResources() corev1.ResourceRequirements {
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	return corev1.ResourceRequirements{Requests: list, Limits: list}
}
