"""A restore on this machine: prepared beside the data, proved by a throw-away member, swapped in.

Preparing touches nothing that runs. The swap stops the member, puts the new directory in the place
of the old one and starts it; when that does not serve, the old one goes back. What has been done
is in the memory file before the next effect, so that a hook that died half-way is simply repeated.
"""

import json
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etcd_charm.cluster.errors import NeedsOperator, Retry
from etcd_charm.cluster.facts import RestoreState
from etcd_charm.workload import host, snapshots, v2_keys
from etcd_charm.workload.admin import Admin, ask_revision
from etcd_charm.workload.engine import (
    Engine,
    Proof,
    RestoreOptions,
    RestoreOrder,
    RestoreReport,
    Wanted,
)
from etcd_charm.workload.memory import Memory, MemoryFile, RestoreMemory
from etcd_charm.workload.paths import USER, Paths
from etcd_charm.workload.service import Service
from etcd_charm.workload.storage import DataDirectory
from kvclient import Client, ClientTLS, KvClientError

PROOF_WAIT_S = 120.0
"""A throw-away member of the largest quota reads its whole database first."""
PROOF_PAUSE_S = 0.2
PROOF_CALL_S = 30.0
"""Hashing gigabytes takes a while."""
START_TRIES = 10
"""Hooks of half a minute each: what does not serve by then goes back."""
REVISION_MARGIN = 10_000_000
"""What clients of the former cluster may have written since anybody last looked."""
SPACE_FACTOR = 3
"""A restore needs room for the archive's content, the new directory and its log."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a restore works with on this machine."""

    paths: Paths
    memory: MemoryFile
    data: DataDirectory
    engine: Engine
    service: Service
    admin: Admin


@dataclass(frozen=True, slots=True)
class Making:
    """A data directory that is to be made from a snapshot."""

    source: Path
    target: Path
    token: str
    bump_revision: int
    allows_rollback: bool


def name_fresh(home: Path, restore_id: str) -> Path:
    """Return the directory in which a restore is prepared."""
    return home / f"restored-{restore_id}"


def prepare_restore(
    machine: Machine, wanted: Wanted, storage: Path | None, options: RestoreOptions
) -> RestoreReport:
    """Make and prove the new data directory; the member goes on meanwhile.

    Raises:
        NeedsOperator: the snapshot is no good, or there is no room.
    """
    home = machine.data.choose_home(storage)
    host.ensure_directory(home, mode=0o755)
    _demand_room(home, options.source)
    for leftover in home.glob("restored-*"):
        shutil.rmtree(leftover)
    fresh = name_fresh(home, options.restore_id)
    bump = max(0, options.least_revision) + REVISION_MARGIN
    making = Making(
        options.source, fresh, options.token, bump, allows_rollback=options.allows_rollback
    )
    proof = _make_and_prove(
        machine, wanted, making, home / f"restored-{options.restore_id}.v2.json"
    )
    fresh.chmod(0o700)
    host.change_owner(fresh, USER, USER)
    memory = RestoreMemory(
        restore_id=options.restore_id,
        token=options.token,
        former_token=wanted.token,
        state=RestoreState.READY.value,
        target=str(options.target),
        keeps_backup=options.keeps_backup,
    )
    machine.memory.change(restore=memory)
    return RestoreReport(state=RestoreState.READY, revision=proof.revision)


def _make_and_prove(
    machine: Machine, wanted: Wanted, making: Making, v2_target: Path | None
) -> Proof:
    fresh = making.target
    with tempfile.TemporaryDirectory(dir=fresh.parent, prefix=".restore-") as directory:
        content = snapshots.unpack_content(making.source, Path(directory))
        order = RestoreOrder(
            database=content.database,
            member_name=wanted.member_name,
            peer_url=wanted.peer_url,
            token=making.token,
            target=fresh,
            bump_revision=making.bump_revision,
            allows_rollback=making.allows_rollback,
        )
        try:
            machine.engine.restore(order)
            proof = prove(machine, fresh, wanted)
        except host.ProgramFailed as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise NeedsOperator(f"the snapshot cannot be restored: {error}") from error
        except NeedsOperator:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        if content.v2_keys is not None and v2_target is not None:
            shutil.copyfile(content.v2_keys, v2_target)
    return proof


