"""A cluster that does nothing by itself: golden scripts move every tick, message and write.

Grammar: one command per line, ``#`` begins a comment.

==================================== =======================================================
``cluster 3 [learners 1] [k=v ...]`` bootstrap members 1..3; settings of ``RaftSettings``
``tick N [times]``                   ticks for member N
``campaign N``                       tick N until it campaigns
``propose N text ...``               one batch of N's clients
``read N label``                     a linearizable read
``change N kind M [wants_vote]``     ADD_VOTER, ADD_LEARNER, PROMOTE, REMOVE of member M
``level N M L``                      N hears that M understands level L
``join M``                           start the empty member M
``transfer N M``                     ask N to hand leadership to M
``gone N M``                         N is sure that M's process has ended
``scrub N INDEX DIGEST``             N has read all rows again, as they were at an index
``deliver [A>B]``                    deliver what is queued now (on one link)
``drop A>B``                         forget what is queued on a link
``isolate N`` / ``rejoin N``         cut N off: what it sends or is sent is lost
``hold N`` / ``release N``           N's disk stops answering / answers all
``sync N``                           what N wrote is on its disk
``flush N``                          the backend of N holds, durably, all that is applied
``snapshot A>B [lost]``              end a wanted transfer of the state
``crash N`` / ``restart N``          lose all that is not on disk / start again
``stabilize``                        deliver and sync until nothing moves
``status`` / ``log N`` / ``members N`` print
==================================== =======================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

from raftkv.lease.lessor import Lessor
from raftkv.raft.messages import Append, Forward, Mark, Message, Snapshot
from raftkv.raft.settings import RaftSettings
from raftkv.replica.effects import Effects, Persist, SendSnapshot
from raftkv.replica.inputs import (
    Boot,
    Gone,
    Input,
    PeerLevel,
    PeerMessage,
    Persisted,
    Propose,
    ProposeMembership,
    Read,
    Scrubbed,
    SnapshotInstalled,
    SnapshotSent,
    Synced,
    Tick,
    TransferLeadership,
)
from raftkv.replica.membership import bootstrap_entries, bootstrap_hard_state
from raftkv.replica.step import Replica
from raftkv.values import (
    Entry,
    Index,
    Member,
    MemberId,
    MembershipChange,
    MembershipChangeKind,
    Term,
)
from tests.simulation.clusters.disk import LogFile


class Journal:
    """A state machine that remembers the commands."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.lessor = Lessor()
        self.chain = 0
        self.chain_origin = 0
        self.level = 1

    def load(self, commands: Sequence[str]) -> None:
        """Start from a state."""
        self.commands = list(commands)
        self.chain = 0
        for command in commands:
            self.chain = crc32(command.encode(), self.chain)

    def apply(
        self,
        index: Index,
        term: Term,
        commands: Sequence[bytes],
        local: bool,
        /,
    ) -> Sequence[object]:
        self.commands += [command.decode() for command in commands]
        for command in commands:
            self.chain = crc32(command, self.chain)
        return [f"{command.decode()}@{index}" for command in commands]


@dataclass
class ScriptedMember:
    """One member and its disk."""

    member_id: int
    log: LogFile = field(default_factory=LogFile)
    incarnation: int = 0
    backend: tuple[int, int, bytes, list[str]] = (0, 0, b"", [])
    replica: Replica | None = None
    machine: Journal = field(default_factory=Journal)
    writes: list[Persist] = field(default_factory=list)
    is_held: bool = False
    is_isolated: bool = False
    wanted: dict[int, SendSnapshot] = field(default_factory=dict)


