"""Patroni's own classes for etcd: leader lock, optimistic writes, history, fail-over keys; v3 and v2."""

import os
import sys
import time

from patroni.dcs import get_dcs

kind = sys.argv[1]
config = {
    "name": "pg0",
    "scope": f"batman-{kind}",
    "namespace": "/service/",
    "ttl": 10,
    "loop_wait": 2,
    "retry_timeout": 5,
    kind: {
        "hosts": os.environ["ENDPOINTS"],
        "protocol": "https",
        "cacert": os.environ["CA_FILE"],
        "cert": os.environ["CERT_FILE"],
        "key": os.environ["KEY_FILE"],
        **(
            {"username": os.environ["NAME"], "password": os.environ["PASSWORD"]}
            if kind == "etcd3"
            else {}
        ),
    },
}
dcs = get_dcs(config)
assert dcs.initialize(create_new=True, sysid="7001")
assert not dcs.initialize(create_new=True, sysid="7002")
assert dcs.touch_member({"conn_url": "postgres://pg0", "state": "running", "role": "primary"})
assert dcs.attempt_to_acquire_leader()
cluster = dcs.get_cluster()
assert cluster.initialize == "7001"
assert cluster.leader.name == "pg0"
assert dcs.update_leader(cluster, 12345)
assert dcs.set_config_value('{"ttl": 10}')
assert dcs.set_history_value('[[1, 2, "x"]]')
assert dcs.set_failover_value('{"member": "pg1"}')
for _ in range(20):
    cluster = dcs.get_cluster()
    if cluster.config and cluster.failover and cluster.status.last_lsn == 12345:
        break
    time.sleep(0.2)
assert cluster.config.data == {"ttl": 10}
assert cluster.status.last_lsn == 12345
assert [member.name for member in cluster.members] == ["pg0"]
assert dcs.set_sync_state_value('{"leader": "pg0"}')
assert dcs.delete_sync_state()
assert dcs.delete_leader(cluster.leader)
for _ in range(20):
    cluster = dcs.get_cluster()
    if cluster.is_unlocked():
        break
    time.sleep(0.2)
assert cluster.is_unlocked()
assert dcs.delete_cluster()
print("ok", flush=True)
os._exit(0)  # its watcher threads would wait