def verify_snapshot(machine: Machine, wanted: Wanted, storage: Path | None, source: Path) -> Proof:
    """Start a throw-away member on a snapshot; return what it says, and leave nothing behind.

    Raises:
        NeedsOperator: the snapshot is no good, or there is no room.
    """
    home = machine.data.choose_home(storage)
    host.ensure_directory(home, mode=0o755)
    with tempfile.TemporaryDirectory(dir=home, prefix=".verify-") as directory:
        _demand_room(home, source)
        making = Making(source, Path(directory) / "data", "verification", 0, allows_rollback=True)
        return _make_and_prove(machine, wanted, making, None)


def _demand_room(home: Path, source: Path) -> None:
    if not source.is_file():
        raise NeedsOperator(f"there is no file {source}")
    needed = source.stat().st_size * SPACE_FACTOR
    free = shutil.disk_usage(home).free
    if free < needed:
        raise NeedsOperator(
            f"{home} has {free >> 20} MiB free, and the restore may need {needed >> 20} MiB"
        )


def prove(machine: Machine, data: Path, wanted: Wanted) -> Proof:
    """Run a throw-away member on a data directory, on loopback; return what it says of itself.

    It serves with this unit's certificates, so that it is asked as `root`: with users in the data
    it would tell nobody else its revision and hash.

    Raises:
        NeedsOperator: it does not come to lead its one-member cluster.
    """
    client_port, peer_port = find_ports(2)
    security = _list_security(machine.paths) if wanted.settings.tls else {}
    client_url = f"{'https' if security else 'http'}://127.0.0.1:{client_port}"
    peer_url = f"http://127.0.0.1:{peer_port}"
    tls = machine.admin.tls if security else ClientTLS()
    config: dict[str, Any] = {
        "name": wanted.member_name,
        "data-dir": str(data),
        "listen-client-urls": client_url,
        "advertise-client-urls": client_url,
        "listen-peer-urls": peer_url,
        "initial-advertise-peer-urls": peer_url,
        "initial-cluster": f"{wanted.member_name}={peer_url}",
        "initial-cluster-state": "existing",
        "log-level": "warn",
        **machine.engine.list_options(wanted.settings),
        **security,
    }
    with tempfile.TemporaryDirectory(prefix="etcd-proof-") as directory:
        file = Path(directory) / "proof.yml"
        file.write_text(json.dumps(config))
        arguments = [str(machine.engine.program), "--config-file", str(file)]
        log = Path(directory) / "log"
        with host.run_beside(arguments, log, machine.engine.environment) as is_alive:
            deadline_s = time.monotonic() + PROOF_WAIT_S
            while is_alive() and time.monotonic() < deadline_s:
                proof = _ask(client_url, tls)
                if proof is not None:
                    return proof
                time.sleep(PROOF_PAUSE_S)
            lines = log.read_text(errors="replace").strip().splitlines()
    last = lines[-1] if lines else "it said nothing"
    raise NeedsOperator(f"a member does not start on the restored data: {last}")


def _list_security(paths: Paths) -> dict[str, Any]:
    """Return the options of TLS for clients; none where this unit has no certificate yet."""
    certificate = paths.tls / "server.crt"
    if not certificate.is_file():
        return {}
    return {
        "client-transport-security": {
            "cert-file": str(certificate),
            "key-file": str(paths.tls / "server.key"),
            "client-cert-auth": True,
            "trusted-ca-file": str(paths.tls / "client-ca.crt"),
        }
    }


