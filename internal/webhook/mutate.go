// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vaultferry/vaultferry/internal/reason"
)

// Account is what the mutation needs of a ServiceAccount: three of its annotations.
type Account struct {
	ClientID string
	// TenantID is nil where the annotation is missing. An empty one keeps AZURE_TENANT_ID out of the pod, which an envFrom of the pod needs.
	TenantID   *string
	Expiration string
}

// mutation is one pod's way through the webhook.
type mutation struct {
	settings Settings
	layout   layout
	pod      *pod
	account  Account

	// volumeName is that of the pod's token volume, volumeIndex its place, -1 where the pod has none yet.
	volumeName  string
	volumeIndex int
	expiration  int64
	endpoint    *TokenEndpoint
	skipped     map[string]bool

	patch    []operation
	warnings []string
}

// mutate returns the patch that makes a pod use workload identity, and what its author should hear. It is a pure function, and one that
// finds nothing to do in a pod that it has seen before, even if that has another name now.
func (s Settings) mutate(p *pod, account Account) ([]operation, []string, error) {
	m := &mutation{settings: s, layout: s.layout(), pod: p, account: account, skipped: p.skippedContainers()}
	proxies, err := m.proxies()
	if err != nil {
		return nil, nil, err
	}
	if m.expiration, err = tokenExpiration(p, account); err != nil {
		return nil, nil, err
	}
	if s.Endpoint != nil && strings.EqualFold(p.Metadata.Annotations[s.Endpoint.Annotation], "true") {
		m.endpoint = s.Endpoint
	}
	m.findVolume()
	m.changeList("/spec/initContainers", p.Spec.InitContainers, proxies.beforeInit, proxies.afterInit)
	m.changeList("/spec/containers", p.Spec.Containers, proxies.beforeContainers, nil)
	m.addVolume()
	return m.patch, m.warnings, nil
}

func (p *pod) skippedContainers() map[string]bool {
	skipped := map[string]bool{}
	for name := range strings.SplitSeq(p.Metadata.Annotations[skipContainersAnnotation], ";") {
		if name = strings.TrimSpace(name); name != "" {
			skipped[name] = true
		}
	}
	return skipped
}

// tokenExpiration returns the lifetime of the token in seconds: the pod's word, else the ServiceAccount's.
func tokenExpiration(p *pod, account Account) (int64, error) {
	owner, text := "pod", p.Metadata.Annotations[expirationAnnotation]
	if text == "" {
		owner, text = "ServiceAccount "+p.serviceAccount(), account.Expiration
	}
	if text == "" {
		return defaultExpiration, nil
	}
	next := fmt.Sprintf("correct the annotation %s of the %s: whole seconds", expirationAnnotation, owner)
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, reason.New(reason.WorkloadIdentityInvalid, next, "%w", err)
	}
	if seconds < minExpiration || seconds > maxExpiration {
		return 0, reason.New(reason.WorkloadIdentityInvalid, next,
			"token expiration %d not valid. Expected value to be between %d and %d", seconds, minExpiration, maxExpiration)
	}
	return seconds, nil
}

// findVolume looks for the token volume that the pod already has.
func (m *mutation) findVolume() {
	m.volumeName, m.volumeIndex = m.layout.volumeName(m.pod), -1
	for i, v := range m.pod.Spec.Volumes {
		if v.Name == m.volumeName {
			m.volumeIndex = i
			return
		}
		if m.volumeIndex < 0 && m.layout.reserved(v.Name) {
			m.volumeIndex = i
		}
	}
	if m.volumeIndex >= 0 {
		m.volumeName = m.pod.Spec.Volumes[m.volumeIndex].Name
	}
}

// changeList puts new containers before and after those that the list has, and gives all of them what they lack.
func (m *mutation) changeList(list string, have []container, before, after []corev1.Container) {
	for _, added := range [][]corev1.Container{before, after} {
		for i := range added {
			m.complete(&added[i])
		}
	}
	m.patch = append(m.patch, prependTo(list, len(have), before)...)
	for i, c := range have {
		m.changeContainer(element(list, len(before)+i), c)
	}
	m.patch = append(m.patch, appendTo(list, len(before)+len(have), after)...)
}

// complete gives a container of the webhook's own what every container gets.
func (m *mutation) complete(c *corev1.Container) {
	if m.skipped[c.Name] {
		return
	}
	c.Env = append(c.Env, m.env(m.layout.mountPath)...)
	c.VolumeMounts = append(c.VolumeMounts, m.mount())
}

func (m *mutation) changeContainer(at string, c container) {
	if m.skipped[c.Name] {
		return
	}
	dir, operations := m.mountInto(at, c)
	var missing []corev1.EnvVar
	for _, e := range m.env(dir) {
		if !c.hasEnv(e.Name) {
			missing = append(missing, e)
		}
	}
	m.patch = append(m.patch, appendTo(at+"/env", len(c.Env), missing)...)
	m.patch = append(m.patch, operations...)
}

