// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/consumption"
	"github.com/vaultferry/vaultferry/internal/entra"
	"github.com/vaultferry/vaultferry/internal/provider"
	"github.com/vaultferry/vaultferry/internal/reason"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

const (
	driverName = "secrets-store.csi.k8s.io"
	classKey   = "secretProviderClass"
)

// ErrUnknown is the answer of a [World] that does not know whether an object exists.
var ErrUnknown = errors.New("not known")

// World is what stands around a class or a pod. An object that does not exist is an API error of the reason NotFound; any other error, such as
// [ErrUnknown], means that nothing can be said.
type World interface {
	Class(ctx context.Context, namespace, name string) (*v1.SecretProviderClass, error)
	Classes(ctx context.Context, namespace string) ([]v1.SecretProviderClass, error)
	// AccountAnnotations returns those of a ServiceAccount.
	AccountAnnotations(ctx context.Context, namespace, name string) (map[string]string, error)
	// SecretMetadata returns a Secret without its content.
	SecretMetadata(ctx context.Context, namespace, name string) (metav1.Object, error)
}

// Secrets checks that the Secrets which a class asks for are not somebody else's. It warns only: the Secret may be about to go. The error joins
// the answers of the world that are neither an object nor its absence.
func Secrets(ctx context.Context, world World, class *v1.SecretProviderClass) ([]Finding, error) {
	var findings []Finding
	var failures []error
	for i, object := range class.Spec.SecretObjects {
		if object == nil || strings.TrimSpace(object.SecretName) == "" {
			continue
		}
		current, err := world.SecretMetadata(ctx, class.Namespace, strings.TrimSpace(object.SecretName))
		switch {
		case err == nil:
			if foreign := secretsync.Foreign(current); foreign != nil {
				findings = append(findings, found(Warning, fmt.Sprintf("spec.secretObjects[%d].secretName", i), foreign))
			}
		case !apierrors.IsNotFound(err) && !errors.Is(err, ErrUnknown):
			failures = append(failures, err)
		}
	}
	return without(findings, class.Annotations), errors.Join(failures...)
}

// Workload is a pod, or the template of pods in another kind.
type Workload struct {
	Kind, Namespace, Name string
	// Template is where the pod's metadata and spec stand in the object: "" for a pod, "spec.template." for a Deployment.
	Template string
	// Pod has the namespace of the workload.
	Pod *corev1.Pod
}

// podLook is the check of one pod.
type podLook struct {
	world    World
	workload Workload
	pod      *corev1.Pod
	findings []Finding
	failures []error
	// made are the Secrets that the pod's own classes make.
	made map[string]bool
}

// Pod checks a pod against the classes, the ServiceAccount and the Secrets around it. All findings are warnings. The error joins the answers of the
// world that are neither an object nor its absence.
func Pod(ctx context.Context, world World, workload Workload) ([]Finding, error) {
	l := podLook{world: world, workload: workload, pod: workload.Pod, made: map[string]bool{}}
	told := map[string]bool{}
	for i := range l.pod.Spec.Volumes {
		if csi := l.pod.Spec.Volumes[i].CSI; csi != nil && csi.Driver == driverName {
			l.volume(ctx, i, csi, told)
		}
	}
	l.secrets(ctx)
	return without(l.findings, l.pod.Annotations), errors.Join(l.failures...)
}

// add notes a warning; field is within the pod.
func (l *podLook) add(field string, err *reason.Error) {
	if err != nil {
		l.findings = append(l.findings, found(Warning, l.workload.Template+field, err))
	}
}

// failed notes an answer that says nothing.
func (l *podLook) failed(err error) {
	if !errors.Is(err, ErrUnknown) {
		l.failures = append(l.failures, err)
	}
}

// volume checks one volume of the driver's. told holds what was said of the pod as a whole already.
func (l *podLook) volume(ctx context.Context, i int, csi *corev1.CSIVolumeSource, told map[string]bool) {
	field := fmt.Sprintf("spec.volumes[%d].csi.", i)
	if csi.ReadOnly == nil || !*csi.ReadOnly {
		l.add(field+"readOnly", classrule.ReadOnly())
	}
	name := csi.VolumeAttributes[classKey]
	if name == "" {
		l.add(field+"volumeAttributes", classrule.Unnamed())
		return
	}
	class, err := l.world.Class(ctx, l.workload.Namespace, name)
	if err != nil {
		l.missingClass(ctx, field+"volumeAttributes."+classKey, name, err)
		return
	}
	for _, object := range class.Spec.SecretObjects {
		if object != nil {
			l.made[strings.TrimSpace(object.SecretName)] = true
		}
	}
	l.add(field+"volumeAttributes", classrule.Attributes(class, l.workload.Namespace+"/"+name, csi.VolumeAttributes))
	l.subPaths(consumption.Change{Class: name})
	if class.Spec.Provider == azure {
		l.identity(ctx, field, csi, class, told)
	}
}

