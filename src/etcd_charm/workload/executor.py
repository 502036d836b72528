"""The real workload: carries out steps on this machine and in the cluster.

One step either happens or raises `Retry`; a plan stops at the first that raises, and the next
hook decides anew from what it then sees. No step relies on the one before it having run in the
same hook.
"""

import datetime as dt
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from etcd_charm.cluster.errors import NeedsOperator, Retry
from etcd_charm.cluster.facts import (
    ClusterView,
    EngineFacts,
    LogPosition,
    MemberId,
    RebuildState,
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
from etcd_charm.workload import (
    config_files,
    debug_bundle,
    host,
    restoring,
    schedule,
    service,
    snapshots,
    sync_times,
    v2_keys,
)
from etcd_charm.workload.admin import Admin
from etcd_charm.workload.engine import (
    Care,
    Engine,
    Prepared,
    Proof,
    RestoreOptions,
    RestoreReport,
    SnapshotEntry,
    SnapshotFile,
    Supplies,
    Wanted,
)
from etcd_charm.workload.engine_etcd import EtcdEngine
from etcd_charm.workload.engine_raftkv import RaftkvEngine
from etcd_charm.workload.key_files import KeyFiles
from etcd_charm.workload.memory import FirstStart, Memory, MemoryFile
from etcd_charm.workload.paths import USER, Paths
from etcd_charm.workload.storage import DataDirectory
from etcd_charm.workload.upkeep import Upkeep

PROMOTE_PAUSE_S = 0.5
FINGERPRINT_CHARS = 16


def choose_engine(paths: Paths, name: str) -> Engine:
    """Return the engine of a name."""
    return EtcdEngine(paths) if name == "etcd" else RaftkvEngine(paths)


class LocalWorkload:
    """An engine under systemd on this machine."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._memory = MemoryFile(paths.memory)
        self._data = DataDirectory(paths, self._memory)
        self._keys = KeyFiles(paths)
        self._wanted: Wanted | None = None
        self._storage: Path | None = None
        self._fingerprint = ""

    @property
    def _admin(self) -> Admin:
        return Admin(self._paths)

    @property
    def _engine(self) -> Engine:
        return choose_engine(self._paths, self._memory.load().engine)

    @property
    def _service(self) -> service.Service:
        return service.Service(self._engine.service)

    @property
    def _machine(self) -> restoring.Machine:
        return restoring.Machine(
            self._paths, self._memory, self._data, self._engine, self._service, self._admin
        )

    @property
    def _desired(self) -> Wanted:
        assert self._wanted is not None, "steps run after prepare"
        return self._wanted

    def install(self, engine: str, supplies: Supplies) -> str:
        """Install the engine, its user and its directories."""
        host.ensure_system_user(USER, self._paths.var)
        host.ensure_directory(self._paths.var, mode=0o755)
        version = choose_engine(self._paths, engine).install(supplies)
        if self._memory.load().engine != engine:
            self._memory.change(engine=engine)
        return version

    def prepare(self, wanted: Wanted, storage: Path | None) -> Prepared:
        """Write keys, configuration and unit file; say what they amount to."""
        self._wanted, self._storage = wanted, storage
        now = dt.datetime.now(dt.timezone.utc)
        self._keys.renew(is_wanted=self._memory.load().renews)
        server_authority = self._keys.write(wanted, now)
        requests = self._keys.keep_requests(wanted, now)
        if self._memory.load().renews:
            self._keys.renew(is_wanted=False)
            self._memory.change(renews=False)
        schedule.keep_timer(self._paths, wanted.unit, wanted.settings.snapshot_schedule)
        home = self._data.choose_home(storage)
        engine = self._engine
        # The token matters at a first start only: a restore, which changes it, is no reason to
        # restart a member that has just been started.
        lasting = replace(wanted, token="")
        steady = config_files.render_files(self._paths, engine, lasting, home, config_files.STEADY)
        target = self._data.find_target(storage)
        if target is not None:
            self._data.check_target(target)
        digest = hashlib.sha256()
        for part in (
            steady.config,
            steady.unit_file,
            "" if engine.rereads_authorities else self._keys.hash_authorities(),
            engine.identify(),
            str(target or ""),
        ):
            digest.update(part.encode())
        self._fingerprint = digest.hexdigest()[:FINGERPRINT_CHARS]
        self._write_config()
        return Prepared(self._fingerprint, server_authority, requests)

    def _write_config(self, former_ports: tuple[int, int] = (0, 0)) -> None:
        memory = self._memory.load()
        home = self._data.choose_home(self._storage)
        engine = self._engine
        mode = config_files.StartMode(memory.first_start, former_ports, memory.force_alone)
        files = config_files.render_files(self._paths, engine, self._desired, home, mode)
        host.write_file(self._paths.config, files.config, mode=0o640, group=USER)
        host.write_file(self._paths.environment, files.environment, mode=0o600)
        host.write_file(self._paths.wake, files.wake, mode=0o755)
        if host.write_file(
            self._paths.find_unit_file(engine.service), files.unit_file, mode=0o644
        ):
            service.reload_units()

    def inspect(self, token: str, storage: Path | None) -> EngineFacts:
        """Return the state of the service and of the data directory."""
        memory = self._memory.load()
        is_running = self._service.is_running()
        if (
            memory.first_start is not None
            and self._service.is_ready()
            and self._wanted is not None
        ):
            memory = self._memory.change(first_start=None)
            self._write_config()
        report = restoring.read_report(memory)
        return EngineFacts(
            is_running=is_running,
            start_progress=self._service.read_start_progress() if is_running else "",
            is_paused=memory.paused,
            client_url=memory.serving_url,
            has_former_copy=bool(memory.former_home),
            disk=replace(
                self._data.read_disk(storage),
                sync_p99_ms=self._measure_syncs(memory) if is_running else 0,
            ),
            expires_in_days=self._keys.read_days_left(dt.datetime.now(dt.timezone.utc)),
            data=self._data.read_state(token, storage),
            started_with=memory.started_with,
            founded_token=memory.founded_token,
            has_left=memory.has_left,
            restore_id=memory.restore.restore_id if memory.restore else "",
            restore_state=report.state,
            restore_problem=report.problem,
            rebuild_id=memory.rebuild_id,
            rebuild_state=RebuildState(memory.rebuild_state),
            position=LogPosition(memory.log_term, memory.log_index),
        )

    def _measure_syncs(self, memory: Memory) -> int:
        """Return how long the engine's syncs take, in milliseconds; 0 while that is unknown."""
        if not memory.serving_url:
            return 0
        buckets = sync_times.read_buckets(memory.serving_url, self._admin.tls)
        p99_ms = sync_times.find_p99_ms(sync_times.since(memory.sync_counts, buckets))
        if p99_ms is None:
            return memory.sync_p99_ms
        self._memory.change(sync_counts=tuple(count for _, count in buckets), sync_p99_ms=p99_ms)
        return p99_ms

    def look(self, own_url: str, peer_urls: Sequence[str]) -> ClusterView | None:
        """Ask the members how the cluster is: those that Juju shows, and those from before."""
        doors = self._memory.load().doors
        view = self._admin.look(own_url, (*peer_urls, *doors))
        if view is not None and view.has_quorum:
            known = tuple(sorted(url for member in view.members for url in member.client_urls))
            if known != doors:
                self._memory.change(doors=known)
        return view

    def execute(self, step: Step, view: ClusterView | None) -> None:
        """Carry out one step.

        Raises:
            Retry: if it cannot be done now.
        """
        urls = self._order_urls(view)
        match step:
            case FoundCluster(token):
                desired = self._desired
                first = FirstStart(f"{desired.member_name}={desired.peer_url}", "new")
                self._data.create(token, self._storage)
                self._start_first(first)
                self._memory.change(founded_token=token)
            case AddLearner(peer_url):
                self._admin.add_learner(urls, peer_url)
            case StartJoiner():
                self._start_joiner(urls)
            case StartMember():
                self._start()
            case RestartMember():
                self._restart(view)
            case StopMember():
                self._service.stop()
            case Promote(member_id, wait_s):
                self._promote(urls, member_id, wait_s)
            case RemoveMember(member_id):
                self._admin.remove(urls, member_id)
            case UpdateMember(member_id, peer_url):
                self._admin.update(urls, member_id, peer_url)
            case SetDataAside():
                self._service.stop()
                self._data.set_aside()
            case DropFormerCopy():
                self._data.drop_former()
            case StopForRebuild(rebuild_id):
                self._stop_for_rebuild(rebuild_id)
            case ForceAlone(rebuild_id):
                self._force_alone(rebuild_id)
            case KeepAccess(access):
                self._admin.keep_access(urls, access)
            case SwapRestored(restore_id):
                self._swap_restored(restore_id)

    def _order_urls(self, view: ClusterView | None) -> tuple[str, ...]:
        """Return the voters' client URLs, the Raft leader's first: it answers without a detour."""
        if view is None:
            return ()
        voters = sorted(
            (voter for voter in view.voters if voter.is_reachable),
            key=lambda voter: (voter.member_id != view.leader_id, voter.name),
        )
        return tuple(url for voter in voters for url in voter.client_urls)

    def _start_joiner(self, urls: Sequence[str]) -> None:
        desired = self._desired
        members = self._admin.list_members(urls)
        pairs = {
            url: member.name or desired.member_name
            for member in members
            for url in member.peer_urls
            if member.name or url == desired.peer_url
        }
        if desired.peer_url not in pairs:
            raise Retry("the member list does not show this unit yet")
        cluster = ",".join(f"{name}={url}" for url, name in sorted(pairs.items()))
        self._data.create(desired.token, self._storage)
        self._start_first(FirstStart(cluster, "existing"))

    def _start_first(self, first: FirstStart) -> None:
        self._memory.change(first_start=first)
        self._start()

    def _start(self) -> None:
        if self._memory.load().force_alone:
            if not self._start_alone():
                raise NeedsOperator("the adopted data does not start: see the engine's log")
            return
        self._write_config()
        self._remember_start()
        if not self._service.start():
            raise Retry(self._service.read_start_progress() or "the engine is starting")
        self._forget_first_start()

    def _forget_first_start(self) -> None:
        if self._memory.load().first_start is not None:
            self._memory.change(first_start=None)
            self._write_config()

    def _remember_start(self) -> None:
        settings = self._desired.settings
        self._memory.change(
            started_with=self._fingerprint,
            serving_url=self._desired.client_url,
            serving_ports=(settings.client_port, settings.peer_port),
        )

    def _restart(self, view: ClusterView | None) -> None:
        if view is not None:
            self._hand_over_before_restart(view)
        target = self._data.find_target(self._storage)
        if target is not None:
            self._move_data(target)
        self._write_config(self._memory.load().serving_ports)
        self._remember_start()
        if not self._service.restart():
            raise Retry("the engine is restarting")

    def _move_data(self, target: Path) -> None:
        """Move the data of the stopped engine; whatever goes wrong, start it where it is."""
        self._service.stop()
        try:
            self._data.move(target)
        except host.ProgramFailed as error:
            self._service.start()
            raise Retry(f"the data cannot be moved: {error}") from error
        except Retry:
            self._service.start()
            raise
        self.prepare(self._desired, self._storage)

    def _hand_over_before_restart(self, view: ClusterView) -> None:
        """Give leadership away first: an orderly change costs clients far less than an election.

        The heir is the most caught-up of the others.
        """
        name = self._desired.member_name
        own = next((member for member in view.members if member.name == name), None)
        others = [v for v in view.voters if v.is_reachable and v.name != name]
        if own is None or own.member_id != view.leader_id or not others:
            return
        heir = max(others, key=lambda voter: (voter.applied_index, voter.name))
        try:
            self.hand_over(own.client_urls[0], heir.member_id)
        except Retry:
            return  # the restart itself then costs an election, which the cluster survives

    def _stop_for_rebuild(self, rebuild_id: str) -> None:
        memory, running = self._memory.load(), self._service.is_running()
        committed = self._admin.read_committed(memory.serving_url) if running else 0
        self._service.stop()
        position = self._engine.read_position(self._paths.data.resolve())
        position = position or LogPosition(1 if committed else 0, committed)
        self._memory.change(
            rebuild_id=rebuild_id,
            rebuild_state=RebuildState.STOPPED.value,
            log_term=position.term,
            log_index=position.index,
        )

    def _force_alone(self, rebuild_id: str) -> None:
        self._memory.change(force_alone=True)
        is_serving = self._start_alone()
        state = RebuildState.REBUILT if is_serving else RebuildState.FAILED
        self._memory.change(rebuild_id=rebuild_id, rebuild_state=state.value)

    def _start_alone(self) -> bool:
        """Start with the flag that removes all others, and take the flag away again."""
        self._write_config()
        self._remember_start()
        is_serving = self._service.start()
        self._memory.change(force_alone=False)
        self._write_config()
        if not is_serving:
            self._service.stop()
        return is_serving

    def _promote(self, urls: Sequence[str], member_id: MemberId, wait_s: int) -> None:
        deadline_s = time.monotonic() + wait_s
        while True:
            try:
                self._admin.promote(urls, member_id)
            except Retry:
                if time.monotonic() >= deadline_s:
                    raise
                time.sleep(PROMOTE_PAUSE_S)
            else:
                return

    def hand_over(self, own_url: str, heir: MemberId) -> None:
        """Give Raft leadership to another member."""
        self._admin.move_leader(own_url, heir)

    def ask_removal(self, helper_url: str, leaver: MemberId) -> None:
        """Have a survivor carry out the removal."""
        self._admin.remove([helper_url], leaver)

    def read_lists(self, urls: Sequence[str]) -> Mapping[str, frozenset[MemberId] | None]:
        """Return each survivor's own member list."""
        return self._admin.read_lists(urls)

    def stop(self) -> None:
        """Stop the engine and keep it stopped."""
        self._service.stop()

    @property
    def care(self) -> Care:
        """What an operator asks of the members now and then."""
        return Upkeep(self._admin)

    def pack_debug(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write a support bundle for the login user."""
        memory = json.dumps(asdict(replace(self._memory.load(), restore=None)), indent=1)
        files = {**texts, "memory.json": memory}
        self.write_private(
            path,
            lambda target: debug_bundle.pack_bundle(
                target, self._paths, self._engine.service, files
            ),
        )

    def adopt_data(self, token: str) -> None:
        """Mark the data as this cluster's; the next start removes all other members."""
        home = self._data.choose_home(self._storage)
        self._data.mark(home, token)
        self._data.link(home)
        self._memory.change(
            home=str(home),
            home_was_mount=home.is_mount(),
            force_alone=True,
            founded_token=token,
        )

    def renew_certificates(self) -> None:
        """Issue this unit's own certificates anew when the files are next prepared."""
        self._memory.change(renews=True)

    def pause(self, *, paused: bool) -> None:
        """Remember whether the engine is to stay stopped."""
        self._memory.change(paused=paused)

    def remember_leaving(self) -> None:
        """Remember that this unit is off the member list."""
        self._memory.change(has_left=True)

    def remove(self) -> None:
        """Take service and keys off the machine; data stays where it is."""
        self._service.stop()
        unit = self._paths.charm.parent.name.removeprefix("unit-")
        schedule.keep_timer(self._paths, unit, "")
        self._paths.find_unit_file(self._engine.service).unlink(missing_ok=True)
        service.reload_units()
        for directory in (self._paths.tls, self._paths.admin):
            shutil.rmtree(directory, ignore_errors=True)
        self._paths.memory.unlink(missing_ok=True)

    def load_absences(self) -> tuple[tuple[MemberId, int], ...]:
        """Return the remembered absences, sorted."""
        pairs = self._memory.load().absences.items()
        return tuple(sorted((MemberId(int(member, 16)), since) for member, since in pairs))

    def save_absences(self, absences: tuple[tuple[MemberId, int], ...]) -> None:
        """Remember absences, if they differ."""
        if absences != self.load_absences():
            self._memory.change(absences={f"{member:x}": since for member, since in absences})

    def schedule_wake(self, unit: str, after_s: int, reason: str) -> None:
        """Set the timer that runs this unit's next hook."""
        del reason
        try:
            service.schedule_wake(unit, self._paths.charm, after_s)
        except host.ProgramFailed as error:
            raise Retry(f"no timer: {error}") from error

    def rest(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def save_snapshot(self, own_url: str, target: Path, label: str) -> SnapshotFile:
        """Write a snapshot archive for the login user."""
        del label
        admin = self._admin
        tree = None
        if not self._engine.keeps_v2_in_snapshot:
            tree = v2_keys.read_tree(own_url, admin.tls)
        return snapshots.pack_snapshot(
            lambda write: admin.save_snapshot(own_url, write), target, tree
        )

    def prepare_restore(
        self, wanted: Wanted, storage: Path | None, options: RestoreOptions
    ) -> RestoreReport:
        """Make and prove the new data beside the present."""
        restoring.demand_idle(self._memory.load())
        self.prepare(wanted, storage)
        return restoring.prepare_restore(self._machine, wanted, storage, options)

    def verify_snapshot(self, wanted: Wanted, storage: Path | None, source: Path) -> Proof:
        """Start a throw-away member on a snapshot."""
        self.prepare(wanted, storage)
        return restoring.verify_snapshot(self._machine, wanted, storage, source)

    def drop_snapshots(self, target: Path, kept: int) -> None:
        """Delete all but the newest snapshots in a folder."""
        for entry in snapshots.list_snapshots(target)[kept:]:
            entry.path.unlink()

    def list_snapshots(self, target: Path) -> tuple[SnapshotEntry, ...]:
        """Return the snapshots in a folder, the newest first."""
        return snapshots.list_snapshots(target)

    def _swap_restored(self, restore_id: str) -> None:
        restoring.swap_restored(self._machine, self._desired, self._storage, restore_id)
        self._write_config()
        self._remember_start()

    def read_restore(self) -> RestoreReport:
        """Return how far the last restore on this machine came."""
        return restoring.read_report(self._memory.load())

    def read_revision(self, urls: Sequence[str]) -> int:
        """Return the revision of the key space."""
        return self._admin.read_revision(urls)

    def write_private(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write a file that only the login user can read."""
        snapshots.write_for_login_user(path, write)
