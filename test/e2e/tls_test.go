// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A certificate of the vault becomes a kubernetes.io/tls Secret, from which an ingress-style server serves; renewed in the vault, it is served
// without a restart of the pod.
func TestARenewedCertificateIsServedWithoutARestart(t *testing.T) {
	beside(t)
	s := newScene(t, "ingress")
	s.grant()
	s.federate(federation{})
	s.must(s.az(nil, "keyvault", "certificate", "issuer", "create", "--vault-name", vault, "--issuer-name", "e2e-ca"))
	roots := x509.NewCertPool()
	root := s.must(s.az(nil, "keyvault", "certificate", "issuer", "show", "--vault-name", vault, "--issuer-name", "e2e-ca", "--query", "root", "-o", "tsv"))
	if !roots.AppendCertsFromPEM([]byte(root)) {
		t.Fatalf("the root of the CA is %q", root)
	}
	issue := func() {
		t.Helper()
		policy := `{"issuerParameters":{"name":"e2e-ca"},"keyProperties":{"exportable":true,"keyType":"RSA","keySize":2048},` +
			`"secretProperties":{"contentType":"application/x-pkcs12"},` +
			`"x509CertificateProperties":{"subject":"CN=app.example","subjectAlternativeNames":{"dnsNames":["app.example"]},"validityInMonths":12}}`
		s.must(s.az(nil, "keyvault", "certificate", "create", "--vault-name", vault, "--name", "app-cert", "--policy", policy))
	}
	issue()
	s.objects = "array:\n  - |\n    objectName: app-cert\n    objectType: secret\n    objectAlias: tls-app.pem\n"
	s.secretObjects = "- secretName: app-tls\n  type: kubernetes.io/tls\n  data:\n  - {objectName: tls-app.pem, key: tls.crt}\n  - {objectName: tls-app.pem, key: tls.key}"
	s.applyClass()
	// The keeper's mount keeps the Secret; the server only knows the Secret.
	s.apply(s.pod("keeper", ""))
	s.awaitRunning("keeper")
	s.apply(fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: ingress}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: server
    image: %s
    imagePullPolicy: Never
    args: [serve-tls, /tls]
    volumeMounts: [{name: tls, mountPath: /tls, readOnly: true}]
  volumes: [{name: tls, secret: {secretName: app-tls}}]
`, s.appImage))
	s.awaitRunning("ingress")

	address := strings.TrimPrefix(s.portForwardIn(s.namespace, "pod/ingress", "8443"), "http://")
	served := func() (serial string, err error) {
		connection, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: "app.example", MinVersion: tls.VersionTLS12})
		if err != nil {
			return "", err
		}
		defer connection.Close()
		return connection.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
	}
	first := ""
	s.eventually("the server to answer with a certificate of the CA", 30*time.Second, func() (bool, string) {
		var err error
		first, err = served()
		return err == nil, fmt.Sprint(err)
	})
	issue()
	s.eventually("the renewed certificate to be served", 4*time.Minute, func() (bool, string) {
		now, err := served()
		return err == nil && now != first, fmt.Sprint(now, err)
	})
	restarts := s.must(s.get("pod", "ingress", "{.status.containerStatuses[0].restartCount}"))
	if restarts != "0" {
		t.Errorf("the server was restarted %s times", restarts)
	}
}
