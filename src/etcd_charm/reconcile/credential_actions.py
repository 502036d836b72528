"""Client certificates for operators."""

import datetime as dt
import io
import re
import secrets
import tarfile
from collections.abc import Callable
from pathlib import Path

import ops

from etcd_charm.cluster.access import ALL_KEYS, ROOT, is_on
from etcd_charm.cluster.facts import Rotation
from etcd_charm.cluster.rotation import PHASES, PLANES
from etcd_charm.reconcile import bags, credentials
from etcd_charm.reconcile.desk import HOME, Desk, Refused, demand_view, list_urls
from etcd_charm.reconcile.gather import PEER_RELATION
from etcd_charm.workload.certificates import AUTHORITY_DAYS, LEAF_DAYS, issue_leaf

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
ARCHIVE = "etcd_client_credentials.tar.gz"
OPERATOR = "operator"
"""Common name of the certificates that the action hands out."""
README = """Client credentials of the etcd application {application}.

  export ETCDCTL_API=3
  export ETCDCTL_ENDPOINTS={endpoints}
  export ETCDCTL_CACERT=$(pwd)/ca.crt
  export ETCDCTL_CERT=$(pwd)/client.crt
  export ETCDCTL_KEY=$(pwd)/client.key
  etcdctl member list

For version 2 of the API the names are ETCDCTL_ENDPOINT, ETCDCTL_CA_FILE, ETCDCTL_CERT_FILE and
ETCDCTL_KEY_FILE. curl takes --cacert ca.crt --cert client.crt --key client.key.
Whoever holds client.key is user {name} of the cluster, with the role {role}.
"""