func (l *podLook) missingClass(ctx context.Context, field, name string, err error) {
	var names []string
	classes, listErr := l.world.Classes(ctx, l.workload.Namespace)
	for i := range classes {
		names = append(names, classes[i].Name)
	}
	near := ""
	if listErr == nil {
		near = reason.Nearest(name, names)
	}
	switch {
	case near != "":
		missing := classrule.NotFound(l.workload.Namespace, name, err)
		missing.Next = fmt.Sprintf("did you mean %q? If not, %s", near, missing.Next)
		l.add(field, missing)
	case apierrors.IsNotFound(err):
		l.add(field, classrule.NotFound(l.workload.Namespace, name, err))
	default:
		l.failed(err)
	}
}

// identity checks that the pod and its ServiceAccount go with the identity of a class.
func (l *podLook) identity(ctx context.Context, field string, csi *corev1.CSIVolumeSource, class *v1.SecretProviderClass, told map[string]bool) {
	effective := classrule.Effective(class, csi.VolumeAttributes)
	if csi.NodePublishSecretRef == nil {
		for _, problem := range provider.CheckCredentials(effective) {
			l.findings = append(l.findings, Finding{
				Severity: Warning, Reason: problem.Reason, Field: l.workload.Template + strings.TrimSuffix(field, "."), Message: problem.Text,
			})
		}
	}
	mode, clientID := provider.CheckIdentity(effective)
	if clientID == "" || mode != entra.WorkloadIdentity && mode != entra.IdentityBinding {
		return
	}
	const labels = "metadata.labels"
	if !told[labels] {
		unlabelled := classrule.Unlabelled(class.Name, clientID, l.pod.Labels, l.workload.Template+labels)
		told[labels] = unlabelled != nil
		l.add(labels, unlabelled)
	}
	l.account(ctx, class, told)
}

func (l *podLook) account(ctx context.Context, class *v1.SecretProviderClass, told map[string]bool) {
	account := l.pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	annotations, err := l.world.AccountAnnotations(ctx, l.workload.Namespace, account)
	switch {
	case err == nil:
		l.add("spec.serviceAccountName", classrule.OtherIdentity(class, account, annotations))
	case apierrors.IsNotFound(err) && !told[account]:
		told[account] = true
		l.add("spec.serviceAccountName", reason.New(reason.ServiceAccountNotFound,
			"create it in namespace "+l.workload.Namespace+", or correct spec.serviceAccountName of the pod", "%w", err))
	case !apierrors.IsNotFound(err):
		l.failed(err)
	}
}

// secrets looks at what the pod uses of the Secrets that are made from classes.
func (l *podLook) secrets(ctx context.Context) {
	classes, err := l.world.Classes(ctx, l.workload.Namespace)
	if err != nil {
		l.failed(err)
		return
	}
	makers := map[string][]string{}
	for i := range classes {
		for _, object := range classes[i].Spec.SecretObjects {
			if object == nil || strings.TrimSpace(object.SecretName) == "" {
				continue
			}
			name := strings.TrimSpace(object.SecretName)
			makers[name] = append(makers[name], classes[i].Name)
		}
	}
	var names []string
	for name := range makers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l.subPaths(consumption.Change{Secret: name})
		if !l.made[name] {
			l.withoutVolume(name, makers[name])
		}
	}
}

// withoutVolume warns of the first use of a Secret that the pod itself does not have made.
func (l *podLook) withoutVolume(secretName string, classes []string) {
	for _, container := range consumption.Of(l.pod, consumption.Change{Secret: secretName}) {
		for _, use := range container.Consumptions {
			if use.Kind == consumption.ImagePull {
				continue
			}
			l.add(l.fieldOf(container, use), classrule.WithoutVolume(string(container.Role), container.Name, secretName, classes))
			return
		}
	}
}

// subPaths warns of mounts that never change.
func (l *podLook) subPaths(change consumption.Change) {
	for _, container := range consumption.Of(l.pod, change) {
		for _, use := range container.Consumptions {
			if use.BySubPath() {
				l.add(l.fieldOf(container, use), classrule.SubPath(string(container.Role), container.Name, use.Part, change.Name(), use.Ref))
			}
		}
	}
}

// fieldOf is where in the pod a container uses something.
func (l *podLook) fieldOf(container consumption.Container, use consumption.Consumption) string {
	list, name := l.pod.Spec.Containers, "containers"
	if container.Role == consumption.InitRole || container.Role == consumption.SidecarRole {
		list, name = l.pod.Spec.InitContainers, "initContainers"
	}
	i := slices.IndexFunc(list, func(c corev1.Container) bool { return c.Name == container.Name })
	if i < 0 {
		return "spec"
	}
	field := fmt.Sprintf("spec.%s[%d]", name, i)
	c := list[i]
	switch use.Kind {
	case consumption.EnvVariable:
		return fmt.Sprintf("%s.env[%d]", field, slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == use.Ref }))
	case consumption.EnvFrom:
		return fmt.Sprintf("%s.envFrom[%d]", field, slices.IndexFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool {
			return e.SecretRef != nil && e.SecretRef.Name == use.Source && e.Prefix == use.Ref
		}))
	}
	return fmt.Sprintf("%s.volumeMounts[%d]", field, slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == use.Ref }))
}