class ScriptedCluster:
    """Runs commands and collects what they print."""

    def __init__(self) -> None:
        self.members: dict[int, ScriptedMember] = {}
        self.queue: list[tuple[int, int, Message]] = []
        self.lines: list[str] = []
        self.settings = RaftSettings()
        self.shows_marks = False

    def run(self, text: str) -> str:
        """Run one block of commands; return its output."""
        self.lines = []
        for line in text.splitlines():
            words = line.split("#")[0].split()
            if words:
                getattr(self, f"do_{words[0]}")(*words[1:])
        return "\n".join(self.lines) or "ok"

    # ---- commands ----------------------------------------------------------------------

    def do_cluster(self, count: str, *options: str) -> None:
        values = dict(option.split("=") for option in options if "=" in option)
        self.settings = RaftSettings(**{name: int(value) for name, value in values.items()})
        learners = int(options[1]) if options[:1] == ("learners",) else 0
        total = int(count) + learners
        members = [
            Member(MemberId(i), f"m{i}", (f"http://m{i}",), (), is_learner=i > int(count))
            for i in range(1, total + 1)
        ]
        entries = bootstrap_entries(members)
        hard_state = bootstrap_hard_state(total)
        for member in members:
            scripted = ScriptedMember(member.member_id)
            scripted.log.write(Persist(0, hard_state, entries, None, must_sync=True))
            self.members[member.member_id] = scripted
            self._start(scripted)

    def do_join(self, number: str) -> None:
        self.members[int(number)] = ScriptedMember(int(number))
        self._start(self.members[int(number)])

    def do_tick(self, number: str, times: str = "1") -> None:
        for _ in range(int(times)):
            self._step(int(number), Tick())

    def do_campaign(self, number: str) -> None:
        replica = self._replica(int(number))
        for _ in range(3 * self.settings.election_ticks):
            if replica.role.value != "follower":
                return
            self._step(int(number), Tick())
        raise AssertionError("does not campaign")

    def do_propose(self, number: str, *texts: str) -> None:
        self._step(int(number), Propose([text.encode() for text in texts], texts))

    def do_read(self, number: str, label: str) -> None:
        self._step(int(number), Read((f"read {label}",)))

    def do_level(self, number: str, who: str, level: str) -> None:
        self._step(int(number), PeerLevel(MemberId(int(who)), int(level)))

    def do_change(self, number: str, kind: str, target: str, flag: str = "") -> None:
        wants_vote = flag == "wants_vote"
        member = Member(MemberId(int(target)), "", (f"http://m{target}",), wants_vote=wants_vote)
        change = MembershipChange(MembershipChangeKind[kind], member)
        self._step(int(number), ProposeMembership(change, f"{kind} {target}"))

    def do_transfer(self, number: str, to: str) -> None:
        self._step(int(number), TransferLeadership(MemberId(int(to)), f"transfer to {to}"))

    def do_gone(self, number: str, who: str) -> None:
        self._step(int(number), Gone(MemberId(int(who))))

    def do_scrub(self, number: str, index: str, digest: str) -> None:
        self._step(int(number), Scrubbed(Index(int(index)), 0, int(digest)))

    def do_deliver(self, link: str = "") -> None:
        queue, self.queue = self.queue, []
        for sender, to, message in queue:
            if link and link != f"{sender}>{to}":
                self.queue.append((sender, to, message))
                continue
            self._deliver(sender, to, message)

    def do_drop(self, link: str) -> None:
        self.queue = [item for item in self.queue if f"{item[0]}>{item[1]}" != link]

    def do_isolate(self, number: str) -> None:
        self.members[int(number)].is_isolated = True

    def do_rejoin(self, number: str) -> None:
        self.members[int(number)].is_isolated = False

    def do_hold(self, number: str) -> None:
        self.members[int(number)].is_held = True

    def do_release(self, number: str) -> None:
        member = self.members[int(number)]
        member.is_held = False
        self._sync(member)

    def do_sync(self, number: str) -> None:
        self._sync(self.members[int(number)])

    def do_flush(self, number: str) -> None:
        member = self.members[int(number)]
        replica = self._replica(int(number))
        member.backend = (
            replica.applied_index,
            replica.applied_term,
            replica.encode_state(),
            list(member.machine.commands),
        )
        self._step(int(number), Synced(replica.applied_index))

    def do_snapshot(self, link: str, outcome: str = "") -> None:
        sender, to = (int(part) for part in link.split(">"))
        wanted = self.members[sender].wanted.pop(to)
        index, term, _, _ = self.members[sender].backend
        assert index >= wanted.at_least
        if outcome != "lost":
            message = Snapshot(wanted.term, Index(index), Term(term))
            self.members[to].wanted[-1] = wanted
            self._snapshot_from = sender
            self._step(to, PeerMessage(MemberId(sender), message))
        self._step(sender, SnapshotSent(MemberId(to), Index(index), outcome != "lost"))

    def do_crash(self, number: str) -> None:
        member = self.members[int(number)]
        member.replica = None
        member.writes.clear()
        member.is_held = False

    def do_restart(self, number: str) -> None:
        self._start(self.members[int(number)])

    def do_stabilize(self) -> None:
        for _ in range(200):
            for member in self.members.values():
                self._sync(member)
            if not self.queue:
                return
            self.do_deliver()
        raise AssertionError("does not come to rest")

    def do_status(self) -> None:
        for number, member in sorted(self.members.items()):
            replica = member.replica
            if replica is None:
                self.lines.append(f"{number} down")
                continue
            self.lines.append(
                f"{number} {replica.role.value} term={replica.term} leader={replica.leader_id} "
                f"log={replica.log_start + 1}..{replica.last_index} "
                f"commit={replica.commit_index} applied={replica.applied_index}"
            )

    def do_log(self, number: str) -> None:
        log = self.members[int(number)].log
        texts = [_describe_entry(entry) for entry in log.entries]
        self.lines.append(f"{number} disk after {log.start}: {' '.join(texts)}")
        self.lines.append(
            f"{number} applied: {' '.join(self.members[int(number)].machine.commands)}"
        )

    def do_members(self, number: str) -> None:
        view = self._replica(int(number)).membership
        waiting = sorted(i for i, member in view.members.items() if member.wants_vote)
        self.lines.append(
            f"{number} voters={sorted(view.voters)} learners={sorted(view.learners)} "
            f"removed={sorted(view.removed)}"
            + (f" waiting={waiting}" if waiting else "")
            + (f" level={view.level}" if view.level > 1 else "")
        )

    # ---- machinery ---------------------------------------------------------------------

    def _replica(self, number: int) -> Replica:
        replica = self.members[number].replica
        assert replica is not None
        return replica

    def _start(self, member: ScriptedMember) -> None:
        member.incarnation += 1
        index, term, state, commands = member.backend
        member.machine = Journal()
        member.machine.load(commands)
        log = member.log
        hard = log.hard_state
        boot = Boot(
            MemberId(member.member_id),
            member.incarnation,
            (hard.term, hard.vote, hard.commit),
            log.start,
            log.start_term,
            tuple(log.entries),
            Index(index),
            Term(term),
            state,
        )
        member.replica = Replica(self.settings, boot, member.machine, member.member_id)

    def _deliver(self, sender: int, to: int, message: Message) -> None:
        target = self.members.get(to)
        self.lines.append(f"{sender}>{to} {_describe(message)}")
        if target is None or target.replica is None:
            self.lines.append("    lost: not running")
        elif self.members[sender].is_isolated or target.is_isolated:
            self.lines.append("    lost: cut off")
        else:
            self._step(to, PeerMessage(MemberId(sender), message))

    def _step(self, number: int, happened: Input) -> None:
        member = self.members[number]
        replica = self._replica(number)
        before = (replica.role, replica.term)
        effects = replica.step(happened)
        if (replica.role, replica.term) != before:
            self.lines.append(f"    {number} is {replica.role.value} of term {replica.term}")
        member.writes += effects.persist
        for send in effects.send:
            if self.shows_marks or not isinstance(send.message, Mark):
                self.queue.append((number, send.to, send.message))
        self._print_outcomes(number, effects)
        for wanted in effects.send_snapshot:
            member.wanted[wanted.to] = wanted
            self.lines.append(f"    {number} wants to send its state to {wanted.to}")
        if effects.trim_log_to is not None:
            member.log.trim(effects.trim_log_to)
            self.lines.append(f"    {number} trims its log to {effects.trim_log_to}")
        if effects.install_snapshot is not None:
            self._install(member)

    def _install(self, member: ScriptedMember) -> None:
        index, term, state, commands = self.members[self._snapshot_from].backend
        member.backend = (index, term, state, commands)
        member.machine.load(commands)
        self.lines.append(f"    {member.member_id} installs the state at {index}")
        self._step(member.member_id, SnapshotInstalled(Index(index), Term(term), state))

    def _sync(self, member: ScriptedMember) -> None:
        if member.is_held or not member.writes or member.replica is None:
            return
        for write in member.writes:
            member.log.write(write)
        sequence = member.writes[-1].sequence
        member.writes.clear()
        self._step(member.member_id, Persisted(sequence))

    def _print_outcomes(self, number: int, effects: Effects) -> None:
        for _, results in effects.replies:
            self.lines.append(f"    {number} answers {' '.join(str(r) for r in results)}")
        for rejected in effects.rejected:
            tokens = " ".join(str(token) for token in rejected.tokens)
            detail = f": {rejected.detail}" if rejected.detail else ""
            self.lines.append(f"    {number} rejects {tokens}: {rejected.reason.value}{detail}")
        for token in (*effects.reads_ready, *effects.membership_done):
            self.lines.append(f"    {number} finishes {token}")
        if effects.diverged_at:
            self.lines.append(f"    {number} stops: it differs at {effects.diverged_at}")
        if effects.propose:
            self.lines.append(f"    {number} wants to propose {len(effects.propose)} commands")
        if effects.removed:
            self.lines.append(f"    {number} is removed")


def _describe_entry(entry: Entry) -> str:
    if not entry.data:
        return f"{entry.index}/{entry.term}:-"
    return f"{entry.index}/{entry.term}:{entry.kind.name[0]}"


def _describe(message: Message) -> str:
    name = type(message).__name__
    if isinstance(message, Append):
        entries = " ".join(_describe_entry(entry) for entry in message.entries)
        return (
            f"Append term={message.term} prev={message.prev_index}/{message.prev_term} "
            f"commit={message.commit} [{entries}]"
        )
    if isinstance(message, Forward):
        return f"Forward {message.kind.name.lower()}"
    fields = [f for f in message.__slots__ if f != "term"]
    values = " ".join(f"{f}={getattr(message, f)}" for f in fields)
    term = f" term={message.term}" if message.term else ""
    return f"{name}{term} {values}".rstrip()