def _ask(url: str, tls: ClientTLS) -> Proof | None:
    """Return what a member that leads itself says; no revision if it wants to know who asks."""
    try:
        with Client([url], tls=tls, timeout_s=PROOF_CALL_S) as client:
            if not client.status().leader_id:
                return None
            revision = ask_revision(client)
            try:
                answer = client.hash_kv()
            except KvClientError:
                return Proof(revision)  # guarded by users, or not served
            return Proof(revision, answer.hash, answer.compact_revision)
    except (KvClientError, OSError):
        return None


def find_ports(count: int) -> list[int]:
    """Return free ports of the loopback address."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def swap_restored(machine: Machine, wanted: Wanted, storage: Path | None, restore_id: str) -> None:
    """Put the prepared directory in the place of the data and start it.

    Raises:
        Retry: the engine is still starting.
    """
    memory = machine.memory.load()
    order = memory.restore
    if order is None or order.restore_id != restore_id:
        return
    home = machine.data.choose_home(storage)
    fresh = name_fresh(home, restore_id)
    if fresh.is_dir():
        _exchange(machine, memory, home, fresh, storage)
    if not machine.service.start():
        tries = order.tries + 1
        if machine.service.is_running() and tries < START_TRIES:
            present = machine.memory.load().restore or order
            machine.memory.change(restore=replace(present, tries=tries))
            raise Retry("restoring: the restored data is still being read")
        _put_back(machine, home, order)
        return
    _write_v2(machine, wanted, home, restore_id)
    _finish(machine, order, RestoreState.RESTORED)
    machine.memory.change(founded_token=order.token, has_left=False)


def _exchange(
    machine: Machine, memory: Memory, home: Path, fresh: Path, storage: Path | None
) -> None:
    order = memory.restore
    assert order is not None, "the caller has it"
    machine.service.stop()
    data = home / "data"
    former = home / f"aside-{order.restore_id}"
    backup = ""
    if data.is_dir() and any(data.iterdir()):
        if order.keeps_backup and not order.backup:
            backup = str(snapshots.keep_backup(data, Path(order.target)))
        data.replace(former)
    machine.memory.change(
        restore=replace(order, former=str(former), backup=backup or order.backup),
        first_start=None,
    )
    machine.data.create(order.token, storage)
    data.rmdir()
    fresh.replace(data)


def _put_back(machine: Machine, home: Path, order: RestoreMemory) -> None:
    """The new data does not serve: the former data goes back, under its former token."""
    machine.service.stop()
    order = machine.memory.load().restore or order
    data, former = home / "data", Path(order.former or home / "nothing")
    data.replace(home / f"failed-{order.restore_id}")
    if former.is_dir():
        former.replace(data)
    machine.data.mark(home, order.former_token)
    _finish(machine, order, RestoreState.FAILED, "the restored data does not start")


def _write_v2(machine: Machine, wanted: Wanted, home: Path, restore_id: str) -> None:
    file = home / f"restored-{restore_id}.v2.json"
    if not file.is_file():
        return
    tree = json.loads(file.read_text())
    if v2_keys.read_tree(wanted.client_url, machine.admin.tls) is None:
        return  # not served here: the file stays beside the data
    v2_keys.write_tree(wanted.client_url, machine.admin.tls, tree)
    file.unlink()


def _finish(
    machine: Machine, order: RestoreMemory, state: RestoreState, problem: str = ""
) -> None:
    present = machine.memory.load().restore or order
    machine.memory.change(restore=replace(present, state=state.value, problem=problem))


def read_report(memory: Memory) -> RestoreReport:
    """Return how far the last restore on this machine came."""
    order = memory.restore
    if order is None:
        return RestoreReport()
    return RestoreReport(
        state=RestoreState(order.state),
        backup=Path(order.backup) if order.backup else None,
        problem=order.problem,
    )


def demand_idle(memory: Memory) -> None:
    """Refuse a second restore beside one that is being swapped in.

    Raises:
        Retry: one is under way.
    """
    order = memory.restore
    if order is not None and order.state == RestoreState.READY.value and order.former:
        raise Retry("another restore is being swapped in")
