"""A leader appends, streams to followers, counts what is on their disks, and commits.

===================== ======================================= ================================
event                 what happens                            why
===================== ======================================= ================================
becoming leader       append an empty entry of the new term   older entries commit only with it
proposal              append; followers get it before our     the disks work in parallel
                      own sync is done
own log synced        own match moves, then count             the leader is one vote like others
AppendReply           match moves, then count; next entries
AppendRejected        step back by the hint, probe
HeartbeatReply        follower lives: resume; count the read round
quorum check          no majority heard in one election       a cut-off leader must not answer;
                      timeout: step down                      clients should go elsewhere
own disk stalls       hand over or step down                  a leader that cannot write only
                                                              delays everybody
removed or demoted    step down after the change is applied   until then its vote still counts
===================== ======================================= ================================

An entry commits by counting only if it is of the leader's own term (paper 5.4.2); all before it
commit with it.
"""

from __future__ import annotations

from typing import Final

from raftkv.raft.member_state import MemberState, RoleName
from raftkv.raft.messages import (
    Append,
    AppendRejected,
    AppendReply,
    Commit,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    TimeoutNow,
)
from raftkv.raft.progress import Progress, ProgressState, find_successor
from raftkv.raft.quorum import has_quorum, majority_index
from raftkv.raft.read_index import ReadRequest, ReadRounds
from raftkv.values import NO_MEMBER, Entry, EntryKind, Index, MemberId, Term


