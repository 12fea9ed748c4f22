// SPDX-License-Identifier: Apache-2.0

package emulator_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/vaultferry/vaultferry/internal/emulator/admin"
)

func (r *running) certificatesClient() *azcertificates.Client {
	r.t.Helper()
	credential, options := r.ciCredential()
	client, err := azcertificates.NewClient(objectsURL, credential, &azcertificates.ClientOptions{ClientOptions: options})
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

func (r *running) objectSecrets() *azsecrets.Client {
	r.t.Helper()
	credential, options := r.ciCredential()
	return secretsClient(r.t, objectsURL, credential, options)
}

// webPolicy asks an issuer for a certificate of app.example.
func webPolicy(issuer, contentType string) *azcertificates.CertificatePolicy {
	return &azcertificates.CertificatePolicy{
		IssuerParameters: &azcertificates.IssuerParameters{Name: &issuer},
		SecretProperties: &azcertificates.SecretProperties{ContentType: &contentType},
		KeyProperties:    &azcertificates.KeyProperties{KeyType: ptr(azcertificates.KeyTypeEC), Curve: ptr(azcertificates.CurveNameP256)},
		X509CertificateProperties: &azcertificates.X509CertificateProperties{
			Subject: ptr(`CN=app.example, O="Contoso, Ltd."`), ValidityInMonths: ptr[int32](3),
			SubjectAlternativeNames: &azcertificates.SubjectAlternativeNames{DNSNames: []*string{ptr("app.example")}, IPAddresses: []*string{ptr("127.0.0.1")}},
		},
	}
}

// create asks for a certificate and polls until it is there.
func create(t *testing.T, client *azcertificates.Client, name string, policy *azcertificates.CertificatePolicy) azcertificates.GetCertificateResponse {
	t.Helper()
	ctx := t.Context()
	begun := must(client.CreateCertificate(ctx, name, azcertificates.CreateCertificateParameters{CertificatePolicy: policy, Tags: map[string]*string{"a": ptr("b")}}, nil))(t)
	if *begun.Status != "inProgress" || *begun.ID != azcertificates.ID(objectsURL+"/certificates/"+name+"/pending") {
		t.Errorf("begun: %+v", begun)
	}
	if csr, err := x509.ParseCertificateRequest(begun.CSR); err != nil || csr.CheckSignature() != nil {
		t.Errorf("the request: %v", err)
	}
	eventually(t, "the certificate is issued", func() bool {
		op := must(client.GetCertificateOperation(ctx, name, nil))(t)
		return *op.Status == "completed" && *op.Target == objectsURL+"/certificates/"+name
	})
	return must(client.GetCertificate(ctx, name, "", nil))(t)
}

// A certificate of the test CA, taken from its secret as PKCS#12 or PEM, serves
// TLS to a client that trusts the root alone: so the chain is complete.
func TestGoSDKServeTLS(t *testing.T) {
	for _, algorithms := range []string{"modern", "legacyDES", "legacyRC2"} {
		r := start(t, strings.Replace(vaultOfObjects, "certificateIssuers", "pkcs12: "+algorithms+"\n  certificateIssuers", 1))
		for _, contentType := range []string{"application/x-pkcs12", "application/x-pem-file"} {
			t.Run(algorithms+" "+contentType, func(t *testing.T) {
				name := "web-" + contentType[len(contentType)-4:]
				bundle := create(t, r.certificatesClient(), name, webPolicy("test-ca", contentType))
				secret := must(r.objectSecrets().GetSecret(t.Context(), name, bundle.SID.Version(), nil))(t)
				if *secret.ContentType != contentType || !*secret.Managed || string(*secret.KID) != string(*bundle.KID) || *secret.Tags["a"] != "b" ||
					secret.Attributes.Expires.Unix() != bundle.Attributes.Expires.Unix() {
					t.Errorf("secret: %+v", secret.Attributes)
				}
				serveTLS(t, r, keyPair(t, *secret.Value, contentType), bundle.CER)
			})
		}
	}
}

// keyPair reads a secret as an application would.
func keyPair(t *testing.T, value, contentType string) tls.Certificate {
	t.Helper()
	if contentType == "application/x-pem-file" {
		return must(tls.X509KeyPair([]byte(value), []byte(value)))(t)
	}
	data, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	key, leaf, chain, err := pkcs12.DecodeChain(data, "")
	if err != nil {
		t.Fatal(err)
	}
	pair := tls.Certificate{PrivateKey: key, Certificate: [][]byte{leaf.Raw}}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair
}

func serveTLS(t *testing.T, r *running, pair tls.Certificate, leaf []byte) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	var issuer admin.Issuer
	r.adminDo("GET", "/vaults/kv-objects/certificate-issuers/test-ca", nil, &issuer)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(issuer.Root))
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "app.example"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://app.example/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.TLS.PeerCertificates; len(got) != 2 || string(got[0].Raw) != string(leaf) || resp.StatusCode != http.StatusTeapot {
		t.Errorf("%d certificates served, status %d", len(got), resp.StatusCode)
	}
}

