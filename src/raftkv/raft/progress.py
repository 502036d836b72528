"""What the leader believes about one follower.

Three states (etcd's tracker, thesis 10.2.1):

========= ============================================ ===============================
state     what the leader sends                        left when
========= ============================================ ===============================
PROBE     one message, then waits for an answer        acknowledged → REPLICATE
          or a heartbeat reply: the match is unknown   trimmed entries needed → SNAPSHOT
REPLICATE all it has, up to the window: optimistic     rejected, unreachable → PROBE
SNAPSHOT  nothing: the state is on its way             done, failed, or caught up → PROBE
========= ============================================ ===============================

Invariant: 0 <= match < next. All changes of these fields happen in this file.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from raftkv.raft.inflights import Inflights
from raftkv.raft.messages import Append
from raftkv.raft.settings import RaftSettings
from raftkv.values import NO_MEMBER, Index, MemberId


class ProgressState(enum.Enum):
    """See the table above."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One follower, as the leader sees it."""

    __slots__ = (
        "hold_index",
        "inflights",
        "is_active",
        "is_probe_sent",
        "match",
        "next",
        "sent_commit",
        "snapshot_index",
        "state",
        "was_active",
    )

    def __init__(self, settings: RaftSettings, next_index: int) -> None:
        self.match = 0
        """Highest index known to be on the follower's disk and equal to ours."""
        self.next = next_index
        """The next entry to send; in REPLICATE it runs ahead of what is acknowledged."""
        self.state = ProgressState.PROBE
        self.is_active = False
        """Heard from since the last quorum check."""
        self.was_active = False
        """Heard from between the last two quorum checks."""
        self.is_probe_sent = False
        """PROBE only: wait for an answer before sending again."""
        self.snapshot_index = 0
        """SNAPSHOT only: leave when the follower's match reaches this."""
        self.hold_index = 0
        """SNAPSHOT only: entries after this should not be trimmed meanwhile."""
        self.sent_commit = 0
        """The highest commit index that the messages sent let the follower use: each advance is
        told once. A lost message is made good by the next heartbeat."""
        self.inflights = Inflights(settings.max_inflight_messages, settings.max_inflight_bytes)

    @property
    def needed_after(self) -> int | None:
        """The index after which entries are still to be sent; None for a follower not heard from.

        On a snapshot: what follows on it. Probed: what the next probe starts from. A follower that
        answered neither since the last quorum check nor before it is not waited for.
        """
        if self.state is ProgressState.SNAPSHOT:
            return self.hold_index
        if not (self.is_active or self.was_active):
            return None
        return self.match if self.state is ProgressState.REPLICATE else self.next - 1

    @property
    def is_paused(self) -> bool:
        """Nothing may be sent now."""
        if self.state is ProgressState.REPLICATE:
            return self.inflights.is_full
        return self.state is ProgressState.SNAPSHOT or self.is_probe_sent

    def become_probe(self) -> None:
        """Go back to asking where the logs agree."""
        self.state = ProgressState.PROBE
        self.next = self.match + 1
        self._reset_flow()

    def become_replicate(self) -> None:
        """The match is known: stream."""
        self.state = ProgressState.REPLICATE
        self.next = self.match + 1
        self._reset_flow()

    def become_snapshot(self, snapshot_index: Index) -> None:
        """The follower needs entries that are gone; wait until the state has arrived."""
        self.state = ProgressState.SNAPSHOT
        self._reset_flow()
        self.snapshot_index = snapshot_index
        self.hold_index = snapshot_index

    def end_snapshot(self, index: Index, *, is_accepted: bool) -> None:
        """Streaming ended. Probe after it, but only once the follower shows life again."""
        if self.state is not ProgressState.SNAPSHOT:
            return
        self.become_probe()
        if is_accepted:
            self.next = max(self.next, index + 1)
        self.is_probe_sent = True

    def acknowledge(self, match: Index) -> bool:
        """Take an acknowledgement; True when it told anything new."""
        if match >= self.next:
            self.next = match + 1
        if match <= self.match:
            return False
        self.match = match
        self.is_probe_sent = False
        return True

    def reject(self, rejected: Index, hint: Index) -> bool:
        """Take a rejection of the entry before ``next``; False when it is an old one."""
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.become_probe()
            return True
        if self.next - 1 != rejected:
            return False
        self.next = max(min(rejected, hint + 1), self.match + 1)
        self.is_probe_sent = False
        return True

    def note_sent(self, message: Append) -> None:
        """Account for an append message that was sent."""
        entries = message.entries
        last = message.prev_index + len(entries)
        self.sent_commit = max(self.sent_commit, min(message.commit, last))
        if self.state is not ProgressState.REPLICATE:
            self.is_probe_sent = True
        elif entries:
            self.next = last + 1
            size_bytes = 0
            for entry in entries:
                size_bytes += len(entry.data)
            self.inflights.add(last, size_bytes)

    def _reset_flow(self) -> None:
        self.is_probe_sent = False
        self.snapshot_index = 0
        self.hold_index = 0
        self.inflights.clear()


def find_successor(voters: Iterable[MemberId], progress: Mapping[MemberId, Progress]) -> MemberId:
    """Return the voter that holds most of the log, one heard lately before one that was not."""
    best, best_rank = NO_MEMBER, (False, 0)
    for voter in voters:
        known = progress.get(voter)
        if known is not None and (known.is_active, known.match) > best_rank:
            best, best_rank = voter, (known.is_active, known.match)
    return best
