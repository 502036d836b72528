"""What a replica wants done after one step. The driver carries it out, in any order it likes.

Order that must hold: ``persist`` requests reach the disk in their sequence; messages to one peer
leave in list order. Nothing here waits for anything else: what must wait for the disk is only
emitted by the step that takes the matching ``Persisted``.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from raftkv.raft.messages import Message
from raftkv.raft.outputs import LogWrite
from raftkv.replica.leases import LeaseAnswer
from raftkv.values import Index, MemberId, Term


class Rejection(enum.Enum):
    """Why a proposal or read got no result."""

    NO_LEADER = "no leader"
    """Certainly not applied: nothing left this member."""
    LEADER_CHANGED = "leader changed"
    """Unknown: it may still be applied, or never."""
    OVERLOADED = "too many requests"
    """Certainly not applied."""
    REMOVED = "member removed"
    """This member is no longer part of the cluster."""
    TRANSFER_FAILED = "leadership transfer failed"
    INVALID_CHANGE = "membership change refused"
    """The reason stands in ``detail``."""


Persist = LogWrite
"""Write to the log, then answer ``Persisted(sequence)``. The core makes it; it is handed on as
is, because one object per batch is saved on the hot path."""


@dataclass(frozen=True, slots=True)
class InstallSnapshot:
    """Replace the backend by the received snapshot that ends here, then ``SnapshotInstalled``.

    Until then nothing is applied. The snapshot must be durable before that answer.
    """

    index: Index
    term: Term


@dataclass(frozen=True, slots=True)
class Send:
    """One message for one peer."""

    to: MemberId
    message: Message


@dataclass(frozen=True, slots=True)
class SendSnapshot:
    """This follower needs more than the log holds: stream the backend's state to it.

    The driver sends a snapshot of any applied index >= ``at_least`` and answers ``SnapshotSent``.
    """

    to: MemberId
    at_least: Index
    term: Term


@dataclass(frozen=True, slots=True)
class Rejected:
    """No result for these tokens."""

    tokens: Sequence[object]
    reason: Rejection
    detail: str = ""


@dataclass(slots=True)
class Effects:
    """The union of what one or several steps want done."""

    persist: list[Persist] = field(default_factory=list)
    send: list[Send] = field(default_factory=list)
    send_snapshot: list[SendSnapshot] = field(default_factory=list)
    install_snapshot: InstallSnapshot | None = None
    replies: list[tuple[Sequence[object], Sequence[object]]] = field(default_factory=list)
    """(tokens, results) of one applied batch of this member's own proposals."""
    rejected: list[Rejected] = field(default_factory=list)
    reads_ready: list[object] = field(default_factory=list)
    membership_done: list[object] = field(default_factory=list)
    """Tokens of this member's own membership changes and transfers that took effect."""
    lease_answers: list[tuple[object, LeaseAnswer]] = field(default_factory=list)
    """(token, answer) of this member's own questions."""
    propose: list[bytes] = field(default_factory=list)
    """Commands that this member itself wants proposed; nobody waits for their results."""
    applied: Index | None = None
    """Set when the applied index moved in this step."""
    trim_log_to: Index | None = None
    """The log may drop everything up to and including this index."""
    membership_changed: bool = False
    leadership_changed: bool = False
    removed: bool = False
    """This member was removed: answer what is pending, then stop for good."""
    diverged_at: int = 0
    """A majority has another state than this member at this index: stop now, keep all files."""