class Leader:
    """The role of the one member that appends in this term."""

    __slots__ = (
        "_heartbeat_elapsed",
        "_state",
        "change_barrier",
        "first_index",
        "progress",
        "reads",
        "transfer_elapsed",
        "transferee",
        "uncommitted_bytes",
    )

    name: Final = RoleName.LEADER

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._heartbeat_elapsed = 0
        self.first_index: int = state.log.last + 1
        """Index of the empty entry that opens this term."""
        self.change_barrier: int = self.first_index
        """No voter may be added or removed before this index is applied (one step at a time;
        and not before this leader committed in its own term: Ongaro, raft-dev, July 2015)."""
        self.progress: dict[MemberId, Progress] = {}
        """Sorted by member, so that every loop over it is deterministic."""
        self.reads = ReadRounds(state.member_id)
        self.transferee: MemberId = NO_MEMBER
        self.transfer_elapsed = 0
        self.uncommitted_bytes = 0

    def start(self) -> None:
        """Open the term."""
        self.follow_configuration()
        self.append(EntryKind.COMMANDS, b"", None)

    @property
    def has_committed_in_term(self) -> bool:
        """Tell whether this leader knows everything that was ever committed."""
        return self._state.log.commit >= self.first_index

    @property
    def last_index(self) -> int:
        """The end of the leader's log."""
        return self._state.log.last

    # ---- proposals -------------------------------------------------------------------

    def append(self, kind: EntryKind, data: bytes, checksum: int | None) -> Index:
        """Append one entry and return its index. The caller has asked :meth:`may_append`."""
        state = self._state
        index = Index(state.log.last + 1)
        state.log.append(Entry(Term(state.term), index, kind, data, checksum))
        self.uncommitted_bytes += len(data)
        return index

    def may_append(self, size_bytes: int) -> bool:
        """Refuse what would pile up without ever committing. One batch always fits."""
        used = self.uncommitted_bytes
        return not used or used + size_bytes <= self._state.settings.max_uncommitted_bytes

    def may_change_voters(self) -> bool:
        """One change of voters at a time, and none before an own entry is committed."""
        return self._state.log.applied >= self.change_barrier

    def note_applied(self, size_bytes: int) -> None:
        """Entries of this many bytes are no longer uncommitted (older terms' were not counted)."""
        self.uncommitted_bytes = max(0, self.uncommitted_bytes - size_bytes)

    # ---- clock -----------------------------------------------------------------------

    def tick(self) -> RoleName | None:
        """Heartbeats, the quorum check, the disk check and the end of a vain transfer."""
        state = self._state
        settings = state.settings
        if self._is_disk_stalled():
            return RoleName.FOLLOWER
        if self.transferee != NO_MEMBER:
            self.transfer_elapsed += 1
            if self.transfer_elapsed >= settings.election_ticks:
                self.transferee = NO_MEMBER
        state.election_elapsed += 1
        if state.election_elapsed >= settings.election_ticks:
            state.election_elapsed = 0
            if not self._has_heard_quorum():
                return RoleName.FOLLOWER
        self._heartbeat_elapsed += 1
        if self._heartbeat_elapsed >= settings.heartbeat_ticks:
            self._heartbeat_elapsed = 0
            self._send_heartbeats()
        return None

    def _has_heard_quorum(self) -> bool:
        active = [i for i, progress in self.progress.items() if progress.is_active]
        for progress in self.progress.values():
            progress.was_active = progress.is_active
            progress.is_active = False
        return has_quorum(self._state.voters, [self._state.member_id, *active])

    def _is_disk_stalled(self) -> bool:
        """A log sync takes longer than an election timeout: let somebody else lead."""
        state = self._state
        pending = state.outputs.pending
        if not pending:
            return False
        pending[0].ticks += 1
        if pending[0].ticks < state.settings.election_ticks or state.is_only_voter:
            return False
        successor = find_successor(state.voters, self.progress)
        if successor != NO_MEMBER:
            state.outputs.send(successor, TimeoutNow(Term(state.term)))
        return True

    def _send_heartbeats(self) -> None:
        state = self._state
        round_id = self.reads.round_id if self.reads.is_out else 0
        for follower, progress in self.progress.items():
            commit = Index(min(progress.match, state.log.commit))
            state.outputs.send(follower, Heartbeat(Term(state.term), commit, round_id))

    # ---- messages --------------------------------------------------------------------

    def receive(self, sender: MemberId, message: Message) -> RoleName | None:
        """Handle an answer of this term, or a service request."""
        kind = type(message)
        if kind is AppendReply:
            assert isinstance(message, AppendReply)
            progress = self.progress.get(sender)
            if progress is not None:
                progress.is_active = True
                self._receive_append_reply(sender, progress, message)
        elif kind is HeartbeatReply:
            assert isinstance(message, HeartbeatReply)
            progress = self.progress.get(sender)
            if progress is not None:
                progress.is_active = True
                self._receive_heartbeat_reply(sender, progress, message)
        elif isinstance(message, AppendRejected):
            progress = self.progress.get(sender)
            if progress is not None:
                progress.is_active = True
                self._receive_append_rejected(progress, message)
        elif isinstance(message, ReadIndex):
            self.request_read(ReadRequest(sender, message.context))
        return None

    def _receive_append_reply(
        self, sender: MemberId, progress: Progress, message: AppendReply
    ) -> None:
        match = message.match
        if match > self._state.log.last:
            # Only a follower that kept what this leader lost could say so; do not believe it.
            return
        is_news = progress.acknowledge(match)
        if progress.state is ProgressState.REPLICATE:
            progress.inflights.free_to(match)
        elif progress.state is ProgressState.PROBE:
            if is_news or match == progress.next - 1:
                progress.become_replicate()
        elif match >= progress.snapshot_index:
            progress.become_replicate()
        if is_news:
            if match > self._state.log.commit:
                self.advance_commit()
            if sender == self.transferee and match == self._state.log.last:
                self._state.outputs.send(sender, TimeoutNow(Term(self._state.term)))

    def _receive_append_rejected(self, progress: Progress, message: AppendRejected) -> None:
        hint_index: int = message.hint_index
        if message.hint_term:
            hint_index, _ = self._state.log.find_conflict(hint_index, message.hint_term)
        progress.reject(message.prev_index, Index(hint_index))

    def _receive_heartbeat_reply(
        self, sender: MemberId, progress: Progress, message: HeartbeatReply
    ) -> None:
        progress.is_probe_sent = False
        if progress.state is ProgressState.REPLICATE:
            if progress.inflights.is_full:
                progress.inflights.free_first()
            if progress.match < self._state.log.last:
                # An append may have been lost: an empty one at the end shows it.
                self._send_append(sender, progress, may_be_empty=True)
        elif progress.state is ProgressState.PROBE:
            self._send_append(sender, progress, may_be_empty=True)
        reads = self.reads
        if reads.is_out and message.round_id == reads.round_id:
            reads.acks.add(sender)
            if has_quorum(self._state.voters, reads.acks):
                self._answer_reads()
                self.start_read_round()

    # ---- reads -----------------------------------------------------------------------

    def request_read(self, request: ReadRequest) -> None:
        """Gather a read; :meth:`start_read_round` sends for all of a step at once."""
        self.reads.gather(request)

    def start_read_round(self) -> None:
        """Start the next round if reads wait, none is out, and this leader may answer at all."""
        reads = self.reads
        if not reads.has_gathered or reads.is_out or not self.has_committed_in_term:
            return
        state = self._state
        reads.start(Index(state.log.commit), state.member_id)
        if state.is_only_voter:
            self._answer_reads()
            return
        self._send_heartbeats()

    def _answer_reads(self) -> None:
        asked, index = self.reads.finish()
        outputs = self._state.outputs
        for request in asked:
            if request.requester == self._state.member_id:
                outputs.reads.append((request.context, index))
            else:
                outputs.send(request.requester, ReadIndexReply(request.context, index))

    # ---- commit and replication --------------------------------------------------------

    def advance_commit(self) -> None:
        """Count what a majority of the voters has on disk, this member included."""
        state = self._state
        log = state.log
        matches: list[int] = []
        for voter in state.voters:
            progress = self.progress.get(voter)
            if progress is not None:
                matches.append(progress.match)
            else:
                matches.append(log.stable if voter == state.member_id else 0)
        if not matches:
            return
        index = majority_index(matches)
        if index > log.commit and self.may_commit(index):
            log.commit = index

    def may_commit(self, index: int) -> bool:
        """Only entries of the own term commit by counting (paper 5.4.2, figure 8)."""
        return index >= self.first_index

    def broadcast(self) -> None:
        """Send every follower what it lacks. Called once at the end of a step."""
        state = self._state
        log = state.log
        last, commit = log.last, log.commit
        shared: Append | None = None
        told: Commit | None = None
        for follower, progress in self.progress.items():
            while progress.next <= last and not progress.is_paused:
                shared = self._send_append(follower, progress, shared=shared)
                if shared is None:
                    break
            usable = min(progress.match, commit)
            if progress.sent_commit < usable and progress.state is ProgressState.REPLICATE:
                progress.sent_commit = usable
                if told is None or told.commit != usable:
                    told = Commit(Term(state.term), Index(usable))
                state.outputs.send(follower, told)

    def _send_append(
        self,
        follower: MemberId,
        progress: Progress,
        *,
        may_be_empty: bool = False,
        shared: Append | None = None,
    ) -> Append | None:
        """Send one append message, or ask for a snapshot.

        ``shared`` is the message just sent to another follower: when this one needs the same,
        the same object goes out, so that it is encoded once.
        """
        state = self._state
        log = state.log
        if progress.state is ProgressState.SNAPSHOT or progress.is_probe_sent:
            return None
        prev_index = progress.next - 1
        has_room = not progress.is_paused
        if (
            has_room
            and shared is not None
            and shared.prev_index == prev_index
            and shared.commit == log.commit
        ):
            message = shared
        else:
            prev_term = log.term_at(prev_index)
            if prev_term is None:
                self._request_snapshot(follower, progress)
                return None
            entries: tuple[Entry, ...] = ()
            if has_room and prev_index < log.last:
                entries = log.read(prev_index + 1, state.settings.max_append_bytes)
            if not entries and not may_be_empty:
                return None
            message = Append(
                Term(state.term), Index(prev_index), Term(prev_term), Index(log.commit), entries
            )
        progress.note_sent(message)
        state.outputs.send(follower, message)
        return message

    def _request_snapshot(self, follower: MemberId, progress: Progress) -> None:
        if not progress.is_active:
            # etcd: a follower that is not there cannot take a snapshot; wait for its answer.
            return
        state = self._state
        progress.become_snapshot(Index(state.log.start))
        progress.hold_index = state.log.applied
        state.outputs.snapshots.append((follower, Index(state.log.start)))

    # ---- configuration and transfer ----------------------------------------------------

    def follow_configuration(self) -> None:
        """Track exactly the other members of the applied configuration."""
        state = self._state
        previous = self.progress
        self.progress = {}
        for member in state.others():
            progress = previous.get(member)
            if progress is None:
                progress = Progress(state.settings, state.log.last + 1)
                # A new member counts as heard for one check: it needs time to answer.
                progress.is_active = True
            self.progress[member] = progress

    def farewell(self, member: MemberId) -> None:
        """Tell a member that is being removed the commit of its removal, as far as it can know."""
        progress = self.progress.get(member)
        if progress is not None and progress.state is ProgressState.REPLICATE:
            self._send_append(member, progress, may_be_empty=True)

    def note_unreachable(self, member: MemberId) -> None:
        """What was under way is probably lost: find the match anew."""
        progress = self.progress.get(member)
        if progress is not None and progress.state is ProgressState.REPLICATE:
            progress.become_probe()

    def end_snapshot(self, to: MemberId, index: Index, *, is_accepted: bool) -> None:
        """Streaming a snapshot ended."""
        progress = self.progress.get(to)
        if progress is not None:
            progress.end_snapshot(index, is_accepted=is_accepted)

    def start_transfer(self, to: MemberId) -> None:
        """Hand leadership to a voter: at once if it holds all entries, else when it does."""
        self.transferee = to
        self.transfer_elapsed = 0
        progress = self.progress[to]
        if progress.match == self._state.log.last:
            self._state.outputs.send(to, TimeoutNow(Term(self._state.term)))
        else:
            progress.is_probe_sent = False
