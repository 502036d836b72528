"""The border between the charm and the engine on this machine, and what crosses it.

`Workload` is what `reconcile` sees. The real one is `executor.LocalWorkload`; tests use one fake.
Below it lies `Engine`: the little that raftkv and etcd do not have in common.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from etcd_charm.cluster.facts import ClusterView, EngineFacts, LogPosition, MemberId, RestoreState
from etcd_charm.cluster.settings import Settings
from etcd_charm.cluster.steps import Step
from etcd_charm.cluster.tls import ServerMaterial
from etcd_charm.workload.certificates import KeyPair


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this unit listens and how others reach it: one plane for peers, one for clients."""

    peer: str
    client: str
    peer_bind: str
    client_bind: str


@dataclass(frozen=True, slots=True)
class Authorities:
    """The charm's own certificate authorities, from Juju secrets."""

    peer: KeyPair
    client: KeyPair
    server: KeyPair
    peer_trust: str = ""
    """What members trust: the peer authority, and during a rotation another one. Empty: it."""
    client_trust: str = ""
    server_trust: str = ""
    server_chain: str = ""
    """The server authority as its predecessor signed it, for clients that know only that one."""

    @property
    def peers_trust(self) -> str:
        """The bundle that members verify each other with."""
        return self.peer_trust or self.peer.certificate

    @property
    def clients_trust(self) -> str:
        """The bundle that members verify clients with."""
        return self.client_trust or self.client.certificate

    @property
    def servers_trust(self) -> str:
        """The bundle that clients verify members with, as far as the charm's own CA goes."""
        return self.server_trust or self.server.certificate


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that the files of a unit are made from."""

    unit: str
    member_name: str
    token: str
    """Token of the cluster; empty while nobody may found it."""
    settings: Settings
    addresses: Addresses
    peer_url: str
    client_url: str
    authorities: Authorities
    related_server: ServerMaterial | None = None
    """The server certificate of a related authority, instead of one of our own."""
    revoked: tuple[int, ...] = ()
    """Serial numbers of client certificates that are not welcome any more."""
    former_requests: tuple[str, ...] = ()
    """Certificate requests that this unit shows, newest first."""
    wants_request: bool = False
    """An authority is related, so there has to be a request."""
    server_bundle: str = ""
    """What verifies the servers of all units, whichever authority signed them."""
    trusts_related: bool = True
    """All members' units trust the related authority: its certificate may be shown."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the files on disk amount to."""

    fingerprint: str
    """Changes whenever a running engine would have to be restarted to follow the files."""
    server_authority: str = ""
    """The related authority that signed the server certificate; empty for the charm's own."""
    requests: tuple[str, ...] = ()
    """Certificate requests for the related authority, newest first."""


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A snapshot that was written."""

    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a member says of its data at one revision."""

    hash: int
    compact_revision: int
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Supplies:
    """What an engine may be installed from, and how to name the application in advice."""

    application: str
    files: Mapping[str, Path]
    """Attached resources by name; a placeholder is an empty file."""


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """A database, and the one-member cluster that is to be made of it."""

    database: Path
    member_name: str
    peer_url: str
    token: str
    target: Path
    bump_revision: int = 0
    """By how much revisions are raised, so that no client sees them go back."""
    allows_rollback: bool = False
    """The operator accepts that revisions go back, where the engine cannot raise them."""

    def list_arguments(self, *, can_bump: bool = True) -> list[str]:
        """Return the arguments that the tools of both engines take."""
        bump = []
        if self.bump_revision and can_bump:
            bump = ["--bump-revision", str(self.bump_revision), "--mark-compacted"]
        return [
            str(self.database),
            *("--name", self.member_name),
            *("--data-dir", str(self.target)),
            *("--initial-cluster", f"{self.member_name}={self.peer_url}"),
            *("--initial-advertise-peer-urls", self.peer_url),
            *("--initial-cluster-token", self.token),
            *bump,
        ]


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What the operator asked for."""

    restore_id: str
    token: str
    source: Path
    target: Path
    """Folder for the archive of the data from before."""
    keeps_backup: bool
    allows_rollback: bool = False
    least_revision: int = 0
    """The revision that clients of the present cluster may have seen."""


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """How far the last restore on this machine came."""

    state: RestoreState = RestoreState.NONE
    backup: Path | None = None
    problem: str = ""
    revision: int = 0


class Engine(Protocol):
    """What differs between the engines; all else is common, and in the executor."""

    name: str
    service: str
    """Name of the systemd service."""
    description: str
    rereads_authorities: bool
    """Whether a running engine follows a changed authority file; leaves are re-read by both."""
    feeds_watchdog: bool
    """Whether it tells systemd that its loop turns."""
    keeps_v2_in_snapshot: bool
    """Whether a snapshot holds the v2 store too, or it has to be read beside it."""

    def install(self, supplies: Supplies) -> str:
        """Install the engine if it is not there; return its version."""

    def identify(self) -> str:
        """Return what changes with the version that starts next."""

    @property
    def program(self) -> Path:
        """The daemon; it takes `--config-file`."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of the daemon."""

    def list_options(self, settings: Settings) -> Mapping[str, object]:
        """Return the options that this engine needs beyond those of both."""

    def list_client_options(self, revoked: Path) -> tuple[Mapping[str, object], dict[str, str]]:
        """Return options for the file of revoked certificates: of the top and of client TLS."""

    def restore(self, order: RestoreOrder) -> None:
        """Make a data directory from a database."""

    def read_position(self, data: Path) -> LogPosition | None:
        """Return where the log of a stopped member ends; `None` where only a running one tells."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a throw-away member on a snapshot says of its data."""

    revision: int
    hash: int = 0
    """0 where it does not say: it wants to know who asks, or does not serve the call."""
    compact_revision: int = 0


