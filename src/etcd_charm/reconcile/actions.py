"""What an operator asks of a unit: health, credentials, snapshot, restore, a second founding.

An action that cannot do its work fails with the reason; it never ends the hook in an error.
"""

import io
import logging
import secrets
import tarfile
from pathlib import Path

import ops

from etcd_charm.cluster import status
from etcd_charm.cluster.errors import NeedsOperator, Retry
from etcd_charm.cluster.facts import Claim, DataState, Facts, Restore, RestoreState
from etcd_charm.cluster.plan import decide
from etcd_charm.cluster.restore import read_own_state
from etcd_charm.reconcile import bags, credentials
from etcd_charm.reconcile.gather import PEER_RELATION, JujuFacts
from etcd_charm.reconcile.loop import TOKEN_BYTES, Reconciler
from etcd_charm.workload.certificates import issue_leaf
from etcd_charm.workload.engine import RestoreOptions, Workload

logger = logging.getLogger(__name__)

ARCHIVE = "etcd_client_credentials.tar.gz"
HOME = Path("/home/ubuntu")
SNAPSHOT_FOLDER = HOME / "etcd-snapshots"
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
Whoever holds client.key can read and write every key of the cluster.
"""
_SIZE_STEP = 1024


class Refused(Exception):  # noqa: N818 - the action's own word
    """The action cannot do this; the message is for the operator."""


class Actions:
    """The actions of `actions.yaml`, one method each."""

    def __init__(self, charm: ops.CharmBase, reconciler: Reconciler, workload: Workload) -> None:
        self._charm = charm
        self._reconciler = reconciler
        self._workload = workload

    def run(self, event: ops.ActionEvent) -> None:
        """Run the action that an event names."""
        work = {
            "health": self._check_health,
            "generate-client-certificates": self._make_credentials,
            "package-client-credentials": self._make_credentials,
            "snapshot": self._take_snapshot,
            "restore": self._restore,
            "bootstrap-again": self._found_again,
        }[event.handle.kind.removesuffix("_action").replace("_", "-")]
        try:
            work(event)
        except (Refused, Retry, NeedsOperator) as problem:
            event.fail(str(problem))

    def _observe(self) -> tuple[JujuFacts, Facts]:
        juju = self._reconciler.read_juju()
        return juju, self._reconciler.observe(juju, None)

    def _check_health(self, event: ops.ActionEvent) -> None:
        _, facts = self._observe()
        report = status.describe(facts, decide(facts))
        lines = []
        for member in facts.view.members if facts.view else ():
            word = "healthy" if member.is_reachable else "unreachable"
            role = " (learner)" if member.is_learner else ""
            urls = ",".join(member.client_urls) or "no client address yet"
            lines.append(f"member {member.member_id:x} {member.name} is {word}{role}: {urls}")
        is_healthy = report.level is status.Level.ACTIVE
        message = report.message.removeprefix("(leader) ")
        lines.append(message)
        event.set_results({"output": "\n".join(lines), "healthy": str(is_healthy).lower()})
        if not is_healthy:
            raise Refused(message)

    def _make_credentials(self, event: ops.ActionEvent) -> None:
        juju, facts = self._observe()
        wanted = juju.describe_wanted()
        if wanted is None or facts.view is None:
            raise Refused("there is no cluster yet")
        name = OPERATOR
        leaf = issue_leaf(wanted.authorities.client, name, (), credentials.now(), serves=False)
        urls = sorted({url for member in facts.view.voters for url in member.client_urls})
        readme = README.format(application=self._charm.app.name, endpoints=",".join(urls))
        files = {
            "client.crt": leaf.certificate,
            "client.key": leaf.key,
            "ca.crt": wanted.server_bundle,
            "README.txt": readme,
        }
        path = HOME / ARCHIVE
        self._workload.write_private(path, lambda target: _pack(target, files))
        unit = self._charm.unit.name
        event.set_results({"path": str(path), "copy": {"cmd": f"juju scp {unit}:{ARCHIVE} ."}})

    def _take_snapshot(self, event: ops.ActionEvent) -> None:
        juju, facts = self._observe()
        if not facts.engine.is_running or facts.member is None:
            raise Refused("this unit has no running member")
        target = _read_target(event, SNAPSHOT_FOLDER)
        written = self._workload.save_snapshot(juju.client_url, target, juju.unit)
        event.set_results(
            {
                "snapshot": {
                    "path": str(written.path),
                    "sha256": written.sha256,
                    "size": format_size(written.size_bytes),
                },
                "copy": {"cmd": f"juju scp {juju.unit}:{written.path} ."},
            }
        )

    def _restore(self, event: ops.ActionEvent) -> None:
        """Prepare and prove the new data here, then have all units take part in the swap."""
        juju, facts = self._observe()
        relation = self._charm.model.get_relation(PEER_RELATION)
        if not juju.is_leader or relation is None:
            raise Refused("run this on the leader")
        bag = relation.data[self._charm.app]
        if event.params.get("cancel"):
            self._cancel_restore(event, facts, bag)
            return
        if facts.restore is not None:
            raise Refused(f"{facts.restore.unit} restores already: cancel=true gives it up")
        wanted = juju.describe_wanted()
        if wanted is None or juju.claim is None:
            raise Refused("the unit is not set up yet: wait until it is active")
        if facts.engine.data in (DataState.FOREIGN, DataState.DETACHED):
            raise Refused("the storage is not this cluster's: see juju status")
        order = Restore(secrets.token_hex(4), juju.unit, secrets.token_hex(TOKEN_BYTES))
        options = self._read_restore_options(event, facts, order)
        report = self._workload.prepare_restore(wanted, juju.storage, options)
        event.log(f"the snapshot is good: revision {report.revision}; stopping the members")
        bag[bags.RESTORE] = bags.encode_restore(order)
        self._reconciler.run()
        self._say_restored(event, juju, order, report.revision)

    def _read_restore_options(
        self, event: ops.ActionEvent, facts: Facts, order: Restore
    ) -> RestoreOptions:
        text = str(event.params.get("path") or "").strip()
        source = Path(text) if text else self._fetch_snapshot()
        if not source.is_file():
            raise Refused(f"there is no file {source}")
        members = facts.view.voters if facts.view else ()
        urls = [url for member in members for url in member.client_urls]
        return RestoreOptions(
            restore_id=order.restore_id,
            token=order.token,
            source=source,
            target=_read_target(event, HOME),
            keeps_backup=not bool(event.params.get("skip-backup", False)),
            allows_rollback=bool(event.params.get("allow-revision-rollback", False)),
            least_revision=self._workload.read_revision(urls),
        )

    def _say_restored(
        self, event: ops.ActionEvent, juju: JujuFacts, order: Restore, revision: int
    ) -> None:
        done = self._workload.read_restore()
        if done.state is RestoreState.FAILED:
            raise Refused(f"{done.problem}; the former data is back")
        is_done = done.state is RestoreState.RESTORED
        results: dict[str, object] = {
            "restore": {
                "id": order.restore_id,
                "state": "restored" if is_done else "started",
                "revision": str(revision),
            }
        }
        if done.backup is not None:
            results["backup"] = {"path": str(done.backup)}
        if len(juju.units) > 1:
            results["message"] = "the other members stop and join again: see juju status"
        event.set_results(results)

    def _cancel_restore(
        self, event: ops.ActionEvent, facts: Facts, bag: ops.RelationDataContent
    ) -> None:
        order = facts.restore
        if order is None:
            raise Refused("there is no restore under way")
        shown = f"{order.restore_id} {RestoreState.RESTORED.value}"
        is_own = order.unit == facts.unit and read_own_state(facts) is RestoreState.RESTORED
        if is_own or any(peer.restore_step == shown for peer in facts.peers):
            raise Refused("the restored data serves already: restore another snapshot instead")
        bag[bags.RESTORE] = ""
        self._workload.schedule_wake(facts.unit, 1, "the restore was cancelled")
        event.set_results({"output": "the members start again on the data that they have"})

    def _fetch_snapshot(self) -> Path:
        try:
            source = self._charm.model.resources.fetch("snapshot")
        except (ops.ModelError, NameError) as error:
            raise Refused("attach the resource `snapshot` first, or say path=") from error
        if source.stat().st_size == 0:
            raise Refused("the resource `snapshot` is empty: attach a snapshot to it")
        return source

    def _found_again(self, event: ops.ActionEvent) -> None:
        """Give the right to found to this unit, when whoever had it is gone without a trace."""
        juju, facts = self._observe()
        relation = self._charm.model.get_relation(PEER_RELATION)
        if not juju.is_leader or relation is None:
            raise Refused("run this on the leader")
        if facts.view is not None or any(peer.member_id for peer in facts.peers):
            raise Refused("the cluster exists: nothing is founded beside it")
        if facts.claim is None:
            raise Refused("nobody has claimed to found the cluster: nothing to repeat")
        if facts.claim.unit != juju.unit and facts.claim.unit in facts.units_known:
            raise Refused(f"{facts.claim.unit} is still there to found the cluster")
        if facts.engine.data is not DataState.NEW:
            raise Refused("this unit has data: it is not replaced by an empty cluster")
        bag = relation.data[self._charm.app]
        bag[bags.CLAIM] = bags.encode_claim(
            Claim(juju.unit, secrets.token_hex(TOKEN_BYTES), juju.settings.engine)
        )
        bag[bags.CLUSTER_ID] = ""
        self._workload.schedule_wake(juju.unit, 1, "founding again")
        event.set_results({"output": f"{juju.unit} founds the cluster in its next hook"})


def _read_target(event: ops.ActionEvent, default: Path) -> Path:
    text = str(event.params.get("target") or "").strip()
    target = Path(text) if text else default
    if not target.is_absolute():
        raise Refused(f"target must be an absolute path, not {text!r}")
    return target


def _pack(target: Path, files: dict[str, str]) -> None:
    with tarfile.open(target, "w:gz") as archive:
        for name, content in files.items():
            data = content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o600
            archive.addfile(info, io.BytesIO(data))


def format_size(size_bytes: int) -> str:
    """Return a size as `ls -h` prints it: rounded up, one letter."""
    if size_bytes < _SIZE_STEP:
        return str(size_bytes)
    size = float(size_bytes)
    for letter in "KMG":
        size /= _SIZE_STEP
        if size < _SIZE_STEP or letter == "G":
            break
    return f"{-(-int(size * 10) // 10)}{letter}"