// env returns the variables for a container that has the token volume at dir, in their order.
func (m *mutation) env(dir string) []corev1.EnvVar {
	tenant := m.settings.TenantID
	if m.account.TenantID != nil {
		tenant = *m.account.TenantID
	}
	all := []corev1.EnvVar{
		{Name: "AZURE_CLIENT_ID", Value: m.account.ClientID},
		{Name: "AZURE_TENANT_ID", Value: tenant},
		{Name: "AZURE_FEDERATED_TOKEN_FILE", Value: path.Join(dir, m.layout.tokenFile)},
		{Name: "AZURE_AUTHORITY_HOST", Value: m.settings.AuthorityHost},
	}
	if e := m.endpoint; e != nil {
		all = append(all, corev1.EnvVar{Name: "AZURE_KUBERNETES_TOKEN_PROXY", Value: e.URL}, corev1.EnvVar{Name: "AZURE_KUBERNETES_SNI_NAME", Value: e.SNIName})
		// The SDKs refuse to start with a file that is not there, and with a file and data at once.
		if e.hasCAFile() {
			all = append(all, corev1.EnvVar{Name: "AZURE_KUBERNETES_CA_FILE", Value: path.Join(dir, caFile)})
		}
		all = append(all, corev1.EnvVar{Name: "AZURE_KUBERNETES_CA_DATA", Value: e.CAData})
	}
	filled := all[:0]
	for _, e := range all {
		if e.Value != "" {
			filled = append(filled, e)
		}
	}
	return filled
}

func (m *mutation) mount() corev1.VolumeMount {
	return corev1.VolumeMount{Name: m.volumeName, MountPath: m.layout.mountPath, ReadOnly: true}
}

// mountInto returns where the container at path at has the token volume, and what it takes to have it there. A mount that is there already
// counts whatever its volume is called: two at one path would make the pod invalid.
func (m *mutation) mountInto(at string, c container) (dir string, operations []operation) {
	list, sameName := at+"/volumeMounts", -1
	for i, have := range c.VolumeMounts {
		switch {
		case !m.layout.holds(have.MountPath):
			if have.Name == m.volumeName && sameName < 0 {
				sameName = i
			}
		case m.layout.reserved(have.Name) && path.Clean(have.MountPath) != m.layout.mountPath:
			// A later version of the Azure webhook mounts it in a directory below.
			return path.Clean(have.MountPath), nil
		case !m.layout.reserved(have.Name):
			m.warnings = append(m.warnings, fmt.Sprintf("container %s: volume %s stays mounted at %s, so the token of workload identity is not mounted there",
				c.Name, have.Name, have.MountPath))
			return m.layout.mountPath, nil
		case have.ReadOnly && have.SubPath == "" && have.SubPathExpr == "":
			return m.layout.mountPath, nil
		default:
			mount := m.mount()
			mount.Name = have.Name
			return m.layout.mountPath, []operation{{Op: "replace", Path: element(list, i), Value: mount}}
		}
	}
	if sameName >= 0 {
		return m.layout.mountPath, []operation{{Op: "replace", Path: element(list, sameName), Value: m.mount()}}
	}
	return m.layout.mountPath, appendTo(list, len(c.VolumeMounts), []corev1.VolumeMount{m.mount()})
}

// addVolume adds the token volume, or corrects the one that is there.
func (m *mutation) addVolume() {
	sources := m.sources()
	have := m.pod.Spec.Volumes
	wanted := corev1.Volume{Name: m.volumeName, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}}
	if m.volumeIndex < 0 {
		m.patch = append(m.patch, appendTo("/spec/volumes", len(have), []corev1.Volume{wanted})...)
		return
	}
	at, v := element("/spec/volumes", m.volumeIndex), have[m.volumeIndex]
	switch {
	case !v.isProjected():
		m.patch = append(m.patch, operation{Op: "replace", Path: at, Value: wanted})
	case !v.projects(sources):
		m.patch = append(m.patch, operation{Op: "add", Path: at + "/projected/sources", Value: sources})
	}
}

// sources are what the token volume holds.
func (m *mutation) sources() []corev1.VolumeProjection {
	audience := m.settings.Audience
	if m.endpoint != nil {
		audience = m.endpoint.Audience
	}
	sources := []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
		Audience: audience, ExpirationSeconds: &m.expiration, Path: m.layout.tokenFile,
	}}}
	if m.endpoint == nil {
		return sources
	}
	if name := m.endpoint.CAConfigMap; name != "" {
		sources = append(sources, corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: []corev1.KeyToPath{{Key: caSourceFile, Path: caFile}}, Optional: new(false),
		}})
	}
	if signer := m.endpoint.CASigner; signer != "" {
		sources = append(sources, corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{
			SignerName: &signer, LabelSelector: m.endpoint.CASelector, Path: caFile, Optional: new(false),
		}})
	}
	return sources
}
