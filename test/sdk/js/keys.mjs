// SPDX-License-Identifier: Apache-2.0

// Everything that the Azure SDK for JavaScript does with keys. Signatures and
// ciphertexts are checked with Node's own cryptography and the public key.

import assert from "node:assert/strict";
import { createHash, createPublicKey, publicEncrypt, verify, constants } from "node:crypto";
import { ClientSecretCredential } from "@azure/identity";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";

const env = process.env;
const url = env.VAULT_URL;
const credential = new ClientSecretCredential(env.AZURE_TENANT_ID, env.OTHER_CLIENT_ID, env.OTHER_CLIENT_SECRET);
const client = new KeyClient(url, credential);
const text = Buffer.from("signed in the vault");

async function collect(iterator) {
  const all = [];
  for await (const one of iterator) all.push(one);
  return all;
}

async function refused(promise, status, code) {
  await assert.rejects(promise, (e) => e.statusCode === status && e.code === code);
}

function publicKey(key) {
  const jwk = { kty: key.kty.replace("-HSM", "") };
  if (key.crv) jwk.crv = key.crv === "P-256K" ? "secp256k1" : key.crv;
  for (const member of ["n", "e", "x", "y"]) if (key[member]) jwk[member] = Buffer.from(key[member]).toString("base64url");
  return createPublicKey({ key: jwk, format: "jwk" });
}

// Made, signed with, checked outside.
const rsa = await client.createRsaKey("js-rsa", { keySize: 2048, tags: { a: "b" }, expiresOn: new Date("2030-01-01") });
assert.equal(rsa.key.d, undefined);
assert.equal(rsa.properties.expiresOn.getTime(), new Date("2030-01-01").getTime());
// By its id alone, so that it is the service that signs and decrypts.
const remote = new CryptographyClient(rsa.id, credential);
const signed = await remote.sign("RS256", createHash("sha256").update(text).digest());
assert.equal(signed.keyID, rsa.id);
assert.ok(verify("sha256", text, publicKey(rsa.key), signed.result));
const sealed = publicEncrypt({ key: publicKey(rsa.key), padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" }, text);
assert.deepEqual(Buffer.from((await remote.decrypt("RSA-OAEP-256", sealed)).result), text);
const wrapped = await remote.wrapKey("RSA-OAEP", text);
assert.deepEqual(Buffer.from((await remote.unwrapKey("RSA-OAEP", wrapped.result)).result), text);

for (const [curve, algorithm, hash] of [["P-256", "ES256", "sha256"], ["P-384", "ES384", "sha384"], ["P-521", "ES512", "sha512"], ["P-256K", "ES256K", "sha256"]]) {
  const key = await client.createEcKey("js-" + curve, { curve });
  const result = (await new CryptographyClient(key.id, credential).signData(algorithm, text)).result;
  assert.ok(verify(hash, text, { key: publicKey(key.key), dsaEncoding: "ieee-p1363" }, result), curve);
  assert.ok((await new CryptographyClient(key.id, credential).verifyData(algorithm, text, result)).result, curve);
}

// Versions, attributes, rotation.
const rotated = await client.rotateKey("js-rsa");
assert.notEqual(rotated.properties.version, rsa.properties.version);
assert.equal((await collect(client.listPropertiesOfKeyVersions("js-rsa"))).length, 2);
await client.updateKeyProperties("js-rsa", rotated.properties.version, { enabled: false });
await refused(new CryptographyClient(rotated.id, credential).sign("RS256", createHash("sha256").digest()), 403, "Forbidden");
assert.equal((await client.getKey("js-rsa")).properties.enabled, false);
await client.updateKeyRotationPolicy("js-rsa", { expiresIn: "P90D", lifetimeActions: [{ action: "Rotate", timeAfterCreate: "P60D" }] });
assert.equal((await client.getKeyRotationPolicy("js-rsa")).expiresIn, "P90D");
const names = await collect(client.listPropertiesOfKeys());
assert.deepEqual(names.map((k) => k.name).sort(), ["js-P-256", "js-P-256K", "js-P-384", "js-P-521", "js-rsa"]);

// Deleted, recovered, purged, restored.
const backup = await client.backupKey("js-rsa");
await (await client.beginDeleteKey("js-rsa", { intervalInMs: 10 })).pollUntilDone();
await refused(client.getKey("js-rsa"), 404, "KeyNotFound");
await refused(client.createRsaKey("js-rsa"), 409, "Conflict");
await (await client.beginRecoverDeletedKey("js-rsa", { intervalInMs: 10 })).pollUntilDone();
await (await client.beginDeleteKey("js-rsa", { intervalInMs: 10 })).pollUntilDone();
assert.equal((await collect(client.listDeletedKeys())).length, 1);
await client.purgeDeletedKey("js-rsa");
await client.restoreKeyBackup(backup);
assert.ok((await remote.verify("RS256", createHash("sha256").update(text).digest(), signed.result)).result);

console.log("ok");
