// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/keyvault"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/reason"
)

// builder makes the chain of one mount.
type builder struct {
	m       *Mount
	checked provider.Checked
	seen    evidence
	azure   *azureFacts
	probed  *Probed
	// consumers are the pods that the chain's consumer links are about.
	consumers []*corev1.Pod
}

func newBuilder(m *Mount) *builder {
	b := &builder{m: m, seen: evidenceOf(m)}
	if m.Class != nil && m.Class.Spec.Provider == "azure" {
		b.checked = provider.Check(m.parameters(), provider.CheckConfig{})
	}
	return b
}

func (b *builder) chain() *Chain {
	c := &Chain{Namespace: b.m.Namespace, Class: b.m.ClassName}
	if b.probed != nil {
		c.NotProbed, c.Refused = b.probed.Skipped, b.probed.Refused
	}
	if b.m.Pod != nil && !b.m.Planned {
		c.Pod, c.Node = b.m.Pod.Name, b.m.Pod.Spec.NodeName
	}
	b.podLinks(c)
	b.classLink(c)
	if b.m.Class != nil {
		b.accountLink(c)
		if b.m.Class.Spec.Provider == "azure" {
			b.azureLinks(c)
			b.objectLinks(c)
		}
		b.secretLinks(c)
		b.consumerLinks(c)
	}
	b.settle(c)
	b.reloadLinks(c)
	return c
}

// podLinks are pod, volume and driver.
func (b *builder) podLinks(c *Chain) {
	m := b.m
	switch {
	case m.Pod == nil:
		c.add(Link{Kind: PodLink, Name: "none", State: Warning, Detail: "no pod mounts the class: without a pod nothing is fetched, and no Secret is made"})
		return
	case m.Planned:
		c.add(Link{Kind: PodLink, Name: "none yet", State: Warning, Detail: "the deployment " + m.Pod.Name + " has no pod; this is about the pods that it would make"})
	default:
		detail := strings.ToLower(string(m.Pod.Status.Phase))
		if m.Pod.Spec.NodeName != "" {
			detail += " on node " + m.Pod.Spec.NodeName
		}
		link := Link{Kind: PodLink, Name: m.Pod.Name, State: OK, Detail: detail}
		if m.Pod.Spec.NodeName == "" && m.Pod.Status.Phase == corev1.PodPending {
			link.State, link.Detail = Warning, "pending: no node has been chosen yet, so nothing has been tried"
		}
		c.add(link)
	}
	if m.Uses != nil {
		c.add(b.noVolume())
		return
	}
	c.add(b.labelled(Link{Kind: VolumeLink, Name: m.Volume, State: OK, Detail: "shows class " + quoted(m.ClassName)}))
	if m.Registered == nil {
		return
	}
	link := Link{Kind: DriverLink, Name: driverName, State: OK, Detail: "registered on the node"}
	if !*m.Registered {
		link = Link{
			Kind: DriverLink, Name: driverName, State: Broken, Reason: reason.ProviderNotReady.Name, Detail: "not registered on node " + m.Pod.Spec.NodeName,
			Message: "kubelet of node " + m.Pod.Spec.NodeName + " does not know the CSI driver " + driverName + ": its pod is not there or not ready",
			Fix:     "kubectl get pods --all-namespaces --selector app=secrets-store-csi-driver --field-selector spec.nodeName=" + m.Pod.Spec.NodeName,
		}
	}
	c.add(link)
}

// labelled warns of a pod that lacks the label with which its containers get a token. The volume does not need it.
func (b *builder) labelled(link Link) Link {
	if b.m.Class == nil || b.checked.Mode != entra.WorkloadIdentity && b.checked.Mode != entra.IdentityBinding || b.checked.ClientID == "" {
		return link
	}
	field := "metadata.labels"
	if b.m.Planned {
		field = "spec.template." + field
	}
	lacks := classrule.Unlabelled(b.m.ClassName, b.checked.ClientID, b.m.Pod.Labels, field)
	if lacks == nil {
		return link
	}
	link.Reason, link.Message = lacks.Reason.Name, lacks.Error()
	link.Fix = b.filled(fixOf(failure{link.Reason, link.Message}))
	link.State = Warning
	return link
}

func quoted(name string) string {
	if name == "" {
		return `"" (volumeAttributes.secretProviderClass is missing)`
	}
	return name
}

