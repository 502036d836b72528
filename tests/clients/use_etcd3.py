"""python-etcd3 (kragniz): gRPC, one endpoint, watches on threads."""

import os
import threading

import etcd3

host, port = os.environ["ENDPOINTS"].split(",")[0].split(":")
client = etcd3.client(
    host=host,
    port=int(port),
    ca_cert=os.environ["CA_FILE"],
    cert_cert=os.environ["CERT_FILE"],
    cert_key=os.environ["KEY_FILE"],
    timeout=10,
)
assert client.get("py/none") == (None, None)
client.put("py/a", "1")
value, meta = client.get("py/a")
assert (value, meta.version) == (b"1", 1)
for number in range(5):
    client.put(f"py/list/{number}", str(number))
found = [(v, m.key) for v, m in client.get_prefix("py/list/", sort_order="descend")]
assert found[0] == (b"4", b"py/list/4")
assert len(list(client.get_range("py/list/1", "py/list/3"))) == 2

assert client.replace("py/a", "1", "2")
assert not client.replace("py/a", "1", "3")
done, answers = client.transaction(
    compare=[client.transactions.value("py/a") == "2", client.transactions.version("py/a") > 0],
    success=[client.transactions.put("py/b", "x"), client.transactions.get("py/a")],
    failure=[client.transactions.delete("py/a")],
)
assert done
assert answers[1][0][0] == b"2"

events, cancel = client.watch_prefix("py/watched/")
seen = []
reader = threading.Thread(target=lambda: seen.extend(next(events) for _ in range(3)))
reader.start()
client.put("py/watched/1", "a")
client.put("py/watched/1", "b")
client.delete("py/watched/1")
reader.join(10)
cancel()
assert [type(event).__name__ for event in seen] == ["PutEvent", "PutEvent", "DeleteEvent"]

lease = client.lease(30)
client.put("py/leased", "v", lease=lease)
assert 0 < lease.remaining_ttl <= 30
assert list(lease.refresh())[0].TTL == 30
assert lease.keys == [b"py/leased"]
lease.revoke()
assert client.get("py/leased")[0] is None

with client.lock("py-lock", ttl=20) as lock:
    assert lock.is_acquired()
assert client.delete_prefix("py/").deleted >= 7
status = client.status()
assert status.leader is not None
assert len(list(client.members)) == 3
assert isinstance(client.hash(), int)
client.compact(client.get_response("x").header.revision)
with open(os.devnull, "wb") as nowhere:
    client.snapshot(nowhere)
client.defragment()
assert list(client.list_alarms()) == []
client.close()
print("ok")
