"""Snapshots: taken, listed, tried, and the way back to one."""

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import ops

from etcd_charm.cluster.errors import NeedsOperator, Retry
from etcd_charm.cluster.facts import DataState, Facts, Restore, RestoreState, SnapshotRecord
from etcd_charm.cluster.restore import read_own_state
from etcd_charm.reconcile import bags
from etcd_charm.reconcile.desk import (
    HOME,
    Desk,
    Refused,
    format_size,
    hash_at,
    read_path,
    read_target,
)
from etcd_charm.reconcile.gather import JujuFacts
from etcd_charm.reconcile.loop import TOKEN_BYTES
from etcd_charm.workload.engine import Proof, RestoreOptions

logger = logging.getLogger(__name__)

SNAPSHOT_FOLDER = HOME / "etcd-snapshots"
SCHEDULED_FOLDER = SNAPSHOT_FOLDER / "scheduled"


class SnapshotActions:
    """Actions on snapshots."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def list_work(self) -> dict[str, Callable[[ops.ActionEvent], None]]:
        """Return the actions by name."""
        return {
            "snapshot": self._take_snapshot,
            "list-snapshots": self._list_snapshots,
            "verify-snapshot": self._verify_snapshot,
            "restore": self._restore,
        }

    def _take_snapshot(self, event: ops.ActionEvent) -> None:
        juju, facts = self.desk.observe()
        if not facts.engine.is_running or facts.member is None:
            raise Refused("this unit has no running member")
        target = read_target(event, SNAPSHOT_FOLDER)
        written = self.desk.workload.save_snapshot(facts.serving_url, target, juju.unit)
        event.set_results(
            {
                "snapshot": {
                    "path": str(written.path),
                    "sha256": written.sha256,
                    "size": format_size(written.size_bytes),
                    "size-bytes": str(written.size_bytes),
                },
                "copy": {"cmd": f"juju scp {juju.unit}:{written.path} ."},
            }
        )

    def take_scheduled(self) -> None:
        """Take a snapshot by itself, start a member on it, compare, and record how that went.

        A snapshot that has never been tried is none: its member has to serve, and its data has to
        have the hash that the live member has at that revision.
        """
        juju, facts = self.desk.observe()
        wanted = juju.describe_wanted()
        if not juju.is_leader or wanted is None or not facts.engine.is_running:
            return
        bag = self.desk.lead(juju)
        made_at = int(time.time())
        try:
            taken = self.desk.workload.save_snapshot(
                facts.serving_url, SCHEDULED_FOLDER, juju.unit
            )
            proof = self.desk.workload.verify_snapshot(wanted, juju.storage, taken.path)
            problem = self._compare(facts, proof)
        except (Retry, NeedsOperator) as error:
            problem = str(error)
        if not problem:
            kept = juju.settings.snapshot_retention
            self.desk.workload.drop_snapshots(SCHEDULED_FOLDER, kept)
        else:
            logger.warning("scheduled snapshot: %s", problem)
        record = SnapshotRecord(juju.unit, made_at, problem)
        bag[bags.SNAPSHOT] = bags.encode_snapshot(record)

    def _compare(self, facts: Facts, proof: Proof) -> str:
        """Return what is wrong with a snapshot's data, as far as the live member can tell."""
        if not proof.hash:
            return ""
        live = hash_at(self.desk.workload.care, facts.serving_url, proof.revision)
        if live.revision != proof.revision or live.compact_revision != proof.compact_revision:
            return ""  # the live member has moved on too far to say
        if live.hash == proof.hash:
            return ""
        return f"the snapshot's data differs from the member's at revision {proof.revision}"

    def _list_snapshots(self, event: ops.ActionEvent) -> None:
        target = read_target(event, SNAPSHOT_FOLDER)
        found = self.desk.workload.list_snapshots(target)
        lines = [
            f"{entry.path} {format_size(entry.size_bytes)} {entry.made_at}" for entry in found
        ]
        event.set_results({"count": str(len(found)), "output": "\n".join(lines)})

    def _verify_snapshot(self, event: ops.ActionEvent) -> None:
        """Start a throw-away member on a snapshot: it has to serve."""
        juju, _ = self.desk.observe()
        source = read_path(event, "path") or self._fetch_snapshot()
        wanted = juju.describe_wanted()
        if wanted is None:
            raise Refused("the unit is not set up yet: wait until it is active")
        proof = self.desk.workload.verify_snapshot(wanted, juju.storage, source)
        event.set_results(
            {"output": f"a member serves from {source}", "revision": str(proof.revision)}
        )

    def _restore(self, event: ops.ActionEvent) -> None:
        """Prepare and prove the new data here, then have all units take part in the swap."""
        juju, facts = self.desk.observe()
        bag = self.desk.lead(juju)
        if event.params.get("cancel"):
            self._cancel_restore(event, facts, bag)
            return
        if facts.rebuild is not None:
            raise Refused("a rebuild is under way")
        if facts.restore is not None:
            raise Refused(f"{facts.restore.unit} restores already: cancel=true gives it up")
        wanted = juju.describe_wanted()
        if wanted is None or juju.claim is None:
            raise Refused("the unit is not set up yet: wait until it is active")
        if facts.engine.data in (DataState.FOREIGN, DataState.DETACHED):
            raise Refused("the storage is not this cluster's: see juju status")
        order = Restore(secrets.token_hex(4), juju.unit, secrets.token_hex(TOKEN_BYTES))
        options = self._read_restore_options(event, facts, order)
        report = self.desk.workload.prepare_restore(wanted, juju.storage, options)
        event.log(f"the snapshot is good: revision {report.revision}; stopping the members")
        bag[bags.RESTORE] = bags.encode_restore(order)
        self.desk.reconciler.run()
        self._say_restored(event, juju, order, report.revision)

    def _read_restore_options(
        self, event: ops.ActionEvent, facts: Facts, order: Restore
    ) -> RestoreOptions:
        source = read_path(event, "path") or self._fetch_snapshot()
        if not source.is_file():
            raise Refused(f"there is no file {source}")
        members = facts.view.voters if facts.view else ()
        urls = [url for member in members for url in member.client_urls]
        return RestoreOptions(
            restore_id=order.restore_id,
            token=order.token,
            source=source,
            target=read_target(event, HOME),
            keeps_backup=not bool(event.params.get("skip-backup", False)),
            allows_rollback=bool(event.params.get("allow-revision-rollback", False)),
            least_revision=self.desk.workload.read_revision(urls),
        )

    def _say_restored(
        self, event: ops.ActionEvent, juju: JujuFacts, order: Restore, revision: int
    ) -> None:
        done = self.desk.workload.read_restore()
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
        self.desk.workload.schedule_wake(facts.unit, 1, "the restore was cancelled")
        event.set_results({"output": "the members start again on the data that they have"})

    def _fetch_snapshot(self) -> Path:
        try:
            source = self.desk.charm.model.resources.fetch("snapshot")
        except (ops.ModelError, NameError) as error:
            raise Refused("attach the resource `snapshot` first, or say path=") from error
        if source.stat().st_size == 0:
            raise Refused("the resource `snapshot` is empty: attach a snapshot to it")
        return source
