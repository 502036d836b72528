"""What a member does by itself as time goes by: looked at once per tick, never waited for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Final

from etcdwire.errors import RequestError
from etcdwire.messages import AlarmType
from raftkv.api.v3_watch import WatchStream
from raftkv.replica.commands import CommandKind, encode_alarm, encode_compact, encode_expire
from raftkv.replica.effects import Rejected
from raftkv.replica.inputs import ProposeMembership, Scrubbed
from raftkv.replica.levels import SCRUBS
from raftkv.server.slow_disk import SlowDisk
from raftkv.store.auto_compaction import AutoCompaction
from raftkv.store.hashes import KeyValueHash
from raftkv.values import NO_MEMBER, Member, MembershipChange, MembershipChangeKind

if TYPE_CHECKING:
    from raftkv.server.driver import Driver

PUBLISH_RETRY_S: Final = 1.0
TOKEN_SWEEP_MS: Final = 5000
COMPARE_DISKS_MS: Final = 1000
CLEAR_PERCENT: Final = 90
"""Of the quota: below it a member takes its NOSPACE alarm back."""
_LOG: Final = logging.getLogger("raftkv.chores")


def monotonic_ms() -> int:
    """Milliseconds of a clock that never jumps."""
    return time.monotonic_ns() // 1_000_000


class Chores:
    """Publishing, expiry, auth's followers, alarms, compaction."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        config = driver.config
        self._publish_at = 0.0
        self._busy: set[str] = set()
        """Chores whose proposal is under way."""
        machine = driver.machine
        self._checked_auth_revisions = (machine.auth.revision, machine.v2_auth.revision)
        self._sweep_tokens_at_ms = 0
        self._led_at_ms = monotonic_ms()
        self._progress_at_ms = self._led_at_ms + config.progress_ms
        self._scrub_at_ms = self._led_at_ms + config.scrub_ms
        self._scrubbing = machine.scrub
        self._rows: KeyValueHash | None = None
        self._slow_disk = SlowDisk(config.election_ms)
        self._compare_disks_at_ms = 0
        self._compaction = AutoCompaction(config.compaction_mode, config.compaction_retention)

    def tick(self) -> None:
        """See what is due."""
        self._publish()
        self._expire_v2()
        self._follow_auth()
        self._watch_quota()
        self._compact()
        self._tell_watches()
        self._scrub()
        self._leave_slow_disk()

    def _propose(self, name: str, command: bytes) -> None:
        """Propose, at most once at a time for each chore."""
        self._busy.add(name)
        self._driver.propose(command, OwnToken(lambda: self._busy.discard(name)))

    @property
    def _leads(self) -> bool:
        return self._driver.leader_id == self._driver.member_id

    def _publish(self) -> None:
        """Tell the cluster this member's name and client URLs, until it knows them."""
        driver = self._driver
        me = driver.membership.members.get(driver.member_id)
        now = driver.loop.time()
        if me is None or driver.leader_id == NO_MEMBER or now < self._publish_at:
            return
        wanted = tuple(driver.config.advertise_client)
        if me.name == driver.name and me.client_urls == wanted:
            return
        self._publish_at = now + PUBLISH_RETRY_S
        member = Member(driver.member_id, driver.name, me.peer_urls, wanted)
        change = MembershipChange(MembershipChangeKind.PUBLISH, member)
        driver.feed(ProposeMembership(change, OwnToken()))

    def _expire_v2(self) -> None:
        """As leader, say what time it is whenever a v2 TTL has run out."""
        driver = self._driver
        if not self._leads or "v2" in self._busy:
            return
        due = driver.machine.tree.next_expiry_ms
        if due and due <= driver.now_ms:
            self._propose("v2", encode_expire(driver.now_ms))

    def _follow_auth(self) -> None:
        """End what rests on rights that are gone, and tokens that nobody uses."""
        driver = self._driver
        auth = driver.machine.auth
        revisions = (auth.revision, driver.machine.v2_auth.revision)
        if revisions != self._checked_auth_revisions:
            self._checked_auth_revisions = revisions
            for stream in list(driver.watch_streams):
                stream.recheck()
        if auth.enabled:
            now = monotonic_ms()
            if now >= self._sweep_tokens_at_ms:
                self._sweep_tokens_at_ms = now + TOKEN_SWEEP_MS
                driver.machine.tokens.sweep(now)

    def _watch_quota(self) -> None:
        """Raise this member's NOSPACE alarm when it is full, and end it when it no longer is.

        Both are entries, so that all members refuse and take the same commands.
        """
        driver = self._driver
        if driver.leader_id == NO_MEMBER or "quota" in self._busy:
            return
        mine = (driver.member_id, AlarmType.NOSPACE) in driver.machine.alarms.active
        used, quota = driver.flushing.used_bytes, driver.limits.quota_bytes
        if (used > quota and not mine) or (mine and used * 100 < quota * CLEAR_PERCENT):
            _LOG.warning(
                "%s alarm NOSPACE: %d of %d bytes are in use", "ending" if mine else "raising",
                used, quota,
            )  # fmt: skip
            command = encode_alarm(
                CommandKind.MEMBER_ALARM, driver.member_id, AlarmType.NOSPACE, is_raised=not mine
            )
            self._propose("quota", command)

    def _tell_watches(self) -> None:
        """Progress to quiet watches; and to those that need a leader, that there is none."""
        driver = self._driver
        now = monotonic_ms()
        if driver.leader_id != NO_MEMBER:
            self._led_at_ms = now
        elif now - self._led_at_ms > driver.config.election_ms:
            self._led_at_ms = now
            for stream in list(driver.watch_streams):
                if isinstance(stream, WatchStream):
                    stream.lose_leader()
        if now >= self._progress_at_ms:
            self._progress_at_ms = now + driver.config.progress_ms
            for stream in list(driver.watch_streams):
                if isinstance(stream, WatchStream):
                    stream.notify_progress()

    def _compact(self) -> None:
        """As leader, compact what nobody wants to keep any longer."""
        driver = self._driver
        if "compaction" in self._busy:
            return
        kv = driver.machine.kv
        revision = self._compaction.step(monotonic_ms(), kv.revision, leads=self._leads)
        if revision > kv.compact_revision:
            _LOG.info("compacting up to revision %d", revision)
            self._propose("compaction", encode_compact(revision, CommandKind.MEMBER_COMPACT))

    def _leave_slow_disk(self) -> None:
        """As leader, hand over to a voter whose disk is much faster, when that lasts."""
        driver = self._driver
        now = monotonic_ms()
        if not self._leads or now < self._compare_disks_at_ms:
            return
        self._compare_disks_at_ms = now + COMPARE_DISKS_MS
        figures, progress = driver.figures, driver.replica.progress()
        voters = driver.membership.voters
        well = [i for i, p in progress.items() if i in voters and p.is_active]
        own_s = list(figures.log_syncs)
        to = self._slow_disk.step(now, own_s, {i: figures.peer(i).appends for i in well})
        if to != NO_MEMBER:
            _LOG.warning(
                "syncs of the log take %.0f ms here, %s acknowledges in %.0f ms: it shall lead",
                median(own_s) * 1000, driver.membership.members[to].name or f"{to:x}",
                median(figures.peer(to).appends) * 1000,
            )  # fmt: skip
            driver.transfer_leadership(to, OwnToken())

    def _scrub(self) -> None:
        """As leader, ask for a scrub now and then; as anybody, read some rows of one under way."""
        driver = self._driver
        machine = driver.machine
        now = monotonic_ms()
        if driver.config.scrub_ms and now >= self._scrub_at_ms:
            self._scrub_at_ms = now + driver.config.scrub_ms
            if self._leads and driver.membership.level >= SCRUBS:
                self._propose("scrub", bytes((CommandKind.SCRUB,)))
        if machine.scrub != self._scrubbing:
            self._scrubbing = machine.scrub
            index, revision = machine.scrub
            self._rows = None
            if revision > machine.kv.compact_revision:
                self._rows = KeyValueHash(machine.kv, revision)
        rows = self._rows
        if rows is None:
            return
        try:
            if not rows.is_of(machine.kv):
                self._rows = None  # a snapshot took the place of all rows
            elif rows.step():
                self._rows = None
                index = self._scrubbing[0]
                driver.feed(Scrubbed(index, rows.compact_revision, rows.value))
                _LOG.info("scrubbed the rows of revision %d", rows.revision)
        except RequestError:
            self._rows = None  # compacted meanwhile


class OwnToken:
    """A token of the member's own proposals."""

    def __init__(self, finished: Callable[[], None] | None = None) -> None:
        self._finished = finished

    def finish(self) -> None:
        """Whatever became of it."""
        finished, self._finished = self._finished, None
        if finished is not None:
            finished()

    def applied(self, result: object) -> None:  # noqa: ARG002 - see ``Token``
        """Done."""
        self.finish()

    def ready(self) -> None:
        """Done."""
        self.finish()

    def rejected(self, rejection: Rejected) -> None:  # noqa: ARG002 - see ``Token``
        """Not done; tried again when still needed."""
        self.finish()
