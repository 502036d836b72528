"""Everything that can happen to a replica. One class per kind; see ``step``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from raftkv.raft.messages import Message
from raftkv.replica.leases import LeaseQuestion
from raftkv.values import Index, MemberId, MembershipChange, Term

_NO_INDEX = Index(0)
_NO_TERM = Term(0)


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick of the logical clock (production: a tenth of the election timeout or less).

    ``clock_ms`` is a clock that leases are measured by; it need not be the same on all members,
    and a jump of it is noticed.
    """

    clock_ms: int = 0


@dataclass(frozen=True, slots=True)
class PeerMessage:
    """A message of a peer whose identity the transport has checked."""

    sender: MemberId
    message: Message


@dataclass(frozen=True, slots=True)
class Propose:
    """Commands of this member's clients, gathered in one loop turn.

    ``tokens[i]`` is opaque to the replica and comes back with the result of ``commands[i]``.
    """

    commands: Sequence[bytes]
    tokens: Sequence[object]


@dataclass(frozen=True, slots=True)
class ProposeMembership:
    """One membership change asked of this member; the token comes back with the outcome."""

    change: MembershipChange
    token: object


@dataclass(frozen=True, slots=True)
class Read:
    """Linearizable reads gathered in one loop turn; tokens come back in ``reads_ready``."""

    tokens: Sequence[object]


@dataclass(frozen=True, slots=True)
class AskLeases:
    """Questions about leases, gathered in one loop turn."""

    questions: Sequence[LeaseQuestion]


@dataclass(frozen=True, slots=True)
class Persisted:
    """Every ``Persist`` effect up to and including this sequence is on stable storage."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Synced:
    """The backend holds, durably, the effect of all entries up to ``index``."""

    index: Index


@dataclass(frozen=True, slots=True)
class SnapshotInstalled:
    """The backend was replaced by the snapshot named in an ``InstallSnapshot`` effect.

    ``state`` is the replica's own state (``Replica.encode_state``) inside that snapshot.
    """

    index: Index
    term: Term
    state: bytes


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """Streaming a snapshot to a follower ended; ``ok`` tells whether it was accepted."""

    to: MemberId
    index: Index
    ok: bool


@dataclass(frozen=True, slots=True)
class TransferLeadership:
    """Hand leadership to ``to``; the token comes back when it moved or the attempt timed out."""

    to: MemberId
    token: object


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The transport lost its connection to this peer: go back to probing it."""

    member_id: MemberId


@dataclass(frozen=True, slots=True)
class Gone:
    """This peer's process has ended: its connections broke in both directions, and its host then
    refused a new one. Silence is not enough, a machine or a network may just be slow.
    """

    member_id: MemberId


@dataclass(frozen=True, slots=True)
class PeerLevel:
    """A member told on connecting what it understands; see ``levels``."""

    member_id: MemberId
    level: int


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """All rows were read again, as they were at this index; see ``divergence``."""

    index: Index
    compacted: int
    digest: int


Input = (
    Tick
    | PeerMessage
    | Propose
    | ProposeMembership
    | Read
    | AskLeases
    | Persisted
    | Synced
    | SnapshotInstalled
    | SnapshotSent
    | TransferLeadership
    | Unreachable
    | Gone
    | PeerLevel
    | Scrubbed
)


@dataclass(frozen=True, slots=True)
class Boot:
    """What a replica starts from.

    ``applied``/``applied_term``/``state`` are what the backend holds durably (its last flushed
    transaction); ``entries`` are all entries of the log after ``log_start`` in order, where
    ``log_start``/``log_start_term`` is the last index trimmed from the log (<= applied).
    ``incarnation`` grows with each start of this member on this disk: it makes the numbers of
    its proposals unique, so that a duplicated or delayed batch is never applied twice.
    """

    member_id: MemberId
    incarnation: int
    hard_state: tuple[int, int, int] = (0, 0, 0)
    log_start: Index = _NO_INDEX
    log_start_term: Term = _NO_TERM
    entries: Sequence[object] = field(default_factory=tuple)
    applied: Index = _NO_INDEX
    applied_term: Term = _NO_TERM
    state: bytes = b""
