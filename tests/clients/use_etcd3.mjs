// etcd3 of npm (microsoft/etcd3): gRPC, several endpoints, client certificates.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Etcd3 } = createRequire(`${process.env.NODE_MODULES}/`)("etcd3");
const client = new Etcd3({
  hosts: process.env.ENDPOINTS.split(",").map((address) => `https://${address}`),
  credentials: {
    rootCertificate: readFileSync(process.env.CA_FILE),
    privateKey: readFileSync(process.env.KEY_FILE),
    certChain: readFileSync(process.env.CERT_FILE),
  },
});
await client.put("node/a").value("1");
assert.equal(await client.get("node/a").string(), "1");
assert.equal(await client.get("node/none"), null);
await client.put("node/b").value("2");
assert.deepEqual(await client.getAll().prefix("node/").strings(), { "node/a": "1", "node/b": "2" });
const swapped = await client.if("node/a", "Value", "==", "1").then(client.put("node/a").value("3")).commit();
assert.ok(swapped.succeeded);
const watcher = await client.watch().prefix("node/w").create();
const seen = new Promise((done) => watcher.on("put", (kv) => done(kv.value.toString())));
await client.put("node/w1").value("event");
assert.equal(await seen, "event");
await watcher.cancel();
const lease = client.lease(20);
await lease.put("node/leased").value("v");
assert.equal(await client.get("node/leased").string(), "v");
await lease.revoke();
assert.equal(await client.get("node/leased"), null);
await client.lock("node-lock").ttl(20).do(async () => {});
const election = client.election("node-election", 10);
const campaign = election.campaign("me");
await new Promise((done, fail) => { campaign.on("elected", done); campaign.on("error", fail); });
assert.equal(await election.leader(), "me");
await campaign.resign();
const users = await client.getUsers();
assert.ok(users.length >= 1);
await client.delete().prefix("node/");
client.close();
console.log("ok");
process.exit(0);
