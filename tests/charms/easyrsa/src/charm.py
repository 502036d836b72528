#!/usr/bin/env python3
"""The charm `easyrsa`: the leader answers requests for certificates.

The authority is kept in a secret of the application, whose identifier stands in the peer
relation, so that a later leader continues it.
"""

from pathlib import Path

import ops
import wire
from authority import Authority, install

HOME = Path("/var/lib/easyrsa-charm")
CA_SECRET = "ca-secret-id"
SHARED_CLIENT = wire.Request("client", "client", (), is_server=False)
"""Deprecated: one client certificate for all, which old requirers wait for."""


class EasyRsaCharm(ops.CharmBase):
    """Signs for related applications."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._authority = Authority(HOME)
        client, peers = self.on["client"], self.on["ca"]
        for event in (
            self.on.install,
            self.on.start,
            self.on.upgrade_charm,
            self.on.leader_elected,
            self.on.update_status,
            peers.relation_created,
            peers.relation_changed,
            client.relation_created,
            client.relation_joined,
            client.relation_changed,
        ):
            framework.observe(event, self._on_change)
        framework.observe(self.on.collect_unit_status, self._on_collect_status)

    def _on_change(self, _event: ops.EventBase) -> None:
        install()
        peers = self.model.get_relation("ca")
        if peers is None or not self.unit.is_leader():
            return
        self._keep_authority(peers.data[self.app])
        for relation in self.model.relations["client"]:
            self._answer(relation)

    def _keep_authority(self, bag: ops.RelationDataContent) -> None:
        secret_id = bag.get(CA_SECRET)
        if secret_id:
            content = self.model.get_secret(id=secret_id).get_content(refresh=True)
            certificate = content["certificate"].strip() + "\n"
            if not self._authority.is_made or self._authority.certificate != certificate:
                self._authority.adopt(certificate, content["private-key"].strip() + "\n")
            return
        if not self._authority.is_made:
            self._authority.make(f"{self.app.name} authority")
        content = {"certificate": self._authority.certificate, "private-key": self._authority.key}
        secret = self.app.add_secret(content, label="ca")
        assert secret.id is not None, "a secret that was just added has an identifier"
        bag[CA_SECRET] = secret.id

    def _answer(self, relation: ops.Relation) -> None:
        content = {"ca": self._authority.certificate}
        content["client.cert"], content["client.key"] = self._issue("", SHARED_CLIENT)
        for unit in sorted(relation.units, key=lambda unit: unit.name):
            bag = relation.data[unit]
            unit_name = wire.unit_name_of(unit.name, bag)
            answers = [
                (request, *self._issue(unit_name, request)) for request in wire.read_requests(bag)
            ]
            content.update(wire.encode_answers(unit_name, answers))
        own = relation.data[self.unit]
        for key, value in content.items():
            if own.get(key) != value:
                own[key] = value

    def _issue(self, unit_name: str, request: wire.Request) -> tuple[str, str]:
        shared = request.answer == "processed_application_requests"
        identity = f"{'' if shared else unit_name} {request.identity}"
        return self._authority.issue(
            identity, request.common_name, request.sans, is_server=request.is_server
        )

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        if self.unit.is_leader() and not self._authority.is_made:
            event.add_status(ops.MaintenanceStatus("making the authority"))
        event.add_status(ops.ActiveStatus("certificate authority ready"))


if __name__ == "__main__":
    ops.main(EasyRsaCharm)
