// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// settle says of the links that nothing else has decided what the node's last attempt means for them.
func (b *builder) settle(c *Chain) {
	failed := b.failure()
	switch {
	case failed != nil:
		b.breakAt(c, *failed)
	case b.works():
		for i := range c.Links {
			link := &c.Links[i]
			switch {
			case link.State != Unknown || link.Kind.depth() > FileLink.depth():
			case !b.seen.tried && strings.HasSuffix(link.Name, selection):
				link.Detail = joined(link.Detail, "not probed: only objects that have a name are")
			default:
				link.State = OK
			}
		}
	default:
		b.unknown(c)
	}
}

// failure is what broke, in the node's words or the probe's.
func (b *builder) failure() *failure {
	if b.seen.failed != nil {
		return b.seen.failed
	}
	if b.probed != nil && b.probed.Failed != nil {
		return &failure{b.probed.Failed.Reason.Name, b.probed.Failed.Error()}
	}
	return nil
}

// works reports whether the files have come, to the node or to a probe. A probe that read nothing says nothing.
func (b *builder) works() bool {
	return b.seen.tried || b.probed != nil && b.probed.Failed == nil && b.probed.Skipped == "" && b.probed.Read > 0
}

// breakAt marks the link that a failure is about, those before it as good and those behind it as unknown.
func (b *builder) breakAt(c *Chain, f failure) {
	kind := kindOf(f.reason)
	at := b.brokenLink(c, kind, f)
	for i := range c.Links {
		link := &c.Links[i]
		switch {
		case i == at:
		case link.State != Unknown:
		case link.Kind.depth() < kind.depth():
			link.State = OK
		default:
			link.Detail = joined(link.Detail, "comes after the broken link")
		}
	}
	if at < 0 {
		return
	}
	link := &c.Links[at]
	known := link.State == Broken && link.Reason == f.reason
	link.State, link.Reason, link.Message = Broken, f.reason, f.message
	// What Azure told has the names that the node's text can only leave open.
	if !known || link.Fix == "" {
		link.Fix = b.filled(fixOf(f))
	}
}

// brokenLink returns the index of the link that a failure is about. Where there are several of its kind, it is the one whose name the text has. A
// chain without such a link gets one.
func (b *builder) brokenLink(c *Chain, kind LinkKind, f failure) int {
	first := -1
	for i, link := range c.Links {
		if link.Kind != kind {
			continue
		}
		_, object, _ := strings.Cut(link.Name, "/")
		if kind != ObjectLink || strings.Contains(f.message, `"`+object+`"`) || strings.Contains(f.message, link.Name) {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	if first >= 0 {
		return first
	}
	at := slices.IndexFunc(c.Links, func(link Link) bool { return link.Kind.depth() > kind.depth() })
	if at < 0 {
		at = len(c.Links)
	}
	name := ""
	if kind == DriverLink {
		name = driverName
	}
	c.Links = slices.Insert(c.Links, at, Link{Kind: kind, Name: name, State: Unknown})
	return at
}

// unknown says of the links that nothing has decided why that is so.
func (b *builder) unknown(c *Chain) {
	why := "nobody has tried it yet"
	if c.Broken() != nil {
		why = "comes after the broken link"
	}
	for i := range c.Links {
		link := &c.Links[i]
		if link.State != Unknown {
			continue
		}
		because := why
		if b.probed != nil && b.probed.Skipped != "" && link.Kind.depth() <= FileLink.depth() {
			because = "not probed: " + b.probed.Skipped
		}
		if !strings.Contains(link.Detail, because) {
			link.Detail = joined(link.Detail, because)
		}
	}
}

func joined(detail, more string) string {
	if detail == "" {
		return more
	}
	return detail + "; " + more
}

// filled puts names that are known in the place of a command's brackets.
func (b *builder) filled(command string) string {
	known := []string{"<namespace>", b.m.Namespace, "<class>", b.m.ClassName, "<client id>", b.checked.ClientID, "<vault>", b.checked.Vault}
	if b.m.Pod != nil {
		account := strings.TrimPrefix(b.subject(), "system:serviceaccount:"+b.m.Namespace+":")
		known = append(known, "<pod>", b.m.Pod.Name, "<service account>", account)
		if b.m.Pod.Spec.NodeName != "" {
			known = append(known, "<node>", b.m.Pod.Spec.NodeName)
		}
	}
	if b.azure != nil && b.azure.identity != nil {
		known = append(known, "<identity>", b.azure.identity.Name, "<group>", b.azure.identity.ResourceGroup)
	}
	if b.azure != nil && b.azure.vault != nil {
		known = append(known, "<vault id>", b.azure.vault.ID)
	}
	for i := 1; i < len(known); i += 2 {
		if known[i] == "" {
			known[i] = known[i-1]
		}
	}
	return strings.NewReplacer(known...).Replace(command)
}

// synced reports whether the node says that the Secrets of a mount are in step.
func synced(status *v1.SecretProviderClassPodStatus) bool {
	return status != nil && meta.IsStatusConditionTrue(status.Status.Conditions, v1.ConditionSecretsSynced)
}

// unsynced returns why the Secrets of a mount are not in step, nil if they are or nobody knows.
func unsynced(status *v1.SecretProviderClassPodStatus) *failure {
	if status == nil {
		return nil
	}
	condition := meta.FindStatusCondition(status.Status.Conditions, v1.ConditionSecretsSynced)
	if condition == nil || condition.Status != metav1.ConditionFalse {
		return nil
	}
	return &failure{condition.Reason, condition.Message}
}
