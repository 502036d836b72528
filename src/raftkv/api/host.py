"""What the API needs of the driver around the replica; the border between api and server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from etcdwire import errors
from etcdwire.errors import ApiError
from etcdwire.hot import HeaderEncoder
from raftkv.api.figures import Figures
from raftkv.replica.effects import Rejected, Rejection
from raftkv.replica.leases import LeaseAsks
from raftkv.replica.machine import Machine
from raftkv.replica.views import FollowerProgress
from raftkv.store.range_cache import RangeCache
from raftkv.values import ClusterId, Index, MemberId, Membership, MembershipChange, Term

T = TypeVar("T")


class Token(Protocol):
    """A request under way; the driver brings back what became of it."""

    def applied(self, result: object) -> None:
        """The command was applied with this result."""

    def ready(self) -> None:
        """A linearizable read may be answered now; a membership change took effect."""

    def rejected(self, rejection: Rejected) -> None:
        """There is no result."""


class Logins(Protocol):
    """How users prove who they are: the tokens of one member."""

    def user_of(self, token: str) -> str | None:
        """The user behind a token, None when it is unknown or over."""

    def issue(self, name: str, credential_revision: int, answer: Callable[[object], None]) -> None:
        """Make a token for a user whose password was right.

        ``answer`` gets the token's text, or the ``ApiError`` that stands in its place.
        """


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that an operator may set."""

    max_txn_ops: int
    max_request_bytes: int
    quota_bytes: int


class Passwords(Protocol):
    """Checks of passwords against their slow hashes."""

    def check(
        self,
        host: Any,
        password: str,
        hashed: bytes,
        done: Callable[[bool], None],
        is_wanted: Callable[[], bool] = ...,
    ) -> None:
        """Call ``done`` with whether the password belongs to the stored hash.

        ``is_wanted`` is asked on another thread when its turn comes: nothing is hashed for a caller
        who has gone meanwhile.

        Raises:
            UnavailableError: too many checks are waiting.
        """


class Recheckable(Protocol):
    """Something open that rests on a user's rights."""

    def recheck(self) -> None:
        """Users or roles changed: end what is no longer allowed."""


class Host(Protocol):
    """The member as its API sees it."""

    machine: Machine
    figures: Figures
    headers: HeaderEncoder
    limits: Limits
    cluster_id: ClusterId
    member_id: MemberId
    name: str
    advertised_urls: tuple[str, ...]
    """Where clients reach this member."""
    enable_v2: bool
    enable_gateway: bool
    strict_reconfig: bool
    range_cache: RangeCache
    new_voters_wait: bool
    """Whether a member that is added as a voter first catches up as a learner."""
    logins: Logins
    bcrypt_cost: int
    passwords: Passwords
    lease_ttl_min_s: int
    watch_streams: set[Recheckable]
    """Open Watch calls: they end when their user loses the right to them."""

    @property
    def term(self) -> Term:
        """The current Raft term."""

    @property
    def leader_id(self) -> MemberId:
        """The known leader, 0 when none."""

    @property
    def membership(self) -> Membership:
        """The applied membership."""

    def peer_trouble(self, member_id: MemberId) -> str:
        """Why a member cannot be reached; empty when it can."""

    @property
    def commit_index(self) -> Index:
        """The committed index."""

    @property
    def log_start(self) -> Index:
        """The last index that is no longer in the log."""

    @property
    def applied_index(self) -> Index:
        """The applied index."""

    @property
    def is_learner(self) -> bool:
        """Whether this member has no vote."""

    @property
    def is_full(self) -> bool:
        """Whether the backend uses more than its quota."""

    @property
    def pending_proposals_count(self) -> int:
        """Batches of this member's own clients without a result yet."""

    @property
    def now_ms(self) -> int:
        """Wall clock, milliseconds."""

    def progress(self) -> dict[MemberId, FollowerProgress]:
        """Followers as the leader sees them."""

    def size_bytes(self) -> int:
        """Size of the backend's file."""

    def used_bytes(self) -> int:
        """Bytes of it in use."""

    def propose(self, command: bytes, token: Token) -> None:
        """Replicate and apply one command."""

    def read(self, token: Token) -> None:
        """Call ``token.ready`` when a linearizable read may be answered."""

    def ask_lease(self, kind: LeaseAsks, lease_id: int, token: Token) -> None:
        """Ask the leader about a lease; ``token.applied`` gets a ``LeaseAnswer``."""

    def new_lease_id(self) -> int:
        """A random id: positive, 63 bits."""

    def change_membership(self, change: MembershipChange, token: Token) -> None:
        """Propose one membership change."""

    def transfer_leadership(self, to: MemberId, token: Token) -> None:
        """Hand leadership to another member."""

    def export_snapshot(self, deliver: Callable[[SnapshotSource | ApiError], None]) -> None:
        """Flush, then hand over a snapshot file in etcd's form, or why there is none."""

    def when_forgotten(self, done: Callable[[], None]) -> None:
        """Call this once what compactions allowed to forget is gone from the backend."""

    def hash_backend(self, done: Callable[[int], None]) -> None:
        """Call this with a checksum of all replicated rows of the backend."""

    def defragment(self, done: Callable[[ApiError | None], None]) -> None:
        """Rewrite the backend's file without its free pages; then call this."""

    def run_aside(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Do slow arithmetic on another thread, then call ``done`` on the loop.

        Raises:
            UnavailableError: too much of it is waiting already.
        """

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Run something later on the loop."""


class SnapshotSource(Protocol):
    """A snapshot being read."""

    size_bytes: int

    def next_chunk(self) -> bytes | None:
        """The next piece, None at the end."""

    def close(self) -> None:
        """Release the view."""


_REJECTIONS: dict[Rejection, ApiError] = {
    Rejection.NO_LEADER: errors.NO_LEADER,
    Rejection.LEADER_CHANGED: errors.TIMEOUT,
    Rejection.OVERLOADED: errors.TOO_MANY_REQUESTS,
    Rejection.REMOVED: errors.STOPPED,
    Rejection.TRANSFER_FAILED: errors.TIMEOUT_LEADER_TRANSFER,
}
_CHANGE_REFUSALS: dict[str, ApiError] = {
    "member exists": errors.MEMBER_EXISTS,
    "member was removed": errors.MEMBER_EXISTS,
    "member not found": errors.MEMBER_NOT_FOUND,
    "peer URL exists": errors.PEER_URL_EXISTS,
    "member is not a learner": errors.MEMBER_NOT_LEARNER,
    "learner is not in sync with the leader": errors.LEARNER_NOT_READY,
    "too many learners": errors.TOO_MANY_LEARNERS,
    "last voter": errors.MEMBER_NOT_ENOUGH_STARTED,
    "another change is in flight": errors.UNHEALTHY_CLUSTER,
}


def error_of(rejection: Rejected) -> ApiError:
    """The answer that stands for a rejection."""
    if rejection.reason is Rejection.INVALID_CHANGE:
        return _CHANGE_REFUSALS.get(rejection.detail, errors.UNHEALTHY_CLUSTER)
    return _REJECTIONS[rejection.reason]
