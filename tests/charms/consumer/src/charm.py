#!/usr/bin/env python3
"""The charm `etcd-consumer`: what a charm does with etcd, as short as it can be said."""

import json
import os
import time
from pathlib import Path

import ops
import proxy

from charms.etcd.v0.etcd_relations import DbMessage, EtcdProxyRequires, EtcdRequires
from kvclient import Client, ClientTLS, KvClientError

HOME = Path("/var/lib/etcd-consumer")
KEY = b"consumers/"
TRIES = 3
PAUSE_S = 1.0
"""A member that restarts is back by then; what lasts longer is tried again in the next hook."""


def write_credentials(folder: Path, **files: str) -> None:
    """Write certificates and keys so that only root reads them, never half-written."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, content in files.items():
        fresh = folder / f".{name}"
        fresh.touch(mode=0o600)
        fresh.write_text(content)
        fresh.replace(folder / name.replace("_", "."))


class ConsumerCharm(ops.CharmBase):
    """Uses etcd."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._store = EtcdRequires(self, "store")
        self._proxy = EtcdProxyRequires(self, "proxy")
        self._problem = ""
        framework.observe(self._store.on.changed, self._on_change)
        framework.observe(self._proxy.on.changed, self._on_change)
        framework.observe(self.on.update_status, self._on_change)
        framework.observe(self.on.collect_unit_status, self._on_collect_status)

    def _on_change(self, _event: ops.EventBase) -> None:
        message = self._store.read()
        if message is not None:
            self._use_store(message)
        self._keep_proxy()

    def _use_store(self, message: DbMessage) -> None:
        folder = HOME / "store"
        write_credentials(
            folder,
            ca_crt=message.client_ca,
            tls_crt=message.client_cert,
            tls_key=message.client_key,
        )
        tls = ClientTLS(*(str(folder / name) for name in ("ca.crt", "tls.crt", "tls.key")))
        endpoints = message.connection_string.split(",")
        (folder / "endpoints.json").write_text(json.dumps(endpoints))
        for _ in range(TRIES):
            self._problem = self._write(endpoints, tls, message.version)
            if not self._problem:
                return
            time.sleep(PAUSE_S)

    def _write(self, endpoints: list[str], tls: ClientTLS, text: str) -> str:
        """Write this unit's key; return what was wrong."""
        try:
            with Client(endpoints, tls=tls, timeout_s=10.0) as client:
                client.put(KEY + self.unit.name.encode(), text.encode())
        except KvClientError as error:
            return str(error)
        return ""

    def _keep_proxy(self) -> None:
        message = self._proxy.read()
        if message is None:
            proxy.stop()
            return
        folder = HOME / "proxy"
        write_credentials(
            folder,
            ca_crt=message.client_ca,
            tls_crt=message.client_cert,
            tls_key=message.client_key,
        )
        bundle = self.model.resources.fetch("raftkv")
        proxy.run(HOME, bundle, message.proxy_cluster, Path(os.environ["JUJU_CHARM_DIR"]))

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        store, cluster = self._store.read(), self._proxy.read()
        if self._problem:
            event.add_status(ops.BlockedStatus(self._problem))
        if store is None and cluster is None:
            event.add_status(ops.WaitingStatus("waiting for etcd"))
        if store is not None:
            count = len(store.connection_string.split(","))
            event.add_status(ops.ActiveStatus(f"etcd {store.version} at {count} endpoint(s)"))
        elif cluster is not None:
            count = len(cluster.cluster.split(","))
            event.add_status(ops.ActiveStatus(f"proxy to {count} member(s)"))


if __name__ == "__main__":
    ops.main(ConsumerCharm)
