"""One fake for the border `workload.engine.Workload`: a machine without files or services.

It keeps what it was told and answers with the facts that a test sets. The cluster behind it is
the model of the simulation, so that steps have their real consequences.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from etcd_charm.cluster.errors import NeedsOperator, Retry
from etcd_charm.cluster.facts import (
    Access,
    ClusterView,
    DataState,
    Disk,
    EngineFacts,
    LogPosition,
    MemberId,
    RebuildState,
    RestoreState,
    UnitName,
    name_member,
)
from etcd_charm.cluster.steps import (
    AddLearner,
    DropFormerCopy,
    ForceAlone,
    FoundCluster,
    KeepAccess,
    Promote,
    RemoveMember,
    RestartMember,
    SetDataAside,
    StartJoiner,
    StartMember,
    Step,
    StopForRebuild,
    StopMember,
    SwapRestored,
    UpdateMember,
)
from etcd_charm.workload.engine import (
    Fingerprint,
    Prepared,
    Proof,
    RestoreOptions,
    RestoreReport,
    SnapshotEntry,
    SnapshotFile,
    Supplies,
    Wanted,
)
from tests.simulation.charm.cluster_model import Cluster


class FakeEngine:
    def __init__(self, unit: str = "etcd/0") -> None:
        self.unit = UnitName(unit)
        self.cluster: Cluster | None = None
        self.is_running = False
        self.data = DataState.NEW
        self.started_with = ""
        self.founded_token = ""
        self.has_left = False
        self.absences: tuple[tuple[MemberId, int], ...] = ()
        self.prepared: list[Wanted] = []
        self.steps: list[Step] = []
        self.wakes: list[tuple[int, str]] = []
        self.private_files: dict[Path, bytes] = {}
        self.rests = 0
        self.stopped = 0
        self.removed = False
        self.restored: list[RestoreOptions] = []
        self.restore_state = RestoreState.NONE
        self.restore_ends = RestoreState.RESTORED
        self.engine = ""
        self.lacks = ""
        self.is_paused = False
        self.rebuild_id = ""
        self.rebuild_state = RebuildState.NONE
        self.position = LogPosition()
        self.cared: list[tuple[str, object, bool]] = []
        self.hashes: dict[str, int] = {}
        self.has_former_copy = False
        self.users: list[tuple[str, str]] = []
        self.renewals = 0
        self.proof_hash = 5
        self.access: list[Access] = []
        self.requests: tuple[str, ...] = ()
        self.elects_after_steps = False
        """A look after a step meets an election, until the test says otherwise."""
        self.looks_count = 0
        self.disk = Disk()
        self.expires_in_days: int | None = None
        self.client_url = ""
        self.refusal = ""
        self.installed = 0

    def give_cluster(self, *names: str, joined: bool = True) -> Cluster:
        """Put a running cluster behind this unit, whose first member is its own."""
        self.cluster = Cluster(cluster_id=7)
        for number, name in enumerate(names):
            self.cluster.found(name, f"https://10.0.0.{number}:2380")
        if joined:
            self.is_running, self.data = True, DataState.OURS
        return self.cluster

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.prepared[-1]).encode()).hexdigest()[:16]

    def install(self, engine: str, supplies: Supplies) -> str:
        if self.lacks:
            raise NeedsOperator(self.lacks)
        self.installed += 1
        self.engine = engine
        return "0.1.0"

    def prepare(self, wanted: Wanted, storage: Path | None) -> Prepared:
        self.prepared.append(wanted)
        related = wanted.related_server
        return Prepared(self.fingerprint, related.ca if related else "", self.requests)

    def inspect(self, token: str, storage: Path | None) -> EngineFacts:
        return EngineFacts(
            is_running=self.is_running,
            is_paused=self.is_paused,
            disk=self.disk,
            expires_in_days=self.expires_in_days,
            client_url=self.client_url,
            rebuild_id=self.rebuild_id,
            rebuild_state=self.rebuild_state,
            position=self.position,
            data=self.data,
            started_with=self.started_with,
            founded_token=self.founded_token,
            has_left=self.has_left,
            restore_id=self.restored[-1].restore_id if self.restored else "",
            restore_state=self.restore_state,
        )

    def look(self, own_url: str, peer_urls: Sequence[str]) -> ClusterView | None:
        self.looks_count += 1
        view = self.cluster.view() if self.cluster and (own_url or peer_urls) else None
        is_electing = self.elects_after_steps and bool(self.steps)
        return replace(view, has_quorum=False) if view and is_electing else view

    def execute(self, step: Step, view: ClusterView | None) -> None:
        if self.refusal:
            raise Retry(self.refusal)
        self.steps.append(step)
        match step:
            case FoundCluster(token):
                self.give_cluster()
                self._cluster.found(name_member(self.unit), self.prepared[-1].peer_url)
                self.founded_token = token
                self.started_with = self.fingerprint
            case AddLearner(peer_url):
                self._cluster.add_learner(peer_url, 0)
            case StartJoiner():
                url = self.prepared[-1].peer_url
                member = next(m for m in self._cluster.members.values() if m.peer_url == url)
                member.name, member.is_running = name_member(self.unit), True
                self.is_running, self.data = True, DataState.OURS
                self.started_with = self.fingerprint
            case StartMember():
                self.is_running = True
                self.started_with = self.fingerprint
            case RestartMember(wanted):
                self.started_with = wanted
            case StopMember():
                self.is_running = False
            case Promote(member_id):
                self._cluster.promote(member_id)
            case RemoveMember(member_id):
                self._cluster.remove(member_id)
            case UpdateMember(member_id, peer_url):
                self._cluster.update(member_id, peer_url)
            case SetDataAside():
                self.is_running, self.data = False, DataState.NEW
            case StopForRebuild(rebuild_id):
                self.is_running, self.rebuild_id = False, rebuild_id
                self.rebuild_state = RebuildState.STOPPED
            case ForceAlone():
                self.rebuild_state = RebuildState.REBUILT
                self.give_cluster(name_member(self.unit))
            case KeepAccess(access):
                self.access.append(access)
            case DropFormerCopy():
                self.has_former_copy = False
            case SwapRestored():
                self.restore_state = self.restore_ends
                self.give_cluster(name_member(self.unit))

    @property
    def _cluster(self) -> Cluster:
        assert self.cluster is not None
        return self.cluster

    def hand_over(self, own_url: str, heir: MemberId) -> None:
        self._cluster.history.append(f"lead {heir}")

    def ask_removal(self, helper_url: str, leaver: MemberId) -> None:
        self._cluster.remove(leaver)

    def read_lists(self, urls: Sequence[str]) -> Mapping[str, frozenset[MemberId] | None]:
        return {url: frozenset(self._cluster.members) for url in urls}

    def stop(self) -> None:
        self.stopped += 1
        self.is_running = False

    @property
    def care(self) -> "FakeEngine":
        return self

    def compact(self, urls: Sequence[str], revision: int, *, physical: bool) -> int:
        self.cared.append(("compact", revision, physical))
        return revision or 77

    def defragment(self, url: str) -> tuple[int, int]:
        self.cared.append(("defragment", url, True))
        return 4 << 20, 1 << 20

    def add_user(self, urls: Sequence[str], name: str, role: str) -> None:
        self.users.append((name, role))

    def renew_certificates(self) -> None:
        self.renewals += 1

    def disarm_alarms(self, urls: Sequence[str]) -> int:
        return 1

    def hash_data(self, url: str, revision: int) -> Fingerprint:
        return Fingerprint(self.hashes.get(url, 5), 3)

    def pack_debug(self, path: Path, texts: Mapping[str, str]) -> None:
        self.private_files[path] = "".join(texts.values()).encode()

    def adopt_data(self, token: str) -> None:
        self.data = DataState.OURS
        self.founded_token = token
        self.give_cluster(name_member(self.unit))
        self.is_running = False

    def verify_snapshot(self, wanted: Wanted, storage: Path | None, source: Path) -> Proof:
        if self.lacks:
            raise NeedsOperator(self.lacks)
        return Proof(12, self.proof_hash, 3)

    def drop_snapshots(self, target: Path, kept: int) -> None:
        self.cared.append(("drop", target, bool(kept)))

    def list_snapshots(self, target: Path) -> tuple[SnapshotEntry, ...]:
        return (SnapshotEntry(target / "etcd-snapshot-1.tar.gz", 69_000, "2026-01-02"),)

    def pause(self, *, paused: bool) -> None:
        self.is_paused = paused

    def remember_leaving(self) -> None:
        self.has_left = True

    def remove(self) -> None:
        self.removed = True

    def load_absences(self) -> tuple[tuple[MemberId, int], ...]:
        return self.absences

    def save_absences(self, absences: tuple[tuple[MemberId, int], ...]) -> None:
        self.absences = absences

    def schedule_wake(self, unit: str, after_s: int, reason: str) -> None:
        self.wakes.append((after_s, reason))

    def rest(self, seconds: float) -> None:
        self.rests += 1

    def save_snapshot(self, own_url: str, target: Path, label: str) -> SnapshotFile:
        return SnapshotFile(target / "etcd-snapshot-2026-01-02-03.04.05.tar.gz", "ab" * 32, 69_000)

    def prepare_restore(
        self, wanted: Wanted, storage: Path | None, options: RestoreOptions
    ) -> RestoreReport:
        if self.lacks:
            raise NeedsOperator(self.lacks)
        self.prepare(wanted, storage)
        self.restored.append(options)
        self.restore_state = RestoreState.READY
        return RestoreReport(RestoreState.READY, revision=10_000_005)

    def read_restore(self) -> RestoreReport:
        backup = self.restored[-1].target / "etcd-data-before-restore.tar.gz"
        is_done = self.restore_state is RestoreState.RESTORED
        return RestoreReport(
            self.restore_state,
            backup if is_done and self.restored[-1].keeps_backup else None,
            "" if self.restore_state is not RestoreState.FAILED else "the new data does not start",
        )

    def read_revision(self, urls: Sequence[str] | str) -> int:
        return 5 if urls else 0

    def write_private(self, path: Path, write: Callable[[Path], None]) -> None:
        temporary = self.scratch / path.name
        write(temporary)
        self.private_files[path] = temporary.read_bytes()

    scratch = Path()
