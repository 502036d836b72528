"""python-etcd: the v2 API, several endpoints, client certificates."""

import os
import threading

import etcd

hosts = tuple((h, int(p)) for h, p in (e.split(":") for e in os.environ["ENDPOINTS"].split(",")))
client = etcd.Client(
    host=hosts,
    protocol="https",
    ca_cert=os.environ["CA_FILE"],
    cert=(os.environ["CERT_FILE"], os.environ["KEY_FILE"]),
    allow_reconnect=True,
    read_timeout=10,
)
client.write("/v2/a", "1")
assert client.read("/v2/a").value == "1"
client.write("/v2/dir/x", "y", ttl=60)
assert 0 < client.read("/v2/dir/x").ttl <= 60
assert client.read("/v2/dir", recursive=True, sorted=True)._children[0]["value"] == "y"
client.test_and_set("/v2/a", "2", "1")
try:
    client.test_and_set("/v2/a", "3", "1")
    raise AssertionError("compare and swap had to fail")
except etcd.EtcdCompareFailed:
    pass
try:
    client.read("/v2/none")
    raise AssertionError("the key had to be missing")
except etcd.EtcdKeyNotFound:
    pass
first = client.write("/v2/queue", "one", append=True)
second = client.write("/v2/queue", "two", append=True)
assert first.key < second.key
node = client.read("/v2/a")
node.value = "5"
client.update(node)
seen = []
index = client.read("/v2/a").etcd_index
watcher = threading.Thread(
    target=lambda: seen.append(client.watch("/v2/w", index=index + 1, timeout=10).value)
)
watcher.start()
client.write("/v2/w", "event")
watcher.join(15)
assert seen == ["event"]
client.refresh("/v2/dir/x", ttl=90)
assert client.read("/v2/dir/x").ttl > 60
lock = etcd.Lock(client, "py-lock")
lock.acquire(blocking=True, lock_ttl=20)
assert lock.is_acquired
lock.release()
assert len(client.machines) >= 2
assert client.leader["name"]
assert client.stats["name"]
assert len(client.members) == 3
client.delete("/v2", recursive=True)
print("ok")
