"""The loop around the replica: inputs in, effects out, once per turn.

Everything that arrives in one turn of the event loop (proposals, reads, peers' messages, finished
syncs) becomes one call of ``Replica.step_many``; its effects are carried out at once, and every
connection that was touched is written to once. No task and no future per request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar, cast

from etcdwire.errors import ApiError
from etcdwire.hot import HeaderEncoder
from raftkv.api import host
from raftkv.api.figures import Figures
from raftkv.api.host import Limits, Logins, Recheckable, SnapshotSource, Token
from raftkv.api.known_passwords import KnownPasswords
from raftkv.api.logins import JwtLogins, SimpleLogins
from raftkv.api.services import new_method_counters
from raftkv.api.v3_watch import WatchStream
from raftkv.auth.tokens import SimpleTokens
from raftkv.backend.environment import Environment
from raftkv.log.errors import StorageError as LogError
from raftkv.raft.messages import (
    Append,
    AppendReply,
    Forward,
    Heartbeat,
    HeartbeatReply,
    LeaseAsk,
    Message,
    ReadIndex,
    TransferRequest,
)
from raftkv.raft.settings import RaftSettings
from raftkv.replica.effects import Effects, Persist, Rejected, Rejection, Send
from raftkv.replica.inputs import (
    AskLeases,
    Gone,
    Input,
    PeerLevel,
    PeerMessage,
    Persisted,
    Propose,
    ProposeMembership,
    Read,
    Tick,
    TransferLeadership,
    Unreachable,
)
from raftkv.replica.leases import LeaseAsks, LeaseQuestion
from raftkv.replica.step import Replica
from raftkv.replica.views import FollowerProgress
from raftkv.server import data_dir
from raftkv.server.answers import tell_answered, tell_applied, tell_ready
from raftkv.server.aside import AsideThread
from raftkv.server.chores import Chores, OwnToken, monotonic_ms
from raftkv.server.config import Config
from raftkv.server.data_dir import Opened, StoreView
from raftkv.server.disk import LogThread
from raftkv.server.exports import Exports
from raftkv.server.flushing import Flushing
from raftkv.server.notify import Watchdog
from raftkv.server.peers import Incoming, PeerLink, send_all
from raftkv.server.space import Space
from raftkv.server.steady_clock import SteadyClock
from raftkv.server.transfers import SnapshotTraffic
from raftkv.store.range_cache import RangeCache
from raftkv.values import (
    NO_MEMBER,
    Index,
    Member,
    MemberId,
    Membership,
    MembershipChange,
    Term,
)
from raftkv.watch.history_v2 import Waiter

SPACE_EVERY_S: Final = 1.0
_QUESTIONS: Final = frozenset({Forward, ReadIndex, LeaseAsk, TransferRequest})
"""What a member sends because one of its clients waits."""
T = TypeVar("T")
_LOG: Final = logging.getLogger("raftkv")


class Outlet(Protocol):
    """Connections that turns may have something for (``server.connection.Connections``)."""

    def hold(self) -> None:
        """Gather answers until ``flush``."""

    def flush(self) -> None:
        """Write what gathered."""


class Driver:
    """One running member (``api.host.Host`` and ``server.peers.PeerHost``)."""

    def __init__(
        self,
        config: Config,
        opened: Opened,
        loop: asyncio.AbstractEventLoop,
        peer_context: ssl.SSLContext | None,
        known_peers: Sequence[Member],
        stop: Callable[[str, int], None],
    ) -> None:
        self.config = config
        self._clock = SteadyClock()
        self.loop = loop
        self.cluster_id = opened.cluster_id
        self.member_id = opened.member_id
        self.name = config.name
        self.advertised_urls = tuple(config.advertise_client)
        self.enable_v2 = config.enable_v2
        self.enable_gateway = config.enable_gateway
        self.range_cache = RangeCache()
        self.strict_reconfig = config.strict_reconfig
        self.new_voters_wait = config.new_voters_wait
        self.limits = Limits(config.max_txn_ops, config.max_request_bytes, config.quota_bytes)
        self.figures = Figures(methods=new_method_counters(), started_s=time.time())
        self.headers = HeaderEncoder(self.cluster_id, self.member_id)
        self.machine = opened.machine
        self.machine.tokens = SimpleTokens(config.auth_token_ttl_s * 1000)
        self.logins: Logins = SimpleLogins(self, monotonic_ms, lambda: secrets.token_urlsafe(18))
        if config.jwt is not None:
            self.logins = JwtLogins(self, config.jwt, time.time)
        self.passwords: host.Passwords = KnownPasswords(secrets.token_bytes(32))
        self.bcrypt_cost = config.bcrypt_cost
        ticks = max(config.election_ms // config.heartbeat_ms, 2)
        self.lease_ttl_min_s = -(-(3 * ticks // 2 * config.heartbeat_ms) // 1000)
        self.watch_streams: set[Recheckable] = set()
        self._aside = AsideThread(loop)
        self.environment: Environment = opened.environment
        self.view: StoreView = opened.view
        self.peer_context = peer_context
        self._stop = stop
        """(reason, exit code): ends the process."""
        self._known_peers = {member.member_id: member for member in known_peers}
        self.replica = _make_replica(config, opened)
        self._level = self.replica.membership.level
        self._commands: list[bytes] = []
        self._tokens: list[object] = []
        self._reads: list[object] = []
        self._questions: list[LeaseQuestion] = []
        self._inputs: list[Input] = []
        self._is_scheduled = False
        self._parked: deque[tuple[float, bytes, Token]] = deque()
        self._links: dict[MemberId, PeerLink] = {}
        self._incoming: Counter[MemberId] = Counter()
        """Open connections by which peers send their messages."""
        self._notify_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._log = LogThread(
            opened.wal, self._notify_fd, self.figures.log_sync, self.figures.log_syncs
        )
        self.flushing = Flushing(self, self._notify_fd, opened.boot.applied)
        self.chores = Chores(self)
        self._last_persisted = 0
        self._tick_due = 0.0
        self.traffic = SnapshotTraffic(self)
        self._exports = Exports(self)
        self._was_ready = False
        self.on_ready: Callable[[], None] = lambda: None
        self.outlets: list[Outlet] = []
        """Written to at the end of each turn: an answer need not wait for another one."""
        self.is_stopping = False
        self._watchdog, self._space = Watchdog(), Space(data_dir.paths(config))

    # --- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start threads, timers and peer links."""
        self._log.start()
        self.loop.add_reader(self._notify_fd, self._on_disk)
        self._update_links()
        self._tick_due = self.loop.time()
        self._tick()
        self.flushing.start()
        self._watch_space()

    def _tick(self) -> None:
        if self.is_stopping:
            return
        now, heartbeat_s = self.loop.time(), self.config.heartbeat_ms / 1000
        self.figures.longest_lag_s = max(self.figures.longest_lag_s, now - self._tick_due)
        self._tick_due = now + heartbeat_s
        self.loop.call_later(heartbeat_s, self._tick)
        self._inputs.append(Tick(monotonic_ms()))
        self._schedule()
        self._expire_parked()
        self.chores.tick()
        self._watchdog.feed(now)

    def _watch_space(self) -> None:
        """Give up the reserve when a disk is full, and let what waits for space try again."""
        if self.is_stopping:
            return
        self.loop.call_later(SPACE_EVERY_S, self._watch_space)
        threads = [t for t in (self._log, self.flushing.thread) if t.is_out_of_space]
        changed = self._space.watch(is_out_of_space=bool(threads))
        for thread in threads:
            thread.wake()
        if changed and self._space.is_full and self.leader_id == self.member_id:
            self.step_down(lambda: None)  # perhaps another one has room

    def stop_writing(self) -> None:
        """Flush everything and stop the threads; the loop must run no more turns after it."""
        self.is_stopping = True
        self._aside.stop()
        self._exports.close()
        self.traffic.close()
        self.loop.remove_reader(self._notify_fd)
        for link in self._links.values():
            link.close()
        self._log.stop()
        self.flushing.stop()
        self.view.view.close()
        self.environment.close()

    def _fail(self, error: Exception) -> None:
        """End the process before anything follows from a state that must not be."""
        _LOG.error("a step failed", exc_info=error)
        self._stop(f"{type(error).__name__}: {error}: files are kept as they are", 1)

    def _on_disk(self) -> None:
        os.eventfd_read(self._notify_fd)
        for thread in (self._log, self.flushing.thread):
            if thread.failure is not None:
                self._stop(f"disk failure, files are kept as they are: {thread.failure}", 1)
                return
        finished = self.flushing.thread.finished
        try:
            while finished:
                finished.popleft()()
        except Exception as error:  # noqa: BLE001 - what followed from this write is not done
            self._fail(error)
        persisted = self._log.persisted
        if persisted != self._last_persisted:
            self._last_persisted = persisted
            self._inputs.append(Persisted(persisted))
            # Not scheduled: what waits for this sync should not wait for another turn.
            self._turn()

    # --- the turn ---------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Step the replica with everything that gathered, and carry out what it wants."""
        self._is_scheduled = False
        if self.is_stopping:
            return
        inputs = self._take_inputs()
        began = time.monotonic()
        replica, outlets = self.replica, self.outlets
        for outlet in outlets:
            outlet.hold()
        try:
            while inputs or replica.has_put_off:
                inputs = self.carry_out(replica.step_many(inputs, may_put_off=bool(inputs)))
        except Exception as error:  # noqa: BLE001 - whatever it is, half a step is done
            self._fail(error)
        finally:
            for outlet in outlets:
                outlet.flush()
        elapsed = time.monotonic() - began
        if elapsed > self.figures.longest_turn_s:
            self.figures.longest_turn_s = elapsed

    def _take_inputs(self) -> list[Input]:
        inputs, self._inputs = self._inputs, []
        if self._commands:
            inputs.append(Propose(self._commands, self._tokens))
            self._commands, self._tokens = [], []
        if self._reads:
            inputs.append(Read(self._reads))
            self._reads = []
        if self._questions:
            inputs.append(AskLeases(self._questions))
            self._questions = []
        return inputs

    def feed(self, happened: Input) -> None:
        """Take one input in the next turn."""
        self._inputs.append(happened)
        self._schedule()

    def carry_out(self, effects: Effects) -> list[Input]:
        """Do what the replica wants; returns what follows from it at once."""
        follow: list[Input] = []
        answers_first = effects.replies and not effects.persist
        if effects.send and not answers_first:
            self._send(effects.send)  # followers sync while this member does
        if effects.persist and not self._persist_inline(effects.persist, follow):
            self._log.submit(effects.persist)
        for tokens, results in effects.replies:
            tell_applied(tokens, results)
        if effects.send and answers_first:  # clients wait for these, nobody for what is sent
            for outlet in self.outlets:
                outlet.flush()
            self._send(effects.send)
        tell_ready(effects.reads_ready)
        tell_ready(effects.membership_done)
        tell_answered(effects.lease_answers)
        for command in effects.propose:
            self.propose(command, OwnToken())
        for rejection in effects.rejected:
            self.figures.proposals_failed += len(rejection.tokens)
            for token in rejection.tokens:
                cast(Token, token).rejected(rejection)
        self._deliver()
        if effects.trim_log_to is not None:
            self._log.trim(effects.trim_log_to, self.replica.log_start_term)
        for wanted in effects.send_snapshot:
            self.traffic.send(wanted)
        if effects.install_snapshot is not None:
            self.traffic.install(effects.install_snapshot)
        if effects.membership_changed:
            self._update_links()
            self._note_level()
        if effects.leadership_changed:
            self._note_leader()
        if effects.diverged_at:
            data_dir.mark_diverged(self.config, effects.diverged_at)
            self._stop(
                f"at index {effects.diverged_at} a majority has another state than this member: "
                "its files are kept; remove it, add it anew with an empty directory", 1
            )  # fmt: skip
        if effects.removed:
            self._stop("this member was removed from the cluster", 0)
        return follow

    def _persist_inline(self, writes: Sequence[Persist], follow: list[Input]) -> bool:
        try:
            done = self._log.write_inline(writes)
        except LogError as error:
            self._stop(f"disk failure, files are kept as they are: {error}", 1)
            return True
        if done:
            self._last_persisted = self._log.persisted
            follow.append(Persisted(self._last_persisted))
        return done

    def _send(self, sends: Sequence[Send]) -> None:
        now = time.monotonic()
        send_all(self._links, sends)
        for send in sends:
            if send.to in self._links:
                self._note_sent(send, now)

    def _note_sent(self, send: Send, now: float) -> None:
        message = send.message
        if type(message) is Heartbeat:
            peer = self.figures.peer(send.to)
            peer.beat_sent_at = peer.beat_sent_at or now
        elif type(message) is Append:
            self.figures.appends_sent.note(now, _size_bytes(message))
            peer = self.figures.peer(send.to)
            if message.entries and not peer.append_sent_at:
                peer.append_sent_at = now
                peer.append_last = message.entries[-1].index

    def _deliver(self) -> None:
        """Pass what was applied to those who watch."""
        hub = self.machine.hub
        if hub.deliveries:
            deliveries, hub.deliveries = hub.deliveries, []
            for delivery in deliveries:
                cast(WatchStream, delivery.watcher.stream).deliver(delivery)
        history = self.machine.history_v2
        if history.deliveries:
            owed, history.deliveries = history.deliveries, []
            for waiter, event in owed:
                _deliver_v2(waiter, event)

    def _note_level(self) -> None:
        level = self.replica.membership.level
        if level != self._level:
            self._level = level
            _LOG.info("all members understand level %d: it is in use from now on", level)

    def _note_leader(self) -> None:
        leader = self.replica.leader_id
        _LOG.info("raft term %d, leader %x", self.replica.term, leader)
        if leader != NO_MEMBER:
            self.figures.leader_changes += 1
            self.figures.leader_since_s = time.time()
            parked, self._parked = self._parked, deque()
            for _, command, token in parked:
                self.propose(command, token)
            if not self._was_ready:
                self._was_ready = True
                self.on_ready()

    # --- requests (api.host.Host) -----------------------------------------------------------

    def propose(self, command: bytes, token: Token) -> None:
        """Replicate a command; while there is no leader it waits for up to two elections."""
        if self.replica.leader_id == NO_MEMBER:
            deadline = self.loop.time() + 2 * self.config.election_ms / 1000
            self._parked.append((deadline, command, token))
            return
        self._commands.append(command)
        self._tokens.append(token)
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self._turn)

    def _expire_parked(self) -> None:
        now = self.loop.time()
        expired: list[object] = []
        while self._parked and self._parked[0][0] <= now:
            expired.append(self._parked.popleft()[2])
        if expired:
            rejection = Rejected(expired, Rejection.NO_LEADER)
            for token in expired:
                cast(Token, token).rejected(rejection)

    def read(self, token: Token) -> None:
        """Answer after a read round."""
        self._reads.append(token)
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self._turn)

    def ask_lease(self, kind: LeaseAsks, lease_id: int, token: Token) -> None:
        """Ask the leader; all questions of one turn share a round."""
        self._questions.append(LeaseQuestion(kind, lease_id, token))
        self._schedule()

    def new_lease_id(self) -> int:
        """See ``api.host.Host``."""
        return secrets.randbits(62) + 1

    def change_membership(self, change: MembershipChange, token: Token) -> None:
        """Propose a change."""
        self.feed(ProposeMembership(change, token))

    def transfer_leadership(self, to: MemberId, token: Token) -> None:
        """Hand leadership over."""
        self.feed(TransferLeadership(to, token))

    def use_peer_context(self, context: ssl.SSLContext | None) -> None:
        """Dial other members with this from now on; connections that stand stay."""
        self.peer_context = context
        for link in self._links.values():
            link.use_context(context)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Run something later."""
        self.loop.call_later(delay_s, callback)

    @property
    def term(self) -> Term:
        """The current Raft term."""
        return self.replica.term

    @property
    def leader_id(self) -> MemberId:
        """The known leader."""
        return self.replica.leader_id

    @property
    def membership(self) -> Membership:
        """The applied membership."""
        return self.replica.membership

    @property
    def commit_index(self) -> Index:
        """The committed index."""
        return self.replica.commit_index

    @property
    def log_start(self) -> Index:
        """See ``Host``."""
        return self.replica.log_start

    @property
    def applied_index(self) -> Index:
        """The applied index."""
        return self.replica.applied_index

    @property
    def is_learner(self) -> bool:
        """Whether this member has no vote."""
        return self.replica.is_learner

    @property
    def is_full(self) -> bool:
        """Whether the backend used more than its quota at the last commit, or a disk is full."""
        return self.flushing.used_bytes > self.limits.quota_bytes or self._space.is_full

    @property
    def pending_proposals_count(self) -> int:
        """Batches without a result yet."""
        return self.replica.pending_count

    @property
    def now_ms(self) -> int:
        """The time of day; see ``SteadyClock``."""
        return self._clock.now_ms()

    def progress(self) -> dict[MemberId, FollowerProgress]:
        """Followers as the leader sees them."""
        return self.replica.progress()

    def size_bytes(self) -> int:
        """Size of the backend's file."""
        return self.environment.size_bytes()

    def used_bytes(self) -> int:
        """Bytes of it in use, as of the last commit."""
        return self.flushing.used_bytes

    # --- backend (server.flushing) ----------------------------------------------------------

    def run_aside(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """See ``api.host.Host``."""
        self._aside.submit(work, done)

    def export_snapshot(self, deliver: Callable[[SnapshotSource | ApiError], None]) -> None:
        """Flush, then hand over a file in etcd's form of all that was applied when asked."""
        self.flushing.export_snapshot(self._exports.start, deliver)

    def when_forgotten(self, done: Callable[[], None]) -> None:
        """See ``api.host.Host``."""
        self.flushing.when_forgotten(done)

    def hash_backend(self, done: Callable[[int], None]) -> None:
        """See ``api.host.Host``."""
        self.flushing.hash_backend(done)

    def defragment(self, done: Callable[[ApiError | None], None]) -> None:
        """See ``api.host.Host``."""
        self.flushing.defragment(done)

    def use_backend(self, environment: Environment, view: StoreView, applied: Index) -> None:
        """Go on from an installed snapshot's backend."""
        self.environment = environment
        self.view = view
        self.flushing.use_backend(environment, applied)

    def reopen(self, environment: Environment, view: StoreView) -> None:
        """Read the same rows from another file."""
        self.environment = environment
        self.view = view
        self.machine.kv.use_view(view)

    def pause_flushing(self) -> None:
        """End the flush thread, so that the backend's files may be replaced."""
        self.flushing.pause()

    # --- peers (server.peers.PeerHost) ------------------------------------------------------

    def _update_links(self) -> None:
        members = dict(self.replica.membership.members) or dict(self._known_peers)
        wanted = {i: m.peer_urls for i, m in members.items() if i != self.member_id}
        for member_id in [i for i in self._links if i not in wanted]:
            link = self._links.pop(member_id)
            # A removed member learns of its removal from the last messages first.
            self.loop.call_later(2 * self.config.election_ms / 1000, link.close)
        for member_id, urls in wanted.items():
            link_now = self._links.get(member_id)
            if link_now is not None:
                link_now.urls = urls
            elif urls:
                self._links[member_id] = PeerLink(
                    self, member_id, urls, self.peer_context, self.loop
                )

    def peer_member(self, member_id: MemberId) -> Member | None:
        """A member, as far as it is known."""
        members = self.replica.membership.members
        return members.get(member_id) or self._known_peers.get(member_id)

    def is_removed(self, member_id: MemberId) -> bool:
        """Whether this id may never come back."""
        return member_id in self.replica.membership.removed

    def is_known_name(self, names: frozenset[str]) -> bool:
        """Whether one of these is a member's name."""
        return any(m.name and m.name in names for m in self.replica.membership.members.values())

    def receive_messages(self, sender: MemberId, messages: list[Message]) -> None:
        """Messages of a peer."""
        for message in messages:
            if type(message) is HeartbeatReply:
                self._note_round_trip(sender)
            elif type(message) is AppendReply:
                self._note_append(sender, message.match)
            elif type(message) is Append:
                self.figures.appends_received.note(time.monotonic(), _size_bytes(message))
            elif type(message) in _QUESTIONS and sender in self._links:
                self._links[sender].be_prompt()
            self._inputs.append(PeerMessage(sender, message))
        if self._is_scheduled:
            return
        if len(messages) == 1:  # somebody waits for what follows from it: now, not after others
            self._turn()
        else:
            self._schedule()

    def _note_round_trip(self, sender: MemberId) -> None:
        """A heartbeat was answered: the one that waited longest, so a slow peer is not flattered."""
        peer = self.figures.peer(sender)
        if peer.beat_sent_at:
            elapsed = time.monotonic() - peer.beat_sent_at
            peer.beat_sent_at = 0.0
            peer.round_trip.observe(elapsed)
            peer.samples.append((time.time(), elapsed))

    def _note_append(self, sender: MemberId, match: Index) -> None:
        peer = self.figures.peer(sender)
        if peer.append_sent_at and match >= peer.append_last:
            peer.appends.append(time.monotonic() - peer.append_sent_at)
            peer.append_sent_at = 0.0

    def peer_lost(self, member_id: MemberId) -> None:
        """The connection to a peer broke."""
        self.feed(Unreachable(member_id))

    def peer_level(self, member_id: MemberId, level: int) -> None:
        """A peer told what it understands."""
        self.feed(PeerLevel(member_id, level))

    def peer_trouble(self, member_id: MemberId) -> str:
        """Why a member cannot be reached; empty when it can."""
        link = self._links.get(member_id)
        return link.trouble if link is not None else ""

    def peer_refuses(self, member_id: MemberId) -> None:
        """Nobody listens at a peer's address any more: its process ended, unless it still talks
        to us (its advertised address may be wrong).
        """
        if not self._incoming[member_id]:
            self.feed(Gone(member_id))

    def incoming_opened(self, member_id: MemberId) -> None:
        """A peer connected for its messages."""
        self._incoming[member_id] += 1

    def incoming_closed(self, member_id: MemberId) -> None:
        """Such a connection ended."""
        self._incoming[member_id] -= 1

    def removed_by(self, member_id: MemberId) -> None:
        """A peer answered that this member was removed."""
        if self.replica.membership.members:
            self._stop(f"peer {member_id:x} says that this member was removed", 0)

    def open_incoming(self, sender: MemberId, named: dict[str, Any]) -> Incoming:
        """A peer sends a snapshot."""
        return self.traffic.open_incoming(sender, named)

    def step_down(self, done: Callable[[], None]) -> None:
        """Before a planned stop: hand leadership to the most caught-up voter, then go on."""
        progress = self.replica.progress()
        voters = self.replica.membership.voters
        ready = [(p.match, i) for i, p in progress.items() if i in voters and p.is_active]
        if not ready:
            done()
            return
        token = OwnToken(done)
        self.transfer_leadership(max(ready)[1], token)
        self.loop.call_later(self.config.election_ms / 1000, token.finish)


def _size_bytes(message: Append) -> int:
    return sum([len(entry.data) for entry in message.entries])


def _make_replica(config: Config, opened: Opened) -> Replica:
    settings = RaftSettings(
        election_ticks=max(config.election_ms // config.heartbeat_ms, 2),
        retain_entries=min(config.snapshot_count, 5000),
        newcomer_ticks=config.newcomer_timeout_s * 1000 // config.heartbeat_ms,
    )
    seed = random.SystemRandom().getrandbits(64)
    return Replica(settings, opened.boot, opened.machine, seed, config.election_ms)


def _deliver_v2(waiter: Waiter, event: object) -> None:
    deliver = waiter.call.deliver  # type: ignore[attr-defined]
    deliver(event)