// The three faces of one name: the certificate, its key and its secret live and
// die together.
func TestGoSDKThreeFaces(t *testing.T) {
	r := start(t, vaultOfObjects)
	certificates, keys, secrets, ctx := r.certificatesClient(), r.keysClient(), r.objectSecrets(), t.Context()
	bundle := create(t, certificates, "face", webPolicy("Self", "application/x-pem-file"))
	version := bundle.ID.Version()
	leaf := must(x509.ParseCertificate(bundle.CER))(t)
	thumbprint := sha1.Sum(bundle.CER)
	if leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) != nil || leaf.Subject.Organization[0] != "Contoso, Ltd." ||
		string(bundle.X509Thumbprint) != string(thumbprint[:]) || *bundle.Policy.IssuerParameters.Name != "Self" {
		t.Errorf("self-signed: %s", leaf.Subject)
	}
	key := must(keys.GetKey(ctx, "face", version, nil))(t)
	digest := sha256.Sum256(nil)
	signed := must(keys.Sign(ctx, "face", "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmES256), Value: digest[:]}, nil))(t)
	checkSignature(t, "ES256", key.Key, digest[:], signed.Result)
	if public, err := leaf.PublicKey.(*ecdsa.PublicKey).Bytes(); !*key.Managed || err != nil || string(public[1:33]) != string(key.Key.X) {
		t.Error("the key is not that of the certificate")
	}

	for what, call := range map[string]func() error{
		"set secret": func() error {
			_, err := secrets.SetSecret(ctx, "face", azsecrets.SetSecretParameters{Value: ptr("x")}, nil)
			return err
		},
		"update secret": func() error {
			_, err := secrets.UpdateSecretProperties(ctx, "face", version, azsecrets.UpdateSecretPropertiesParameters{ContentType: ptr("x")}, nil)
			return err
		},
		"delete secret": func() error { _, err := secrets.DeleteSecret(ctx, "face", nil); return err },
		"create key": func() error {
			_, err := keys.CreateKey(ctx, "face", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeEC)}, nil)
			return err
		},
		"rotate key": func() error { _, err := keys.RotateKey(ctx, "face", nil); return err },
		"delete key": func() error { _, err := keys.DeleteKey(ctx, "face", nil); return err },
	} {
		wantCode(t, what, 403, "Forbidden", call)
	}

	must(certificates.UpdateCertificate(ctx, "face", version, azcertificates.UpdateCertificateParameters{
		CertificateAttributes: &azcertificates.CertificateAttributes{Enabled: ptr(false)}, Tags: map[string]*string{"c": ptr("d")}}, nil))(t)
	wantCode(t, "secret of a disabled certificate", 403, "Forbidden", func() error { _, err := secrets.GetSecret(ctx, "face", "", nil); return err })
	if got := must(keys.GetKey(ctx, "face", "", nil))(t); *got.Attributes.Enabled || *got.Tags["c"] != "d" {
		t.Errorf("the key mirrors the certificate: %+v", got.Attributes)
	}
	if got := must(certificates.GetCertificate(ctx, "face", "", nil))(t); *got.Attributes.Enabled {
		t.Errorf("a disabled certificate can be read, and says so")
	}
	must(certificates.UpdateCertificate(ctx, "face", "", azcertificates.UpdateCertificateParameters{
		CertificateAttributes: &azcertificates.CertificateAttributes{Enabled: ptr(true)}}, nil))(t)

	backup := must(certificates.BackupCertificate(ctx, "face", nil))(t)
	before := must(secrets.GetSecret(ctx, "face", "", nil))(t)
	must(certificates.DeleteCertificate(ctx, "face", nil))(t)
	wantCode(t, "certificate", 404, "CertificateNotFound", func() error { _, err := certificates.GetCertificate(ctx, "face", "", nil); return err })
	wantCode(t, "key", 404, "KeyNotFound", func() error { _, err := keys.GetKey(ctx, "face", "", nil); return err })
	wantCode(t, "secret", 404, "SecretNotFound", func() error { _, err := secrets.GetSecret(ctx, "face", "", nil); return err })
	wantCode(t, "create certificate", 409, "Conflict", func() error {
		_, err := certificates.CreateCertificate(ctx, "face", azcertificates.CreateCertificateParameters{CertificatePolicy: webPolicy("Self", "")}, nil)
		return err
	})
	wantCode(t, "create key", 409, "Conflict", func() error {
		_, err := keys.CreateKey(ctx, "face", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeEC)}, nil)
		return err
	})
	wantCode(t, "set secret", 409, "Conflict", func() error {
		_, err := secrets.SetSecret(ctx, "face", azsecrets.SetSecretParameters{Value: ptr("x")}, nil)
		return err
	})
	wantCode(t, "recover the key by itself", 403, "Forbidden", func() error { _, err := keys.RecoverDeletedKey(ctx, "face", nil); return err })
	must(certificates.RecoverDeletedCertificate(ctx, "face", nil))(t)
	must(keys.GetKey(ctx, "face", "", nil))(t)
	must(certificates.DeleteCertificate(ctx, "face", nil))(t)
	must(certificates.PurgeDeletedCertificate(ctx, "face", nil))(t)
	wantCode(t, "purged", 404, "KeyNotFound", func() error { _, err := keys.GetDeletedKey(ctx, "face", nil); return err })
	must(certificates.RestoreCertificate(ctx, azcertificates.RestoreCertificateParameters{CertificateBackup: backup.Value}, nil))(t)
	if after := must(secrets.GetSecret(ctx, "face", version, nil))(t); *after.Value != *before.Value {
		t.Error("the restored secret has another value")
	}
}

