// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"

	v1 "github.com/vaultferry/vaultferry/api/v1"
)

// Advice says what to do about an answer of the API server that came as err; "" where there is nothing to say. It may have several lines.
func Advice(err error) string {
	switch {
	case err == nil:
		return ""
	case apierrors.IsForbidden(err):
		if denied, ok := parseDenial(err.Error()); ok {
			return "Your user lacks a right. Somebody who may grant it can apply this, for example with `kubectl apply -f -`:\n\n" + denied.role()
		}
	case apierrors.IsUnauthorized(err):
		return "The API server does not know you: the credentials of the kubeconfig's context are missing or have ended."
	case missingKind(err):
		return "The cluster does not have the kinds of " + v1.Group + ", so the half with the CRDs is not installed. Install the chart with its CRDs\n" +
			"(value crds.enabled=true), and look at the rest with `kubectl vaultferry doctor`."
	case clientcmd.IsEmptyConfig(err):
		return "There is no kubeconfig: name one with --kubeconfig or in KUBECONFIG, and look at its contexts with `kubectl config get-contexts`."
	case unreachable(err):
		return "The API server does not answer: look at the context in use with `kubectl config current-context`, and try `kubectl version`."
	}
	return ""
}

// missingKind reports whether the API server does not serve the path that was asked for, as opposed to not having the object.
func missingKind(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsNotFound(err) {
		return false
	}
	details := status.ErrStatus.Details
	return details == nil || details.Name == "" || strings.Contains(status.ErrStatus.Message, "the server could not find the requested resource")
}

// Missing reports whether err says that an object is not there, although its kind is.
func Missing(err error) bool { return apierrors.IsNotFound(err) && !missingKind(err) }

// KindMissing reports whether err says that the API server does not have the kind at all.
func KindMissing(err error) bool { return missingKind(err) }

func unreachable(err error) bool {
	_, isNet := errors.AsType[*net.OpError](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	return isNet || isDNS
}

// denial is what the API server's text of a refusal says.
type denial struct{ user, verb, resource, group, namespace string }

// denialText is the text of a refusal by RBAC (k8s.io/apiserver, endpoints/handlers/responsewriters, forbiddenMessage). It has been the same since 1.8.
var denialText = regexp.MustCompile(`User "([^"]*)" cannot ([a-z]+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?`)

func parseDenial(text string) (denial, bool) {
	m := denialText.FindStringSubmatch(text)
	if m == nil {
		return denial{}, false
	}
	return denial{m[1], m[2], m[3], m[4], m[5]}, true
}

// readVerbs are granted together: who may get wants to list and watch soon after.
func (d denial) verbs() string {
	switch d.verb {
	case "get", "list", "watch":
		if d.resource == "secrets" {
			return d.verb // a list of Secrets is all of their values
		}
		return "get, list, watch"
	}
	return d.verb
}

// name is that of the Role: another one for each right and user, so that Roles which are applied one after the other add up.
func (d denial) name() string {
	who := sha256.Sum256([]byte(d.user + "\x00" + d.group))
	return fmt.Sprintf("vaultferry-cli-%s-%s-%x", strings.ReplaceAll(d.resource, "/", "-"), strings.ReplaceAll(d.verbs(), ", ", "-"), who[:4])
}

// role returns a Role, or ClusterRole for all namespaces, with its binding.
func (d denial) role() string {
	kind, namespace := "Role", "\n  namespace: "+d.namespace
	if d.namespace == "" {
		kind, namespace = "ClusterRole", ""
	}
	subject := "- kind: User\n  apiGroup: rbac.authorization.k8s.io\n  name: " + d.user
	if rest, ok := strings.CutPrefix(d.user, "system:serviceaccount:"); ok {
		ns, account, _ := strings.Cut(rest, ":")
		subject = "- kind: ServiceAccount\n  name: " + account + "\n  namespace: " + ns
	}
	return fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: %[1]s
metadata:
  name: %[2]s%[3]s
rules:
- apiGroups: [%[4]q]
  resources: [%[5]q]
  verbs: [%[6]s]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: %[1]sBinding
metadata:
  name: %[2]s%[3]s
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: %[1]s
  name: %[2]s
subjects:
%[7]s
`, kind, d.name(), namespace, d.group, d.resource, d.verbs(), subject)
}
