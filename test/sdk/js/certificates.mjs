// SPDX-License-Identifier: Apache-2.0

// The Azure SDK for JavaScript makes certificates, reads them from the secrets
// behind them, and serves TLS with them.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { createServer, request } from "node:https";
import { ClientSecretCredential } from "@azure/identity";
import { CertificateClient } from "@azure/keyvault-certificates";
import { SecretClient } from "@azure/keyvault-secrets";

const env = process.env;
const url = env.VAULT_URL;
const credential = new ClientSecretCredential(env.AZURE_TENANT_ID, env.OTHER_CLIENT_ID, env.OTHER_CLIENT_SECRET);
const client = new CertificateClient(url, credential);
const secrets = new SecretClient(url, credential);

async function collect(iterator) {
  const all = [];
  for await (const one of iterator) all.push(one);
  return all;
}

async function refused(promise, status, code) {
  await assert.rejects(promise, (e) => e.statusCode === status && e.code === code);
}

// serve serves once over TLS and returns the certificate that the client saw.
async function serve(tls, ca) {
  const server = createServer(tls, (_, res) => res.end("served"));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await new Promise((resolve, reject) => {
      const req = request({ host: "127.0.0.1", port: server.address().port, servername: "app.example", ca, agent: false }, (res) => {
        const seen = res.socket.getPeerX509Certificate();
        res.resume().on("end", () => resolve(seen));
      });
      req.on("error", reject).end();
    });
  } finally {
    server.close();
  }
}

const policy = (issuerName, contentType) => ({
  issuerName, contentType, subject: "CN=app.example", subjectAlternativeNames: { dnsNames: ["app.example"] }, validityInMonths: 2, keySize: 2048,
});

// Self-signed, as PKCS#12 with an empty password.
const poller = await client.beginCreateCertificate("js-pfx", policy("Self", "application/x-pkcs12"), { intervalInMs: 10, tags: { a: "b" } });
const made = await poller.pollUntilDone();
assert.equal(made.policy.issuerName, "Self");
const leaf = new X509Certificate(made.cer);
assert.deepEqual(Buffer.from(made.properties.x509Thumbprint).toString("hex").toUpperCase(), leaf.fingerprint.replaceAll(":", ""));
const pfx = await secrets.getSecret("js-pfx");
assert.equal(pfx.properties.contentType, "application/x-pkcs12");
assert.equal(pfx.properties.managed, true);
assert.equal(String(pfx.properties.certificateKeyId), made.keyId);
const seen = await serve({ pfx: Buffer.from(pfx.value, "base64"), passphrase: "" }, leaf.toString());
assert.equal(seen.fingerprint256, leaf.fingerprint256);

// Of the test CA, as PEM with its chain.
const chained = await (await client.beginCreateCertificate("js-pem", policy("test-ca", "application/x-pem-file"), { intervalInMs: 10 })).pollUntilDone();
const pem = (await secrets.getSecret("js-pem")).value;
assert.equal(pem.match(/BEGIN CERTIFICATE/g).length, 2);
assert.equal((await serve({ key: pem, cert: pem }, env.TEST_CA)).fingerprint256, new X509Certificate(chained.cer).fingerprint256);

// Imported, and made again by its own policy.
const imported = await client.importCertificate("js-imported", Buffer.from(pem), { policy: { contentType: "application/x-pem-file" } });
assert.deepEqual(imported.cer, chained.cer);
await client.updateCertificatePolicy("js-pfx", { ...made.policy, validityInMonths: 5 });
assert.equal((await client.getCertificatePolicy("js-pfx")).validityInMonths, 5);
assert.equal((await collect(client.listPropertiesOfCertificates())).length, 3);
await (await client.beginCreateCertificate("js-pfx", await client.getCertificatePolicy("js-pfx"), { intervalInMs: 10 })).pollUntilDone();
assert.equal((await collect(client.listPropertiesOfCertificateVersions("js-pfx"))).length, 2);

// Attributes reach the secret; the secret cannot be changed by itself.
await client.updateCertificateProperties("js-pem", chained.properties.version, { enabled: false });
await refused(secrets.getSecret("js-pem"), 403, "Forbidden");
assert.equal((await client.getCertificate("js-pem")).properties.enabled, false);
await refused(secrets.setSecret("js-pem", "x"), 403, "Forbidden");

// Deleted, recovered, purged, restored: all three faces.
const backup = await client.backupCertificate("js-pfx");
await (await client.beginDeleteCertificate("js-pfx", { intervalInMs: 10 })).pollUntilDone();
await refused(client.getCertificate("js-pfx"), 404, "CertificateNotFound");
await refused(secrets.getSecret("js-pfx"), 404, "SecretNotFound");
await (await client.beginRecoverDeletedCertificate("js-pfx", { intervalInMs: 10 })).pollUntilDone();
await (await client.beginDeleteCertificate("js-pfx", { intervalInMs: 10 })).pollUntilDone();
await client.purgeDeletedCertificate("js-pfx");
await client.restoreCertificateBackup(backup);
assert.equal((await secrets.getSecret("js-pfx", { version: made.properties.version })).value, pfx.value);

console.log("ok");