func TestGoSDKImport(t *testing.T) {
	r := start(t, vaultOfObjects)
	certificates, secrets, ctx := r.certificatesClient(), r.objectSecrets(), t.Context()
	bundle := create(t, certificates, "source", webPolicy("test-ca", "application/x-pkcs12"))
	value := *must(secrets.GetSecret(ctx, "source", "", nil))(t).Value
	pair := keyPair(t, value, "application/x-pkcs12")
	text := pkcs8(t, pair.PrivateKey)
	for _, der := range pair.Certificate {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	withPassword := func(e *pkcs12.Encoder) string {
		chain := must(x509.ParseCertificate(pair.Certificate[1]))(t)
		data := must(e.Encode(pair.PrivateKey, must(x509.ParseCertificate(pair.Certificate[0]))(t), []*x509.Certificate{chain}, "pässword"))(t)
		return base64.StdEncoding.EncodeToString(data)
	}
	for name, form := range map[string]struct{ value, password, contentType string }{
		"empty-password": {value, "", "application/x-pkcs12"},
		"modern":         {withPassword(pkcs12.Modern2023), "pässword", "application/x-pkcs12"},
		"legacy":         {withPassword(pkcs12.LegacyRC2), "pässword", "application/x-pkcs12"},
		"pem":            {text, "", "application/x-pem-file"},
	} {
		imported := must(certificates.ImportCertificate(ctx, name, azcertificates.ImportCertificateParameters{Base64EncodedCertificate: &form.value, Password: &form.password}, nil))(t)
		secret := must(secrets.GetSecret(ctx, name, "", nil))(t)
		got := keyPair(t, *secret.Value, form.contentType)
		if string(imported.CER) != string(bundle.CER) || *imported.ContentType != form.contentType || len(got.Certificate) != 2 {
			t.Errorf("%s: %s, %d certificates", name, *imported.ContentType, len(got.Certificate))
		}
	}
	wantCode(t, "wrong password", 400, "BadParameter", func() error {
		_, err := certificates.ImportCertificate(ctx, "no", azcertificates.ImportCertificateParameters{Base64EncodedCertificate: ptr(withPassword(pkcs12.Modern2023)), Password: ptr("wrong")}, nil)
		return err
	})

	// What must not leave the vault is not in the secret; the key still signs.
	must(certificates.ImportCertificate(ctx, "locked", azcertificates.ImportCertificateParameters{
		Base64EncodedCertificate: &text, CertificatePolicy: &azcertificates.CertificatePolicy{KeyProperties: &azcertificates.KeyProperties{Exportable: ptr(false)}}}, nil))(t)
	locked := *must(secrets.GetSecret(ctx, "locked", "", nil))(t).Value
	if strings.Contains(locked, "PRIVATE KEY") || strings.Count(locked, "BEGIN CERTIFICATE") != 2 {
		t.Error("the secret of a key that is not exportable holds certificates only")
	}
	digest := sha256.Sum256(nil)
	must(r.keysClient().Sign(ctx, "locked", "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmES256), Value: digest[:]}, nil))(t)
}

// An issuer that takes its time, one that never answers, and a request that is
// signed elsewhere.
func TestGoSDKPending(t *testing.T) {
	r := start(t, strings.Replace(vaultOfObjects, "certificateIssuers", "certificateIssuanceDelay: 1h\n  certificateIssuers", 1))
	client, ctx := r.certificatesClient(), t.Context()
	begin := func(name, issuer string) azcertificates.CreateCertificateResponse {
		t.Helper()
		return must(client.CreateCertificate(ctx, name, azcertificates.CreateCertificateParameters{CertificatePolicy: webPolicy(issuer, "application/x-pem-file")}, nil))(t)
	}
	begin("slow", "test-ca")
	begin("stopped", "Self")
	begin("dropped", "Self")
	merged := begin("merged", "Unknown")
	if got := must(client.GetCertificate(ctx, "slow", "", nil))(t); *got.Attributes.Enabled || got.CER != nil {
		t.Errorf("a pending version is disabled and empty: %+v", got.Attributes)
	}
	wantCode(t, "a second one", 409, "Conflict", func() error {
		_, err := client.CreateCertificate(ctx, "slow", azcertificates.CreateCertificateParameters{CertificatePolicy: webPolicy("Self", "")}, nil)
		return err
	})
	wantCode(t, "its secret", 404, "SecretNotFound", func() error { _, err := r.objectSecrets().GetSecret(ctx, "slow", "", nil); return err })
	if page := must(client.NewListCertificatePropertiesPager(nil).NextPage(ctx))(t); len(page.Value) != 0 {
		t.Errorf("the list has %d pending certificates", len(page.Value))
	}
	if page := must(client.NewListCertificatePropertiesPager(&azcertificates.ListCertificatePropertiesOptions{IncludePending: ptr(true)}).NextPage(ctx))(t); len(page.Value) != 4 {
		t.Errorf("the list with pending certificates has %d", len(page.Value))
	}
	if op := must(client.UpdateCertificateOperation(ctx, "stopped", azcertificates.UpdateCertificateOperationParameter{CancellationRequested: ptr(true)}, nil))(t); !*op.CancellationRequested || *op.Status != "inProgress" {
		t.Errorf("cancelling: %+v", op)
	}
	must(client.DeleteCertificateOperation(ctx, "dropped", nil))(t)
	wantCode(t, "dropped", 404, "PendingCertificateNotFound", func() error { _, err := client.GetCertificateOperation(ctx, "dropped", nil); return err })

	csr := must(x509.ParseCertificateRequest(merged.CSR))(t)
	authority := newECKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: csr.Subject, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	parent := &x509.Certificate{SerialNumber: template.SerialNumber, Subject: csr.Subject, IsCA: true, BasicConstraintsValid: true, NotAfter: template.NotAfter}
	signed := must(x509.CreateCertificate(rand.Reader, template, parent, csr.PublicKey, authority))(t)
	stranger := must(x509.CreateCertificate(rand.Reader, template, parent, authority.Public(), authority))(t)
	wantCode(t, "a certificate for another key", 400, "BadParameter", func() error {
		_, err := client.MergeCertificate(ctx, "merged", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{stranger}}, nil)
		return err
	})
	if got := must(client.MergeCertificate(ctx, "merged", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{signed}}, nil))(t); string(got.CER) != string(signed) || !*got.Attributes.Enabled {
		t.Errorf("merged: %+v", got.Attributes)
	}

	r.clock.advance(61 * time.Minute)
	for name, want := range map[string]string{"slow": "completed", "stopped": "cancelled"} {
		a := r.do("GET", objectsURL+"/certificates/"+name+"/pending?api-version=7.4", r.ciToken(), "")
		var op struct{ Status string }
		if err := json.Unmarshal([]byte(a.body), &op); err != nil || op.Status != want {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

func TestGoSDKPolicyAndIssuers(t *testing.T) {
	r := start(t, vaultOfObjects)
	client, ctx := r.certificatesClient(), t.Context()
	create(t, client, "web", webPolicy("Self", "application/x-pem-file"))
	changed := must(client.UpdateCertificatePolicy(ctx, "web", azcertificates.CertificatePolicy{
		KeyProperties: &azcertificates.KeyProperties{ReuseKey: ptr(true)}, IssuerParameters: &azcertificates.IssuerParameters{Name: ptr("test-ca")}}, nil))(t)
	if *changed.X509CertificateProperties.ValidityInMonths != 3 || *changed.KeyProperties.KeyType != "EC" {
		t.Errorf("what was not named stays: %+v", changed)
	}
	before := must(client.GetCertificate(ctx, "web", "", nil))(t)
	after := create(t, client, "web", nil)
	one, two := must(x509.ParseCertificate(before.CER))(t), must(x509.ParseCertificate(after.CER))(t)
	if !one.PublicKey.(*ecdsa.PublicKey).Equal(two.PublicKey) || one.Issuer.String() == two.Issuer.String() || before.ID.Version() == after.ID.Version() {
		t.Errorf("the new version has the old key and the new issuer: %s, %s", one.Issuer, two.Issuer)
	}
	if page := must(client.NewListCertificatePropertiesVersionsPager("web", nil).NextPage(ctx))(t); len(page.Value) != 2 {
		t.Errorf("%d versions", len(page.Value))
	}
	must(client.SetIssuer(ctx, "other", azcertificates.SetIssuerParameters{Provider: ptr("DigiCert")}, nil))(t)
	if got := must(client.GetIssuer(ctx, "other", nil))(t); *got.Provider != "DigiCert" {
		t.Errorf("issuer: %+v", got)
	}
	if page := must(client.NewListIssuerPropertiesPager(nil).NextPage(ctx))(t); len(page.Value) != 2 {
		t.Errorf("%d issuers", len(page.Value))
	}
	must(client.DeleteIssuer(ctx, "other", nil))(t)
	wantCode(t, "deleted issuer", 404, "CertificateIssuerNotFound", func() error { _, err := client.GetIssuer(ctx, "other", nil); return err })
	wantCode(t, "unknown issuer", 400, "BadParameter", func() error {
		_, err := client.CreateCertificate(ctx, "no", azcertificates.CreateCertificateParameters{CertificatePolicy: webPolicy("other", "application/x-pem-file")}, nil)
		return err
	})
}
