"""What members say to each other: one class per kind.

Every message of the algorithm carries the sender's ``term``. Messages that only ask a service of
the leader (``Forward``, ``ReadIndex``, ``TransferRequest`` and their answers) carry none: they
are valid in any term, and 0 tells the core not to compare.

How they look on the wire is known by ``replica.peer_codec`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from raftkv.values import Entry, EntryKind, Index, MemberId, Term

NO_TERM = Term(0)


@dataclass(frozen=True, slots=True)
class PreVote:
    """Would you vote for me in ``term`` (one above mine)? Changes nobody's state (thesis 9.6)."""

    term: Term
    last_index: Index
    last_term: Term


@dataclass(frozen=True, slots=True)
class PreVoteReply:
    """Granted: ``term`` is the asked one. Refused: ``term`` is the answering member's own."""

    term: Term
    is_granted: bool


@dataclass(frozen=True, slots=True)
class Vote:
    """Vote for me in ``term``. Leaves only after the candidate's own vote is on disk."""

    term: Term
    last_index: Index
    last_term: Term
    is_transfer: bool
    """The old leader asked for this election: a living leader does not stand in the way."""


@dataclass(frozen=True, slots=True)
class VoteReply:
    """The answer; a granted vote leaves only after it is on disk."""

    term: Term
    is_granted: bool


@dataclass(frozen=True, slots=True)
class Append:
    """Entries that follow on ``prev_index``; none tells only the commit index."""

    term: Term
    prev_index: Index
    prev_term: Term
    commit: Index
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class AppendReply:
    """Everything up to ``match`` equals the leader's log and is on this member's disk."""

    term: Term
    match: Index


@dataclass(frozen=True, slots=True)
class AppendRejected:
    """My log has no entry ``prev_index`` with that term; try at or before the hint."""

    term: Term
    prev_index: Index
    hint_index: Index
    hint_term: Term


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """I am still the leader. ``round_id`` counts read rounds of this term; 0 is none."""

    term: Term
    commit: Index
    round_id: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything up to ``commit`` is committed, and the leader knows that you hold it.

    Sent when no entries are due that would carry the commit index; nobody answers it.
    """

    term: Term
    commit: Index


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """You still are, as far as I know."""

    term: Term
    round_id: int


@dataclass(frozen=True, slots=True)
class StaleTerm:
    """You speak in an old term; mine is ``term``.

    Without it a member that reached a higher term while cut off could never rejoin: a leader
    with pre-vote and stickiness would ignore it for ever (etcd: the empty append response).
    """

    term: Term


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The driver received the state at ``index`` for this member and has verified the file."""

    term: Term
    index: Index
    snapshot_term: Term


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """You hold all entries: campaign at once (thesis 3.10)."""

    term: Term


@dataclass(frozen=True, slots=True)
class Forward:
    """A batch of the sender's clients for the leader, already encoded as entry data."""

    term: ClassVar[Term] = NO_TERM
    kind: EntryKind
    data: bytes


@dataclass(frozen=True, slots=True)
class ForwardRefused:
    """The forwarded batch was not appended here. ``reason`` is a name of ``Rejection``."""

    term: ClassVar[Term] = NO_TERM
    incarnation: int
    sequence: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ReadIndex:
    """From which index on may I answer linearizable reads? ``context`` comes back."""

    term: ClassVar[Term] = NO_TERM
    context: int


@dataclass(frozen=True, slots=True)
class ReadIndexReply:
    """Answer as soon as ``index`` is applied."""

    term: ClassVar[Term] = NO_TERM
    context: int
    index: Index


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """Please hand leadership to this member."""

    term: ClassVar[Term] = NO_TERM
    target: MemberId


@dataclass(frozen=True, slots=True)
class LeaseAsk:
    """Questions of the sender's clients about leases: (kind, lease id) of each."""

    term: ClassVar[Term] = NO_TERM
    sequence: int
    rows: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class LeaseReply:
    """(seconds left, seconds granted) of each question; none at all: ask the leader."""

    term: ClassVar[Term] = NO_TERM
    sequence: int
    rows: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """What I applied up to ``index``: a checksum chained over it since ``origin``."""

    term: ClassVar[Term] = NO_TERM
    index: int
    origin: int
    chain: int


@dataclass(frozen=True, slots=True)
class RowsMark:
    """What my disk holds of the keys at ``index``: the hash over its rows, read again.

    ``compacted``: the last compaction, which decides what rows count.
    """

    term: ClassVar[Term] = NO_TERM
    index: int
    compacted: int
    digest: int


@dataclass(frozen=True, slots=True)
class Diverged:
    """Your state at ``index`` is not what a majority has: stop, and keep your files."""

    term: ClassVar[Term] = NO_TERM
    index: int


Message = (
    PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Append
    | AppendReply
    | AppendRejected
    | Heartbeat
    | Commit
    | HeartbeatReply
    | StaleTerm
    | Snapshot
    | TimeoutNow
    | Forward
    | ForwardRefused
    | ReadIndex
    | ReadIndexReply
    | TransferRequest
    | LeaseAsk
    | LeaseReply
    | Mark
    | RowsMark
    | Diverged
)
