// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vaultferry/vaultferry/internal/classrule"
	"github.com/vaultferry/vaultferry/internal/consumption"
	"github.com/vaultferry/vaultferry/internal/foreseen"
	"github.com/vaultferry/vaultferry/internal/mounts"
	"github.com/vaultferry/vaultferry/internal/secretsync"
)

// secretLinks are the Secrets that the class asks for.
func (b *builder) secretLinks(c *Chain) {
	problems, told := b.secretProblems(), unsynced(b.m.Status)
	for i, object := range b.m.Class.Spec.SecretObjects {
		if object == nil {
			continue
		}
		entry := fmt.Sprintf("secretObjects[%d]", i)
		link := Link{Kind: SecretLink, Name: object.SecretName, State: Unknown, Detail: plural(len(object.Data), "key", "keys")}
		problem, wrong := problems["spec."+entry]
		switch {
		case told != nil && (strings.Contains(told.message, object.SecretName) || strings.Contains(told.message, entry) || len(b.m.Class.Spec.SecretObjects) == 1):
			b.breakSecret(&link, *told)
		case wrong:
			b.breakSecret(&link, problem)
		default:
			b.judgeSecret(&link, b.m.Secrets[object.SecretName])
		}
		c.add(link)
	}
}

// secretProblems are what is wrong with entries of the class's secretObjects, by their place: nothing where the node has made the Secrets.
func (b *builder) secretProblems() map[string]failure {
	problems := map[string]failure{}
	if b.m.Class.Spec.Provider != "azure" || synced(b.m.Status) {
		return problems
	}
	var files []secretsync.Foreseen
	if !b.m.open() {
		files = foreseen.Files(b.checked)
	}
	for _, p := range secretsync.Check(b.m.Class, files) {
		if _, has := problems[entryOf(p.Field)]; !has {
			problems[entryOf(p.Field)] = failure{p.Err.Reason.Name, p.Err.Error()}
		}
	}
	return problems
}

// judgeSecret says what there is of a Secret that the class asks for; found is nil where there is none.
func (b *builder) judgeSecret(link *Link, found *metav1.PartialObjectMetadata) {
	switch {
	case b.m.SecretsUnread != nil:
		link.Detail += "; you may not read Secrets"
	case found != nil && found.Labels["secrets-store.csi.k8s.io/managed"] != "true":
		b.breakSecret(link, failure{"SecretNotOurs", "SecretNotOurs: Secret " + link.Name + " belongs to somebody else, so it is left alone; choose another secretName, or delete it"})
	case found != nil:
		link.State = OK
		if at := mounts.WrittenAt(found); !at.IsZero() {
			link.Detail += ", last written " + at.UTC().Format(time.RFC3339)
		}
	case b.seen.tried && b.failure() == nil && b.m.Pod != nil && !b.m.Planned:
		link.State = Warning
		link.Message = "the volume is mounted and the Secret is not there: the driver makes Secrets where the chart is installed with syncSecret.enabled=true"
		link.Fix = "kubectl vaultferry doctor"
	case b.m.Pod == nil:
		link.Detail += "; it is made when the first pod mounts the class, and goes with the last"
	}
}

// entryOf cuts "spec.secretObjects[1].data[0].key" to the entry.
func entryOf(field string) string {
	if i := strings.Index(field, "]"); i >= 0 {
		return field[:i+1]
	}
	return field
}

func (b *builder) breakSecret(link *Link, f failure) {
	link.State, link.Reason, link.Message = Broken, f.reason, f.message
	if link.Fix = b.filled(fixOf(f)); link.Fix == "" {
		link.Fix = "kubectl edit secretproviderclass " + b.m.ClassName + " --namespace " + b.m.Namespace
	}
}

// consumerLinks are the containers that read the files or the Secrets.
func (b *builder) consumerLinks(c *Chain) {
	if b.m.Pod != nil {
		change := consumption.Change{Class: b.m.ClassName}
		if b.m.Status != nil && b.m.Status.Status.LastChangeTime != nil {
			change.At = b.m.Status.Status.LastChangeTime.Time
		}
		b.consumersIn(c, b.m.Pod, change)
	}
	for _, object := range b.m.Class.Spec.SecretObjects {
		if object == nil {
			continue
		}
		found := b.m.Secrets[object.SecretName]
		for i := range b.m.Neighbours {
			pod := &b.m.Neighbours[i]
			if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
				continue
			}
			change := consumption.Change{Secret: object.SecretName}
			if found != nil {
				change.At = mounts.WrittenAt(found)
			}
			b.consumersIn(c, pod, change)
		}
	}
}

func (b *builder) consumersIn(c *Chain, pod *corev1.Pod, change consumption.Change) {
	containers := consumption.Of(pod, change)
	if len(containers) > 0 && !slices.Contains(b.consumers, pod) {
		b.consumers = append(b.consumers, pod)
	}
	for _, container := range containers {
		for _, use := range container.Consumptions {
			name := pod.Name
			if container.Name != "" {
				name += "/" + container.Name
			}
			link := Link{Kind: ConsumerLink, Name: name, State: OK, Detail: use.String()}
			if missing, known := b.m.Secrets[change.Secret]; change.Secret != "" && known && missing == nil {
				what, _, _ := strings.Cut(use.String(), ": ")
				link.State, link.Detail = Unknown, what+": waits for the Secret, which is not there"
			}
			if use.BySubPath() {
				stale := classrule.SubPath(string(container.Role), container.Name, use.Part, change.Name(), use.Ref)
				link.State, link.Reason, link.Message = Warning, stale.Reason.Name, stale.Error()
				link.Fix = b.filled(fixOf(failure{link.Reason, link.Message}))
			}
			if use.StaleSince != nil {
				link.State = Warning
				link.Message = "the container has read the old value at its start and sees the new one after a restart only"
				link.Fix = mounts.RestartCommand(pod)
			}
			c.add(link)
		}
	}
}