@dataclass(frozen=True, slots=True)
class SnapshotEntry:
    """A snapshot that lies on this unit."""

    path: Path
    size_bytes: int
    made_at: str


class Care(Protocol):
    """What an operator asks of the members now and then. The real one is `upkeep.Upkeep`."""

    def compact(self, urls: Sequence[str], revision: int, *, physical: bool) -> int:
        """Forget history below a revision (0: the present one) and return it."""

    def defragment(self, url: str) -> tuple[int, int]:
        """Give free space of one member back to the disk; return its size before and after."""

    def disarm_alarms(self, urls: Sequence[str]) -> int:
        """Take back all alarms; return how many there were."""

    def read_revision(self, url: str) -> int:
        """Return the revision that one member has applied."""

    def add_user(self, urls: Sequence[str], name: str, role: str) -> None:
        """Add a user who comes by certificate, and give it a role that exists."""

    def hash_data(self, url: str, revision: int) -> Fingerprint:
        """Return a hash over one member's data at a revision, 0 for the present one."""


class Workload(Protocol):
    """The engine on this machine and, through its API, the cluster."""

    def install(self, engine: str, supplies: Supplies) -> str:
        """Install the engine of that name if it is not there; return its version."""

    def prepare(self, wanted: Wanted, storage: Path | None) -> Prepared:
        """Make the files on disk say what is wanted, without touching the running engine."""

    def inspect(self, token: str, storage: Path | None) -> EngineFacts:
        """Return what the engine does and what its data directory holds."""

    def look(self, own_url: str, peer_urls: Sequence[str]) -> ClusterView | None:
        """Ask the members, in parallel and for two seconds at most, how the cluster is."""

    def execute(self, step: Step, view: ClusterView | None) -> None:
        """Carry out one step of a plan."""

    def hand_over(self, own_url: str, heir: MemberId) -> None:
        """Give Raft leadership to another member."""

    def ask_removal(self, helper_url: str, leaver: MemberId) -> None:
        """Have a surviving member carry out the removal of this one."""

    def read_lists(self, urls: Sequence[str]) -> Mapping[str, frozenset[MemberId] | None]:
        """Return the member list as each survivor has applied it."""

    def stop(self) -> None:
        """Stop the engine cleanly and keep it stopped."""

    def renew_certificates(self) -> None:
        """Issue this unit's own certificates anew when the files are next prepared."""

    @property
    def care(self) -> Care:
        """What an operator asks of the members now and then."""

    def pack_debug(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write a support bundle with these texts, without secrets."""

    def adopt_data(self, token: str) -> None:
        """Make the data of another cluster this one's; its next start is alone."""

    def pause(self, *, paused: bool) -> None:
        """Remember whether an operator wants the engine stopped."""

    def remember_leaving(self) -> None:
        """Remember that this unit is off the member list."""

    def remove(self) -> None:
        """Take the engine's service and the keys off the machine."""

    def load_absences(self) -> tuple[tuple[MemberId, int], ...]:
        """Return since when units of members have been missing, as remembered here."""

    def save_absences(self, absences: tuple[tuple[MemberId, int], ...]) -> None:
        """Remember since when units of members have been missing."""

    def schedule_wake(self, unit: str, after_s: int, reason: str) -> None:
        """Have this unit run a hook of its own after a while."""

    def rest(self, seconds: float) -> None:
        """Let time pass inside a hook, between two tries."""

    def save_snapshot(self, own_url: str, target: Path, label: str) -> SnapshotFile:
        """Write a snapshot of the cluster's data and return its checksum."""

    def prepare_restore(
        self, wanted: Wanted, storage: Path | None, options: RestoreOptions
    ) -> RestoreReport:
        """Make the new data beside the present data, and prove it; nothing stops."""

    def verify_snapshot(self, wanted: Wanted, storage: Path | None, source: Path) -> Proof:
        """Start a throw-away member on a snapshot; return what it says of its data."""

    def drop_snapshots(self, target: Path, kept: int) -> None:
        """Delete all but the newest snapshots in a folder."""

    def list_snapshots(self, target: Path) -> tuple[SnapshotEntry, ...]:
        """Return the snapshots in a folder, the newest first."""

    def read_restore(self) -> RestoreReport:
        """Return how far the last restore on this machine came."""

    def read_revision(self, urls: Sequence[str]) -> int:
        """Return the revision of the key space, 0 if nobody answers."""

    def write_private(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write a file that only its owner, the login user, can read."""
