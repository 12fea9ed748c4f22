// SPDX-License-Identifier: Apache-2.0

// Everything that the Azure SDK for JavaScript does with secrets, against
// whatever HTTPS_PROXY leads to. No option is set that an application would not
// set. Settings come from the SDK's own environment variables and VAULT_URL.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { ClientAssertionCredential, ClientSecretCredential, DefaultAzureCredential, WorkloadIdentityCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

const env = process.env;
const url = env.VAULT_URL;

async function collect(iterator) {
  const all = [];
  for await (const one of iterator) all.push(one);
  return all;
}

async function refused(promise, status, code) {
  await assert.rejects(promise, (e) => e.statusCode === status && e.code === code);
}

// Every way of getting a token.
const workload = new WorkloadIdentityCredential();
const credentials = {
  "workload identity": workload,
  "default chain": new DefaultAzureCredential(),
  assertion: new ClientAssertionCredential(env.AZURE_TENANT_ID, env.AZURE_CLIENT_ID, () => readFile(env.AZURE_FEDERATED_TOKEN_FILE, "utf8")),
  secret: new ClientSecretCredential(env.AZURE_TENANT_ID, env.OTHER_CLIENT_ID, env.OTHER_CLIENT_SECRET),
};
for (const [name, credential] of Object.entries(credentials)) {
  for (const vault of [url, url + "/"]) {
    const got = await new SecretClient(vault, credential).getSecret("declared");
    assert.equal(got.value, "from the state file", name);
  }
}
const typo = new ClientAssertionCredential(env.AZURE_TENANT_ID, env.OTHER_CLIENT_ID, () => readFile(env.AZURE_FEDERATED_TOKEN_FILE, "utf8"));
await assert.rejects(typo.getToken("https://vault.azure.net/.default"), /AADSTS70025/);

// Every call on a secret.
const client = new SecretClient(url, workload);
const first = await client.setSecret("made", "one", { contentType: "text/plain", tags: { a: "b" }, expiresOn: new Date("2030-01-01") });
const second = await client.setSecret("made", "two");
assert.equal((await client.getSecret("made")).value, "two");
const old = await client.getSecret("made", { version: first.properties.version });
assert.equal(old.value, "one");
assert.equal(old.properties.contentType, "text/plain");
assert.deepEqual(old.properties.tags, { a: "b" });
assert.equal(old.properties.expiresOn.getTime(), new Date("2030-01-01").getTime());

for (let i = 0; i < 5; i++) await client.setSecret(`many-${i}`, "x");
const sizes = [];
for await (const page of client.listPropertiesOfSecrets().byPage({ maxPageSize: 3 })) sizes.push(page.length);
assert.deepEqual(sizes, [3, 3, 1]);
assert.equal((await collect(client.listPropertiesOfSecrets())).length, 7);
const versions = await collect(client.listPropertiesOfSecretVersions("made"));
assert.deepEqual(versions.map((v) => v.version).sort(), [first.properties.version, second.properties.version].sort());

await client.updateSecretProperties("made", second.properties.version, { enabled: false });
await refused(client.getSecret("made"), 403, "Forbidden");
await client.updateSecretProperties("made", second.properties.version, { enabled: true });

const backup = await client.backupSecret("made");
const deleting = await client.beginDeleteSecret("made", { intervalInMs: 10 });
const deleted = await deleting.pollUntilDone();
assert.equal(deleted.name, "made");
await refused(client.getSecret("made"), 404, "SecretNotFound");
await refused(client.setSecret("made", "three"), 409, "Conflict");
assert.equal((await client.getDeletedSecret("made")).recoveryId, `${url}/deletedsecrets/made`);
assert.equal((await collect(client.listDeletedSecrets())).length, 1);
const recovering = await client.beginRecoverDeletedSecret("made", { intervalInMs: 10 });
await recovering.pollUntilDone();
assert.equal((await client.getSecret("made")).value, "two");
await (await client.beginDeleteSecret("made", { intervalInMs: 10 })).pollUntilDone();
await client.purgeDeletedSecret("made");
await refused(client.getDeletedSecret("made"), 404, "SecretNotFound");
await client.restoreSecretBackup(backup);
assert.equal((await client.getSecret("made")).value, "two");

await assert.rejects(new SecretClient(url.replace("://", "://un"), workload, { retryOptions: { maxRetries: 0 } }).getSecret("x"));
console.log("ok");
