"""Finding a member whose state differs, and telling who is wrong.

Every member chains a checksum over what it applied (``StateMachine.chain``) and tells the leader
of it, at most once per tick, as a ``Mark``. The leader compares with its own chain at the same
index. A chain never comes back once it differs, so one mark settles everything before it:

- a majority that agrees with the leader: who differs stops (``Diverged``) and keeps its files;
- a majority that agrees with each other but not with the leader: the leader stops;
- no majority yet: nobody can tell who is right. After a while the alarm CORRUPT is raised, which
  ends writes until an operator has looked (etcd raises it at the first difference).

Chains that began at different indexes say nothing about each other.

A chain covers what was written, not what became of it on the disk. So now and then the leader
proposes a scrub: every member reads its rows again, slowly, and what it then says (``RowsMark``) is
judged in the same way. There the last compaction is the origin: it decides what rows count.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from raftkv.raft.messages import Mark
from raftkv.values import MemberId

RING_SIZE: Final = 8192
"""Entries that a follower may lag behind the leader and still be compared."""
SCRUBS_KEPT: Final = 4
KEPT_MARKS: Final = 64
PATIENCE_ELECTIONS: Final = 5
"""Election timeouts to wait for a majority before the alarm."""


@dataclass(slots=True)
class Verdict:
    """What the leader knows for sure."""

    wrong: dict[MemberId, int] = field(default_factory=dict)
    """The first index known to differ, by member."""
    undecided: list[MemberId] = field(default_factory=list)


@dataclass(slots=True)
class _Told:
    """What one member told while this one led."""

    agreed: int = 0
    """Highest index at which it had the leader's chain."""
    marks: dict[int, int] = field(default_factory=dict)
    """The last marks that differ, by index."""


class Divergence:
    """This member's recent chain, and as leader what others said of theirs."""

    __slots__ = ("_early", "_ring", "_sent", "_told", "_undecided_ticks", "last")

    def __init__(self, ring_size: int = RING_SIZE) -> None:
        self._ring: list[tuple[int, int, int]] = [(0, 0, 0)] * ring_size
        self.last = 0
        """The index noted last."""
        self._early: dict[MemberId, Mark] = {}
        """Marks of members that were faster than this leader."""
        self._told: dict[MemberId, _Told] = {}
        self._sent = (0, 0)
        self._undecided_ticks = 0

    def note(self, index: int, origin: int, chain: int) -> None:
        """This member applied an entry."""
        self._ring[index % len(self._ring)] = (index, origin, chain)
        self.last = index
        if self._early:
            early, self._early = self._early, {}
            for member, mark in early.items():
                self.receive(member, mark)

    def forget_others(self) -> None:
        """Another term: what was told to this leader, or told by this follower, is void."""
        self._told.clear()
        self._early.clear()
        self._sent = (0, 0)
        self._undecided_ticks = 0

    def next_mark(self, leader: MemberId) -> Mark | None:
        """What to tell the leader; None when it knows."""
        if self._sent == (self.last, leader):
            return None
        self._sent = (self.last, leader)
        return Mark(*self._ring[self.last % len(self._ring)])

    def receive(self, sender: MemberId, mark: Mark) -> None:
        """A member told its chain."""
        if mark.index > self.last:
            self._early[sender] = mark
            return
        index, origin, chain = self._ring[mark.index % len(self._ring)]
        if index != mark.index or origin != mark.origin:
            return
        told = self._told.setdefault(sender, _Told())
        if chain == mark.chain:
            # It may have been rebuilt meanwhile: the latest word counts.
            told.agreed = max(told.agreed, index)
            told.marks.clear()
            return
        told.marks[index] = mark.chain
        if len(told.marks) > KEPT_MARKS:
            del told.marks[min(told.marks)]

    def judge(
        self, me: MemberId, voters: Collection[MemberId], patience_ticks: int
    ) -> Verdict | None:
        """Called by a leader once per tick; None when nobody differs."""
        differing = {member: told for member, told in self._told.items() if told.marks}
        if not differing:
            self._undecided_ticks = 0
            return None
        majority = len(voters) // 2 + 1
        verdict = Verdict()
        for member, told in differing.items():
            first = min(told.marks)
            with_me = {me} | {other for other, said in self._told.items() if said.agreed >= first}
            if len(with_me.intersection(voters)) >= majority:
                verdict.wrong[member] = first
        if not verdict.wrong and self._is_leader_wrong(differing, voters, majority):
            verdict.wrong[me] = min(min(told.marks) for told in differing.values())
        if not verdict.wrong:
            self._undecided_ticks += 1
            if self._undecided_ticks == patience_ticks:
                verdict.undecided = sorted(differing)
        return verdict

    @staticmethod
    def _is_leader_wrong(
        differing: dict[MemberId, _Told], voters: Collection[MemberId], majority: int
    ) -> bool:
        counts: dict[tuple[int, int], int] = {}
        for member, told in differing.items():
            if member in voters:
                for mark in told.marks.items():
                    counts[mark] = counts.get(mark, 0) + 1
        return any(count >= majority for count in counts.values())