class CredentialActions:
    """Actions that hand out and take back credentials."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def list_work(self) -> dict[str, Callable[[ops.ActionEvent], None]]:
        """Return the actions by name."""
        return {
            "generate-client-certificates": self._make_credentials,
            "package-client-credentials": self._make_credentials,
            "revoke-client-certificate": self._revoke,
            "list-certificates": self._list_certificates,
            "rotate-certificates": self._renew,
            "rotate-ca": self._rotate,
        }

    def _make_credentials(self, event: ops.ActionEvent) -> None:
        juju, facts = self.desk.observe()
        wanted = juju.describe_wanted()
        if wanted is None or facts.view is None:
            raise Refused("there is no cluster yet")
        name, role = self._read_user(event)
        days = int(event.params.get("validity-days") or LEAF_DAYS)
        if not 1 <= days <= AUTHORITY_DAYS:
            raise Refused(f"validity-days is between 1 and {AUTHORITY_DAYS}")
        if is_on(facts.access):
            self.desk.workload.care.add_user(list_urls(demand_view(facts)), name, role)
        leaf = issue_leaf(
            wanted.authorities.client, name, (), credentials.now(), serves=False, days=days
        )
        self._remember(leaf.certificate, role)
        urls = sorted({url for member in facts.view.voters for url in member.client_urls})
        readme = README.format(
            application=self.desk.charm.app.name, endpoints=",".join(urls), name=name, role=role
        )
        files = {
            "client.crt": leaf.certificate,
            "client.key": leaf.key,
            "ca.crt": wanted.server_bundle,
            "README.txt": readme,
        }
        path = HOME / ARCHIVE
        self.desk.workload.write_private(path, lambda target: _pack(target, files))
        unit = self.desk.charm.unit.name
        event.set_results(
            {
                "path": str(path),
                "cn": name,
                "serial": credentials.describe_issued(leaf.certificate).serial,
                "copy": {"cmd": f"juju scp {unit}:{ARCHIVE} ."},
            }
        )

    @staticmethod
    def _read_user(event: ops.ActionEvent) -> tuple[str, str]:
        name = str(event.params.get("cn") or OPERATOR).strip()
        role = str(event.params.get("role") or ALL_KEYS).strip()
        if not _NAME.fullmatch(name) or name == ROOT or name.startswith(("db-", "proxy-")):
            raise Refused(
                f"cn {name!r} cannot be had: letters, digits, dots, dashes and underscores, and "
                "not root, db-… or proxy-…"
            )
        return name, role

    def _remember(self, certificate: str, role: str) -> None:
        """Show the other units what was handed out, so that it can be taken back."""
        relation = self.desk.charm.model.get_relation(PEER_RELATION)
        if relation is None:
            raise Refused("there is no peer relation yet")
        bag = relation.data[self.desk.charm.unit]
        known = credentials.drop_ended(bags.decode_issued(bag.get(bags.ISSUED, "")))
        entry = credentials.describe_issued(certificate, role)
        bag[bags.ISSUED] = bags.encode_issued((*known, entry))

    def _revoke(self, event: ops.ActionEvent) -> None:
        juju, _ = self.desk.observe()
        bag = self.desk.lead(juju)
        name = str(event.params.get("cn") or "")
        serial = str(event.params.get("serial") or "").lower().removeprefix("0x")
        if name in juju.consumers:
            raise Refused(f"{name} is a related application: remove the relation")
        chosen = [e for e in juju.issued if e.cn == name or e.serial == serial]
        if serial and not chosen:
            ends = (credentials.now() + dt.timedelta(days=AUTHORITY_DAYS)).isoformat()
            chosen = [bags.Issued(name or "unknown", f"{_read_serial(serial):x}", ends)]
        if not chosen:
            known = ", ".join(f"{e.cn} ({e.serial})" for e in juju.issued) or "none"
            raise Refused(
                f"no certificate of {name or 'nobody'} is known here: {known}. One that another unit "
                "made a moment ago is known after its next hook, and its serial can be named at once"
            )
        bag[bags.REVOKED] = bags.encode_issued((*juju.revoked, *chosen))
        self.desk.reconciler.run()
        names = ", ".join(f"{entry.cn} ({entry.serial})" for entry in chosen)
        event.set_results({"output": f"revoked: {names}", "count": str(len(chosen))})

    def _list_certificates(self, event: ops.ActionEvent) -> None:
        juju, facts = self.desk.observe()
        lines = [f"{e.cn} {e.serial} until {e.ends} role {e.role}" for e in juju.issued]
        lines += [f"{name} (related application)" for name in juju.consumers]
        lines += [f"{e.cn} {e.serial} revoked" for e in juju.revoked]
        days = facts.engine.expires_in_days
        event.set_results({"output": "\n".join(lines), "expires-in-days": str(days)})

    def _renew(self, event: ops.ActionEvent) -> None:
        self.desk.workload.renew_certificates()
        self.desk.reconciler.run()
        event.set_results({"output": self.desk.reconciler.describe().message})

    def _rotate(self, event: ops.ActionEvent) -> None:
        juju, _ = self.desk.observe()
        bag = self.desk.lead(juju)
        plane = str(event.params["plane"])
        if plane not in PLANES:
            raise Refused(f"plane is one of {', '.join(PLANES)}, not {plane!r}")
        if juju.authorities is None:
            raise Refused("there are no authorities yet")
        if juju.rotation is not None:
            raise Refused(f"the {juju.rotation.plane} authority is being rotated already")
        if event.params.get("drop-old"):
            if not credentials.drop_former(self.desk.charm.model, bag, plane):
                raise Refused(f"the {plane} plane trusts one authority only")
            bag[bags.NONCE] = secrets.token_hex(4)
            self.desk.reconciler.run()
            event.set_results({"output": f"the former {plane} authority is trusted no more"})
            return
        rotation = Rotation(secrets.token_hex(4), plane, PHASES[0])
        credentials.begin_rotation(self.desk.charm.app, self.desk.charm.model, bag, rotation)
        self.desk.workload.schedule_wake(juju.unit, 1, "rotating an authority")
        event.set_results(
            {"rotation": {"id": rotation.rotation_id, "plane": plane, "state": "started"}}
        )


def _read_serial(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise Refused(f"serial is a hexadecimal number, not {text!r}") from None


def _pack(target: Path, files: dict[str, str]) -> None:
    with tarfile.open(target, "w:gz") as archive:
        for name, content in files.items():
            data = content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o600
            archive.addfile(info, io.BytesIO(data))
