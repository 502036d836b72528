"""The real workload: carries out steps on this machine and in the cluster.

One step either happens or raises `Retry`; a plan stops at the first that raises, and the next
hook decides anew from what it then sees. No step relies on the one before it having run in the
same hook.
"""

import datetime as dt
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from etcd_charm.cluster.errors import NeedsOperator, Retry
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
    UpdateMember,
)
from etcd_charm.workload import config_files, host, install, service, snapshots
from etcd_charm.workload.admin import Admin
from etcd_charm.workload.engine import Prepared, SnapshotFile, Wanted
from etcd_charm.workload.key_files import KeyFiles
from etcd_charm.workload.memory import FirstStart, MemoryFile
from etcd_charm.workload.paths import USER, Paths
from etcd_charm.workload.storage import DataDirectory

PROMOTE_PAUSE_S = 0.5
FINGERPRINT_CHARS = 16


class LocalWorkload:
    """The engine `raftkv` under systemd on this machine."""

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
    def _desired(self) -> Wanted:
        assert self._wanted is not None, "steps run after prepare"
        return self._wanted

    def install(self, bundle: Path | None) -> str:
        """Install the engine, its user and its directories."""
        host.ensure_system_user(USER, self._paths.var)
        host.ensure_directory(self._paths.var, mode=0o755)
        return install.install_engine(self._paths, bundle)

    def prepare(self, wanted: Wanted, storage: Path | None) -> Prepared:
        """Write keys, configuration and unit file; say what they amount to."""
        self._wanted, self._storage = wanted, storage
        server_ca = self._keys.write(wanted, dt.datetime.now(dt.timezone.utc))
        home = self._data.choose_home(storage)
        steady = config_files.render_files(self._paths, wanted, home, None)
        digest = hashlib.sha256()
        for part in (
            steady.config,
            steady.unit_file,
            self._keys.hash_files(),
            str(self._paths.engine.resolve()),
        ):
            digest.update(part.encode())
        self._fingerprint = digest.hexdigest()[:FINGERPRINT_CHARS]
        self._write_config()
        return Prepared(self._fingerprint, server_ca)

    def _write_config(self) -> None:
        memory = self._memory.load()
        home = self._data.choose_home(self._storage)
        files = config_files.render_files(self._paths, self._desired, home, memory.first_start)
        host.write_file(self._paths.config, files.config, mode=0o640, group=USER)
        host.write_file(self._paths.environment, files.environment, mode=0o600)
        host.write_file(self._paths.wake, files.wake, mode=0o755)
        if host.write_file(self._paths.unit_file, files.unit_file, mode=0o644):
            service.reload_units()

    def inspect(self, token: str, storage: Path | None) -> EngineFacts:
        """Return the state of the service and of the data directory."""
        memory = self._memory.load()
        is_running = service.is_running()
        if memory.first_start is not None and service.is_ready() and self._wanted is not None:
            memory = self._memory.change(first_start=None)
            self._write_config()
        return EngineFacts(
            is_running=is_running,
            data=self._data.read_state(token, storage),
            started_with=memory.started_with,
            founded_token=memory.founded_token,
            has_left=memory.has_left,
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
                service.stop()
            case Promote(member_id, wait_s):
                self._promote(urls, member_id, wait_s)
            case RemoveMember(member_id):
                self._admin.remove(urls, member_id)
            case UpdateMember(member_id, peer_url):
                self._admin.update(urls, member_id, peer_url)
            case SetDataAside():
                service.stop()
                self._data.set_aside()

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
        if not service.start():
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
        if not service.restart():
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
        service.stop()

    def remember_leaving(self) -> None:
        """Remember that this unit is off the member list."""
        self._memory.change(has_left=True)

    def remove(self) -> None:
        """Take service and keys off the machine; data stays where it is."""
        service.stop()
        self._paths.unit_file.unlink(missing_ok=True)
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
        return snapshots.pack_snapshot(
            lambda write: self._admin.save_snapshot(own_url, write), target
        )

    def restore(
        self, source: Path, wanted: Wanted, target: Path, *, keeps_backup: bool
    ) -> Path | None:
        """Stop, back up, swap the data for the snapshot's, start; on failure put the old back."""
        self._wanted = wanted
        home = self._data.choose_home(self._storage)
        data = home / "data"
        fresh = home / "data.restored"
        shutil.rmtree(fresh, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".restore-") as directory:
            database = snapshots.unpack_database(source, Path(directory))
            snapshots.restore_into(self._paths, database, wanted, fresh)
        service.stop()
        backup = snapshots.keep_backup(data, target) if keeps_backup and data.exists() else None
        former = home / f"aside-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
        if data.exists():
            data.replace(former)
        self._data.create(wanted.token, self._storage)
        data.rmdir()
        fresh.replace(data)
        if not service.start():
            service.stop()
            data.replace(home / f"{former.name}-failed")
            if former.exists():
                former.replace(data)
                service.start()
            raise NeedsOperator("the restored data does not start; the former data is back")
        return backup

    def write_private(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write a file that only the login user can read."""
        snapshots.write_for_login_user(path, write)