func (b *builder) classLink(c *Chain) {
	m := b.m
	if m.Class == nil {
		missing := classrule.NotFound(m.Namespace, m.ClassName, errors.New("there is none of this name"))
		if m.ClassName == "" {
			missing = classrule.Unnamed()
		}
		message := missing.Error()
		if near := reason.Nearest(m.ClassName, m.ClassNames); near != "" {
			message += "; did you mean " + near + "?"
		}
		c.add(Link{
			Kind: ClassLink, Name: m.ClassName, State: Broken, Reason: missing.Reason.Name, Detail: "does not exist in namespace " + m.Namespace, Message: message,
			Fix: "kubectl get secretproviderclass --namespace " + m.Namespace,
		})
		return
	}
	link := Link{Kind: ClassLink, Name: m.ClassName, State: OK, Detail: "provider " + string(m.Class.Spec.Provider)}
	if m.Class.Spec.Provider == "azure" {
		link.Detail += fmt.Sprintf(", %s of objects", plural(len(b.checked.Objects), "entry", "entries"))
	}
	if problems := b.checked.Problems; len(problems) > 0 {
		var texts []string
		for _, p := range problems {
			texts = append(texts, p.Text)
		}
		link.State, link.Reason, link.Detail = Broken, problems[0].Reason.Name, plural(len(problems), "problem", "problems")+" in spec.parameters"
		link.Message = link.Reason + ": " + strings.Join(texts, "; ")
		if m.open() {
			link.State = Warning
			link.Message += "; the volumes of its pods may set what is wrong or missing"
		}
		link.Fix = "kubectl edit secretproviderclass " + m.ClassName + " --namespace " + m.Namespace
	} else if ignored := b.checked.Ignored; len(ignored) > 0 {
		link.State, link.Message = Warning, ignored[0].Text
		link.Detail += "; " + plural(len(ignored), "name has", "names have") + " no effect"
	}
	c.add(link)
}

func (b *builder) accountLink(c *Chain) {
	m := b.m
	if m.Pod == nil {
		return
	}
	name := m.account()
	link := Link{Kind: AccountLink, Name: name, State: OK, Detail: "subject " + b.subject()}
	switch {
	case m.AccountUnread != nil:
		link.State = Unknown
		link.Detail += "; you may not read ServiceAccounts"
	case m.Account == nil:
		link.State, link.Reason, link.Detail = Broken, reason.ServiceAccountNotFound.Name, "does not exist in namespace "+m.Namespace
		link.Message = "ServiceAccountNotFound: service account " + name + " does not exist in namespace " + m.Namespace
		link.Fix = "kubectl create serviceaccount " + name + " --namespace " + m.Namespace
	default:
		if other := classrule.OtherIdentity(m.Class, name, m.Account.Annotations); other != nil {
			link.State, link.Reason, link.Message = Warning, other.Reason.Name, other.Error()
			link.Fix = "kubectl annotate serviceaccount " + name + " --namespace " + m.Namespace + " --overwrite " + classrule.ClientIDAnnotation + "=" + b.checked.ClientID
		}
	}
	c.add(link)
}

// subject is the pod's service account as Entra ID sees it.
func (b *builder) subject() string {
	return "system:serviceaccount:" + b.m.Namespace + ":" + b.m.account()
}

// selection ends the name of the link of objects that only a listing names.
const selection = "s that match the selection"

// objectLinks are the objects and their files.
func (b *builder) objectLinks(c *Chain) {
	for _, object := range b.checked.Objects {
		name := object.Type + "/" + object.Name
		if object.Name == "" {
			name = object.Type + selection
		}
		link := Link{Kind: ObjectLink, Name: name, State: Unknown, Detail: "in vault " + object.Vault}
		if version := b.version(object.Type, object.Name); version != "" {
			link.State, link.Detail = OK, "version "+version
		}
		if object.Optional {
			link.Detail += ", optional"
		}
		c.add(link)
	}
	var files []string
	for _, object := range b.checked.Objects {
		for _, file := range object.Files {
			if !file.Maybe {
				files = append(files, file.Path)
			}
		}
	}
	if len(files) > 0 {
		c.add(Link{Kind: FileLink, Name: strings.Join(files, ", "), State: Unknown, Detail: b.mountPaths()})
	}
}

// version is the mounted version of an object, as the pod status has it.
func (b *builder) version(objectType, name string) string {
	if b.m.Status == nil {
		return ""
	}
	for _, object := range b.m.Status.Status.Objects {
		if object.ID == objectType+"/"+name {
			return object.Version
		}
	}
	return ""
}

func (b *builder) mountPaths() string {
	if b.m.Pod == nil {
		return ""
	}
	var paths []string
	for i := range b.m.Pod.Spec.Containers {
		container := &b.m.Pod.Spec.Containers[i]
		for _, mount := range container.VolumeMounts {
			if mount.Name == b.m.Volume {
				paths = append(paths, "in "+mount.MountPath+" of container "+container.Name)
			}
		}
	}
	if len(paths) == 0 {
		return "no container mounts the volume"
	}
	return strings.Join(paths, ", ")
}

// roleFor is the built-in role that an object's type needs, with the data action that it gives and the permission of an access policy.
func roleFor(objectType string) (role, action, kind string) {
	switch objectType {
	case keyvault.TypeKey:
		return "Key Vault Certificate User", "Microsoft.KeyVault/vaults/keys/read", "keys"
	case keyvault.TypeCertificate:
		return "Key Vault Certificate User", "Microsoft.KeyVault/vaults/certificates/read", "certificates"
	}
	return "Key Vault Secrets User", "Microsoft.KeyVault/vaults/secrets/getSecret/action", "secrets"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
