"""``Replica.step``: one input in, the wanted effects out. The heart of the daemon.

A step has three parts. First every input is taken: messages go to the Raft core, proposals are
encoded and appended or forwarded, reads are gathered. Then everything committed is applied, in
order. Then, once for all inputs of the step, comes what costs a message or a write: appends to
followers, the read round, the write to the log. So whatever arrives in one loop turn shares one
entry, one message per follower and one sync.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from etcdwire.messages import AlarmType
from raftkv.raft.chance import Chance
from raftkv.raft.leader import Leader
from raftkv.raft.messages import (
    Diverged,
    Forward,
    ForwardRefused,
    LeaseAsk,
    LeaseReply,
    Mark,
    ReadIndex,
    ReadIndexReply,
    RowsMark,
    TransferRequest,
)
from raftkv.raft.read_index import ReadRequest
from raftkv.raft.settings import RaftSettings
from raftkv.replica.appending import Refusal, append_batch
from raftkv.replica.apply import StateMachine
from raftkv.replica.applying import Applier
from raftkv.replica.batch import decode_header, encode_batch
from raftkv.replica.booting import boot_core
from raftkv.replica.commands import CommandKind, encode_alarm
from raftkv.replica.divergence import PATIENCE_ELECTIONS, SCRUBS_KEPT, Divergence
from raftkv.replica.effects import (
    Effects,
    InstallSnapshot,
    Rejected,
    Rejection,
    Send,
    SendSnapshot,
)
from raftkv.replica.inputs import (
    AskLeases,
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
    Unreachable,
)
from raftkv.replica.leases import LeaseAnswer, LeaseRound, Leases, Rows
from raftkv.replica.levels import LEVEL, find_level
from raftkv.replica.membership import encode_change
from raftkv.replica.newcomers import Newcomers
from raftkv.replica.proposals import PendingBatch, Proposals
from raftkv.replica.reads import Reads
from raftkv.replica.transfers import Transfers
from raftkv.replica.trimming import find_trim_index
from raftkv.replica.views import ReplicaViews
from raftkv.values import (
    NO_MEMBER,
    EntryKind,
    Index,
    MemberId,
    MembershipChange,
    MembershipChangeKind,
)


class Replica(ReplicaViews):
    """One member: Raft core, state machine, and everything that has a token.

    ``encode_state`` belongs to ``applied_index`` as they are between two steps: the driver takes
    both at once and stores them in one transaction with the state machine's rows.
    """

    __slots__ = (
        "_ask_level_at",
        "_effects",
        "_handlers",
        "_incarnation",
        "_is_tick",
        "_leadership",
        "_leases",
        "_level",
        "_levels",
        "_newcomers",
        "_reads",
        "_scrubs",
        "_settings",
        "_synced",
        "_tick",
        "_transfers",
        "has_put_off",
    )

    def __init__(
        self,
        settings: RaftSettings,
        boot: Boot,
        machine: StateMachine,
        seed: int,
        lease_extra_ms: int = 1000,
        level: int = LEVEL,
    ) -> None:
        """``lease_extra_ms``: one election time-out; see ``lease.clock``. ``level``: what this
        member understands.
        """
        self.member_id = boot.member_id
        self._settings = settings
        self._incarnation = boot.incarnation
        self._effects = Effects()
        self._proposals = Proposals(self._lose)
        self._reads = Reads(boot.incarnation)
        self._leases = Leases(lambda: machine.lessor, lease_extra_ms, boot.incarnation)
        self._transfers = Transfers(2 * settings.election_ticks)
        self._newcomers = Newcomers(settings.newcomer_ticks)
        self._scrubs = Divergence(SCRUBS_KEPT)
        self._level = level
        self._ask_level_at = 0
        self._levels: dict[MemberId, int] = {}
        """What the others said they understand."""
        self._tick = 0
        self._is_tick = False
        self.has_put_off = False
        """Whether the last step left something to be applied by one without inputs."""
        self._synced: int = boot.applied
        self._handlers: dict[type, Callable[[Any], None]] = {
            Tick: self._take_tick,
            PeerMessage: self._take_peer_message,
            Propose: self._take_propose,
            ProposeMembership: self._take_propose_membership,
            Read: self._take_read,
            AskLeases: self._take_ask_leases,
            Persisted: self._take_persisted,
            Synced: self._take_synced,
            SnapshotInstalled: self._take_snapshot_installed,
            SnapshotSent: self._take_snapshot_sent,
            TransferLeadership: self._take_transfer,
            Unreachable: self._take_unreachable,
            Gone: self._take_gone,
            PeerLevel: self._take_peer_level,
            Scrubbed: self._take_scrubbed,
        }
        self._core = boot_core(settings, boot, Chance(seed))
        self._leadership = (NO_MEMBER, self._core.state.term)
        self._applier = Applier(
            self._core, machine, self._proposals, boot.incarnation, boot.applied_term, level
        )
        self._applier.load_state(boot.state, self._effects)
        # A member must not campaign before it has applied what it knows to be committed:
        # the configuration of an election is the applied one.
        self._applier.apply_committed(self._effects)

    # ---- the step --------------------------------------------------------------------

    def step(self, happened: Input) -> Effects:
        """Take one input."""
        self._handlers[type(happened)](happened)
        return self._finish()

    def step_many(self, inputs: Sequence[Input], *, may_put_off: bool = False) -> Effects:
        """Take several inputs as one step: they share messages and the write to the log.

        Args:
            inputs: in the order in which they came.
            may_put_off: a follower need not apply what is committed in this step; another one
                without inputs follows, when its answer to the leader is on its way (ADR 18).
        """
        handlers = self._handlers
        for happened in inputs:
            handlers[type(happened)](happened)
        return self._finish(may_put_off=may_put_off)

    def _finish(self, *, may_put_off: bool = False) -> Effects:
        core = self._core
        state = core.state
        log = state.log
        outputs = state.outputs
        puts_off = may_put_off and type(core.role) is not Leader
        self.has_put_off = puts_off and log.applied < log.commit
        if log.applied < log.commit and not puts_off:
            self._applier.apply_committed(self._effects)
        has_reads = not self._reads.is_idle
        if has_reads:
            self._confirm_reads()
            self._ask_reads()
        role = core.role
        if type(role) is Leader:
            role.broadcast()
            role.start_read_round()
        write = core.take_write(is_tick=self._is_tick)
        if log.applied < log.commit and not puts_off:
            self._applier.apply_committed(self._effects)
        effects = self._effects
        if write is not None:
            effects.persist.append(write)
        if outputs.messages:
            effects.send = [Send(to, message) for to, message in outputs.messages]
            outputs.messages = []
        if outputs.snapshots or outputs.install is not None:
            self._take_snapshot_outputs()
        if has_reads:
            self._confirm_reads()
            ready = self._reads.take_ready(log.applied)
            if self._leases.rounds_count:
                ready = self._answer_rounds(ready)
            effects.reads_ready.extend(ready)
            if outputs.messages:  # answers to other members' questions about leases
                effects.send += [Send(to, message) for to, message in outputs.messages]
                outputs.messages = []
        if state.term != self._leadership[1] or state.leader_id != self._leadership[0]:
            self._note_leadership()
        if effects.removed:
            self._reject_pending()
        self._effects = Effects()
        self._is_tick = False
        return effects

    def _take_snapshot_outputs(self) -> None:
        outputs = self._core.state.outputs
        for to, at_least in outputs.snapshots:
            self._effects.send_snapshot.append(SendSnapshot(to, at_least, self.term))
        outputs.snapshots.clear()
        if outputs.install is not None:
            self._effects.install_snapshot = InstallSnapshot(*outputs.install)
            outputs.install = None

    def _reject_pending(self) -> None:
        reads = self._drop_rounds(self._reads.drain())
        tokens = [*self._proposals.drain(), *reads, *self._leases.drain()]
        if tokens:
            self._reject(tokens, Rejection.REMOVED)

    def _note_leadership(self) -> None:
        state = self._core.state
        self._leadership = (state.leader_id, state.term)
        self._applier.divergence.forget_others()
        self._scrubs.forget_others()
        self._newcomers.forget()
        self._effects.leadership_changed = True
        self._effects.membership_done.extend(self._transfers.take_reached(state.leader_id))

    # ---- inputs ----------------------------------------------------------------------

    def _take_tick(self, tick: Tick) -> None:
        self._is_tick = True
        self._tick += 1
        self._core.tick()
        self._proposals.expire(self._tick - self._settings.proposal_ticks)
        oldest_tick = self._tick - 2 * self._settings.election_ticks
        expired = self._reads.expire(oldest_tick)
        if self._leases.rounds_count:
            expired = self._drop_rounds(expired)
        expired += self._leases.expire(oldest_tick)
        self._follow_leadership()
        self._compare_states()
        self._tend_membership()
        self._effects.propose += self._leases.tick(tick.clock_ms)
        if expired:
            known = self._core.state.leader_id != NO_MEMBER
            reason = Rejection.LEADER_CHANGED if known else Rejection.NO_LEADER
            self._reject(expired, reason)
        failed = self._transfers.expire(self._tick)
        if failed:
            self._reject(failed, Rejection.TRANSFER_FAILED)

    def _take_peer_message(self, received: PeerMessage) -> None:
        message = received.message
        if message.term:
            self._core.receive(received.sender, message)
        elif isinstance(message, Forward):
            self._receive_forward(received.sender, message)
        elif isinstance(message, ReadIndex):
            self._core.receive(received.sender, message)
        elif isinstance(message, ReadIndexReply):
            self._reads.confirm(message.context, message.index)
        elif isinstance(message, ForwardRefused):
            self._receive_refusal(message)
        elif isinstance(message, TransferRequest):
            self._start_transfer(message.target)
        elif isinstance(message, LeaseAsk):
            self._receive_lease_ask(received.sender, message)
        elif isinstance(message, LeaseReply):
            self._receive_lease_reply(message)
        elif isinstance(message, Mark):
            if isinstance(self._core.role, Leader):
                self._applier.divergence.receive(received.sender, message)
        elif isinstance(message, RowsMark):
            if isinstance(self._core.role, Leader):
                mark = Mark(message.index, message.compacted, message.digest)
                self._scrubs.receive(received.sender, mark)
        elif isinstance(message, Diverged) and received.sender == self.leader_id:
            self._effects.diverged_at = message.index

    def _take_persisted(self, done: Persisted) -> None:
        self._core.finish_writes(done.sequence)

    def _take_unreachable(self, lost: Unreachable) -> None:
        role = self._core.role
        if isinstance(role, Leader):
            role.note_unreachable(lost.member_id)

    def _take_gone(self, gone: Gone) -> None:
        self._core.note_gone(gone.member_id)

    def _take_peer_level(self, told: PeerLevel) -> None:
        self._levels[told.member_id] = told.level

    def _tend_membership(self) -> None:
        """As leader, make the changes that nobody has to ask for."""
        role, state = self._core.role, self._core.state
        if not isinstance(role, Leader) or state.log.applied < role.first_index:
            return
        view = self._applier.membership.view
        change = self._newcomers.next_change(self._tick, role, view)
        if change is not None:
            self._propose(EntryKind.MEMBERSHIP, (encode_change(change),), ())
        level = find_level(view.level, self._level, role.progress, self._levels)
        if level > view.level and self._tick >= self._ask_level_at:
            self._ask_level_at = self._tick + self._settings.election_ticks
            change = MembershipChange(MembershipChangeKind.RAISE_LEVEL, level=level)
            self._propose(EntryKind.MEMBERSHIP, (encode_change(change),), ())

    # ---- proposals -------------------------------------------------------------------

    def _take_propose(self, proposed: Propose) -> None:
        self._propose(EntryKind.COMMANDS, proposed.commands, proposed.tokens)

    def _take_propose_membership(self, proposed: ProposeMembership) -> None:
        command = encode_change(proposed.change)
        self._propose(EntryKind.MEMBERSHIP, (command,), (proposed.token,))

    def _propose(
        self, kind: EntryKind, commands: Sequence[bytes], tokens: Sequence[object]
    ) -> None:
        state = self._core.state
        if self._applier.is_removed:
            self._reject(tokens, Rejection.REMOVED)
            return
        if state.leader_id == NO_MEMBER:
            self._reject(tokens, Rejection.NO_LEADER)
            return
        if len(self._proposals) >= self._settings.max_pending_batches:
            self._reject(tokens, Rejection.OVERLOADED)
            return
        sequence = self._proposals.begin()
        data = encode_batch(self.member_id, self._incarnation, sequence, commands)
        if state.leader_id == self.member_id:
            refusal = self._append(kind, data)
            if refusal is not None:
                self._reject(tokens, *refusal)
                return
        else:
            state.outputs.send(state.leader_id, Forward(kind, data))
        batch = PendingBatch(commands, tokens, state.term, self._tick)
        self._proposals.add(sequence, batch)

    def _append(self, kind: EntryKind, data: bytes) -> Refusal | None:
        return append_batch(self._core.role, self._applier.membership, kind, data)

    def _receive_forward(self, sender: MemberId, message: Forward) -> None:
        refusal = self._append(message.kind, message.data)
        if refusal is not None:
            _, incarnation, sequence, _ = decode_header(message.data)
            reason, detail = refusal
            answer = ForwardRefused(incarnation, sequence, reason.name, detail)
            self._core.state.outputs.send(sender, answer)

    def _receive_refusal(self, message: ForwardRefused) -> None:
        if message.incarnation != self._incarnation:
            return
        batch = self._proposals.remove(message.sequence)
        if batch is not None:
            reason = Rejection[message.reason]
            if reason is Rejection.NO_LEADER:
                reason = Rejection.LEADER_CHANGED
            self._reject(batch.tokens, reason, message.detail)

    def _lose(self, tokens: Sequence[object]) -> None:
        self._reject(tokens, Rejection.LEADER_CHANGED)

    def _reject(self, tokens: Sequence[object], reason: Rejection, detail: str = "") -> None:
        if tokens:  # nobody waits for this member's own changes
            self._effects.rejected.append(Rejected(tokens, reason, detail))

    # ---- reads and transfers ---------------------------------------------------------

    def _take_read(self, read: Read) -> None:
        if self._applier.is_removed:
            self._reject(read.tokens, Rejection.REMOVED)
            return
        tick = self._tick
        self._reads.gather([(tick, token) for token in read.tokens])

    # ---- leases ----------------------------------------------------------------------

    def _take_ask_leases(self, asked: AskLeases) -> None:
        questions = asked.questions
        tokens = [question.token for question in questions]
        rows = tuple((int(question.kind), question.lease_id) for question in questions)
        state = self._core.state
        if self._applier.is_removed:
            self._reject(tokens, Rejection.REMOVED)
        elif state.leader_id == NO_MEMBER:
            self._reject(tokens, Rejection.NO_LEADER)
        elif state.leader_id == self.member_id:
            self._gather_round(NO_MEMBER, 0, rows, tokens)
        else:
            sequence = self._leases.remember(self._tick, tokens)
            state.outputs.send(state.leader_id, LeaseAsk(sequence, rows))

    def _gather_round(
        self, origin: MemberId, sequence: int, rows: Rows, tokens: Sequence[object]
    ) -> None:
        self._leases.rounds_count += 1
        wanted = LeaseRound(origin, sequence, self._core.state.term, rows, tokens)
        self._reads.gather([(self._tick, wanted)])

    def _receive_lease_ask(self, sender: MemberId, message: LeaseAsk) -> None:
        if isinstance(self._core.role, Leader):
            self._gather_round(sender, message.sequence, message.rows, ())
        else:
            self._core.state.outputs.send(sender, LeaseReply(message.sequence, ()))

    def _receive_lease_reply(self, message: LeaseReply) -> None:
        tokens = self._leases.take(message.sequence)
        if len(message.rows) != len(tokens):
            self._lose(tokens)  # it does not lead any more
            return
        answers = [LeaseAnswer(*row) for row in message.rows]
        self._effects.lease_answers.extend(zip(tokens, answers, strict=True))

    def _follow_leadership(self) -> None:
        """Start the clock once everything of earlier terms is applied, stop it with leadership."""
        role, log = self._core.role, self._core.state.log
        leads = isinstance(role, Leader) and role.has_committed_in_term
        if not leads:
            self._leases.lead(0)
        elif log.applied >= log.commit:
            self._leases.lead(self._core.state.term)

    def _answer_rounds(self, ready: list[object]) -> list[object]:
        """Answer the questions about leases among confirmed reads; return the other tokens."""
        self._follow_leadership()
        others: list[object] = []
        for token in ready:
            if not isinstance(token, LeaseRound):
                others.append(token)
                continue
            self._leases.rounds_count -= 1
            leads = isinstance(self._core.role, Leader)
            if leads and token.term == self._core.state.term:
                self._answer_round(token)
            elif token.origin == NO_MEMBER:
                self._lose(token.tokens)
            else:
                origin = MemberId(token.origin)
                self._core.state.outputs.send(origin, LeaseReply(token.sequence, ()))
        return others

    def _answer_round(self, asked: LeaseRound) -> None:
        answers, commands = self._leases.answer(asked.rows)
        self._effects.propose += commands
        if answers is None:
            self._leases.rounds_count += 1
            self._reads.gather([(self._tick, asked)])
            return
        if asked.origin == NO_MEMBER:
            self._effects.lease_answers.extend(zip(asked.tokens, answers, strict=True))
        else:
            reply = LeaseReply(asked.sequence, tuple((a.left_s, a.granted_s) for a in answers))
            self._core.state.outputs.send(MemberId(asked.origin), reply)

    def _drop_rounds(self, tokens: list[object]) -> list[object]:
        """Replace rounds that will not be answered by the tokens of this member's questions."""
        out: list[object] = []
        for token in tokens:
            if isinstance(token, LeaseRound):
                self._leases.rounds_count -= 1
                out.extend(token.tokens)
            else:
                out.append(token)
        return out

    def _confirm_reads(self) -> None:
        outputs = self._core.state.outputs
        for context, index in outputs.reads:
            self._reads.confirm(context, index)
        outputs.reads.clear()

    def _ask_reads(self) -> None:
        state = self._core.state
        context = self._reads.next_question(
            state.leader_id, state.term, self.member_id, self._tick
        )
        if context is None:
            return
        role = self._core.role
        if isinstance(role, Leader):
            role.request_read(ReadRequest(self.member_id, context))
        else:
            state.outputs.send(state.leader_id, ReadIndex(context))

    def _take_transfer(self, wanted: TransferLeadership) -> None:
        state = self._core.state
        if state.leader_id == NO_MEMBER or wanted.to not in state.voters:
            self._reject((wanted.token,), Rejection.TRANSFER_FAILED)
        elif state.leader_id == wanted.to:
            self._effects.membership_done.append(wanted.token)
        else:
            self._transfers.add(wanted.to, wanted.token, self._tick)
            if state.leader_id == self.member_id:
                self._start_transfer(wanted.to)
            else:
                state.outputs.send(state.leader_id, TransferRequest(wanted.to))

    def _start_transfer(self, to: MemberId) -> None:
        role = self._core.role
        if not isinstance(role, Leader) or to not in self._core.state.voters:
            return
        if to not in {self.member_id, role.transferee}:
            role.start_transfer(to)

    # ---- states that differ ------------------------------------------------------------

    def _compare_states(self) -> None:
        """Tell the leader what this member has, or judge what others told (see ``divergence``)."""
        state = self._core.state
        leader = state.leader_id
        if isinstance(self._core.role, Leader):
            self._judge(self._applier.divergence)
            self._judge(self._scrubs)
        elif leader != NO_MEMBER:
            mark = self._applier.divergence.next_mark(leader)
            if mark is not None:
                state.outputs.send(leader, mark)
            rows = self._scrubs.next_mark(leader)
            if rows is not None and rows.index:
                state.outputs.send(leader, RowsMark(rows.index, rows.origin, rows.chain))

    def _take_scrubbed(self, scrubbed: Scrubbed) -> None:
        self._scrubs.note(scrubbed.index, scrubbed.compacted, scrubbed.digest)

    def _judge(self, divergence: Divergence) -> None:
        state = self._core.state
        verdict = divergence.judge(
            self.member_id, state.voters, PATIENCE_ELECTIONS * self._settings.election_ticks
        )
        if verdict is None:
            return
        for member, index in verdict.wrong.items():
            if member == self.member_id:
                self._effects.diverged_at = index
            else:
                state.outputs.send(member, Diverged(index))
        self._effects.propose += [
            encode_alarm(CommandKind.MEMBER_ALARM, member, AlarmType.CORRUPT, is_raised=True)
            for member in verdict.undecided
        ]

    # ---- snapshots and trimming ------------------------------------------------------

    def _take_synced(self, synced: Synced) -> None:
        self._synced = max(self._synced, synced.index)
        core = self._core
        index = find_trim_index(core.state.log, core.role, self._settings, self._synced)
        if index is not None:
            core.state.log.trim_to(index)
            self._effects.trim_log_to = Index(index)

    def _take_snapshot_installed(self, installed: SnapshotInstalled) -> None:
        self._core.end_install(installed.index, installed.term)
        self._synced = installed.index
        self._applier.install_state(
            installed.index, installed.term, installed.state, self._effects
        )

    def _take_snapshot_sent(self, sent: SnapshotSent) -> None:
        role = self._core.role
        if isinstance(role, Leader):
            role.end_snapshot(sent.to, sent.index, is_accepted=sent.ok)
