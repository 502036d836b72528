"""The real workload: carries out steps on this machine and in the cluster.

One step either happens or raises `Retry`; a plan stops at the first that raises, and the next
hook decides anew from what it then sees. No step relies on the one before it having run in the
same hook.
"""

import datetime as dt
import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import ClusterView, EngineFacts, MemberId
from etcd_charm.cluster.steps import (
    AddLearner,
    FoundCluster,
    Promote,
    RemoveMember,
    RestartMember,
    SetDataAside,
    StartJoiner,
    StartMember,
    Step,
    StopMember,
    SwapRestored,
    UpdateMember,
)
from etcd_charm.workload import config_files, host, restoring, service, snapshots, v2_keys
from etcd_charm.workload.admin import Admin
from etcd_charm.workload.engine import (
    Engine,
    Prepared,
    RestoreOptions,
    RestoreReport,
    SnapshotFile,
    Supplies,
    Wanted,
)
from etcd_charm.workload.engine_etcd import EtcdEngine
from etcd_charm.workload.engine_raftkv import RaftkvEngine
from etcd_charm.workload.key_files import KeyFiles
from etcd_charm.workload.memory import FirstStart, MemoryFile
from etcd_charm.workload.paths import USER, Paths
from etcd_charm.workload.storage import DataDirectory

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
        server_ca = self._keys.write(wanted, dt.datetime.now(dt.timezone.utc))
        home = self._data.choose_home(storage)
        engine = self._engine
        steady = config_files.render_files(self._paths, engine, wanted, home, None)
        digest = hashlib.sha256()
        for part in (
            steady.config,
            steady.unit_file,
            self._keys.hash_files(),
            engine.identify(),
        ):
            digest.update(part.encode())
        self._fingerprint = digest.hexdigest()[:FINGERPRINT_CHARS]
        self._write_config()
        return Prepared(self._fingerprint, server_ca)

    def _write_config(self) -> None:
        memory = self._memory.load()
        home = self._data.choose_home(self._storage)
        engine = self._engine
        files = config_files.render_files(
            self._paths, engine, self._desired, home, memory.first_start
        )
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
            data=self._data.read_state(token, storage),
            started_with=memory.started_with,
            founded_token=memory.founded_token,
            has_left=memory.has_left,
            restore_id=memory.restore.restore_id if memory.restore else "",
            restore_state=report.state,
            restore_problem=report.problem,
        )

    def look(self, own_url: str, peer_urls: Sequence[str]) -> ClusterView | None:
        """Ask the members how the cluster is."""
        return self._admin.look(own_url, peer_urls)

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
        self._write_config()
        self._memory.change(started_with=self._fingerprint)
        if not self._service.start():
            raise Retry("the engine is starting")
        self._forget_first_start()

    def _forget_first_start(self) -> None:
        if self._memory.load().first_start is not None:
            self._memory.change(first_start=None)
            self._write_config()

    def _restart(self, view: ClusterView | None) -> None:
        if view is not None:
            self._hand_over_before_restart(view)
        self._memory.change(started_with=self._fingerprint)
        if not self._service.restart():
            raise Retry("the engine is restarting")

    def _hand_over_before_restart(self, view: ClusterView) -> None:
        """Give leadership away first: an orderly change costs clients far less than an election."""
        name = self._desired.member_name
        own = next((member for member in view.members if member.name == name), None)
        others = [v for v in view.voters if v.is_reachable and v.name != name]
        if own is None or own.member_id != view.leader_id or not others:
            return
        try:
            self.hand_over(own.client_urls[0], others[0].member_id)
        except Retry:
            return  # the restart itself then costs an election, which the cluster survives

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

    def remember_leaving(self) -> None:
        """Remember that this unit is off the member list."""
        self._memory.change(has_left=True)

    def remove(self) -> None:
        """Take service and keys off the machine; data stays where it is."""
        self._service.stop()
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

    def _swap_restored(self, restore_id: str) -> None:
        restoring.swap_restored(self._machine, self._desired, self._storage, restore_id)
        self._write_config()
        self._memory.change(started_with=self._fingerprint)

    def read_restore(self) -> RestoreReport:
        """Return how far the last restore on this machine came."""
        return restoring.read_report(self._memory.load())

    def read_revision(self, urls: Sequence[str]) -> int:
        """Return the revision of the key space."""
        return self._admin.read_revision(urls)

    def write_private(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write a file that only the login user can read."""
        snapshots.write_for_login_user(path, write)
