"""etcd3gw (OpenStack): the JSON gateway, client certificates."""

import os

from etcd3gw import client as make_client

host, port = os.environ["ENDPOINTS"].split(",")[0].split(":")
client = make_client(
    host=host,
    port=int(port),
    protocol="https",
    ca_cert=os.environ["CA_FILE"],
    cert_cert=os.environ["CERT_FILE"],
    cert_key=os.environ["KEY_FILE"],
    timeout=10,
    api_path="/v3/",
)
assert client.put("gw/a", "1")
assert client.get("gw/a") == [b"1"]
assert client.get("gw/none") == []
assert client.create("gw/b", "2")
assert not client.create("gw/b", "3")
assert client.replace("gw/b", "2", "3")
assert not client.replace("gw/b", "2", "4")
assert sorted(value for value, _ in client.get_prefix("gw/")) == [b"1", b"3"]
lease = client.lease(ttl=30)
assert client.put("gw/leased", "v", lease=lease)
assert 0 < lease.ttl() <= 30
assert lease.keys() == [b"gw/leased"]
assert lease.refresh() == 30
assert lease.revoke()
assert client.get("gw/leased") == []
events, cancel = client.watch("gw/watched")
client.put("gw/watched", "x")
assert next(events)["kv"]["value"] == b"x"
cancel()
with client.lock("gw-lock", ttl=20) as lock:
    assert lock.is_acquired()
assert client.status()["version"]
assert len(client.members()) == 3
assert client.delete_prefix("gw/")
assert client.get("gw/a") == []
print("ok")
