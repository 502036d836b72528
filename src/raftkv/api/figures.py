"""What a member counts and times while it works; ``api.metrics`` and the dashboard show it.

Cheap where it is hot: an attribute that grows. Histograms are fed once per sync or heartbeat, never
once per request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from etcdwire.errors import Code
from raftkv.values import Index, MemberId

DISK_BUCKETS_S: Final = tuple(0.001 * 2**n for n in range(14))
"""etcd's: 1 ms to 8.192 s."""
ROUND_TRIP_BUCKETS_S: Final = tuple(0.0001 * 2**n for n in range(16))
"""etcd's: 0.1 ms to 3.2768 s."""
SAMPLES_MAX: Final = 600
"""Round trips kept per peer: a minute of heartbeats at etcd's default."""

LATEST_MAX: Final = 64
"""Syncs and acknowledgements kept to compare disks."""


class Histogram:
    """Observations in buckets, as Prometheus wants them."""

    __slots__ = ("bounds", "counts", "longest", "total")

    def __init__(self, bounds: tuple[float, ...] = DISK_BUCKETS_S) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Not cumulative; the last one is what exceeds all bounds."""
        self.total = 0.0
        self.longest = 0.0
        """The largest value since a reader has set this to 0."""

    def observe(self, value: float) -> None:
        """Count one value."""
        if value > self.longest:
            self.longest = value
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


class MethodCounter:
    """Calls of one gRPC method."""

    __slots__ = ("failed", "kind", "method", "ok", "service", "started")

    def __init__(self, path: bytes, kind: str) -> None:
        service, _, method = path.decode().lstrip("/").partition("/")
        self.service = service
        self.method = method
        self.kind = kind
        self.started = 0
        self.ok = 0
        self.failed: dict[int, int] = {}
        """By gRPC code."""

    def fail(self, code: Code | int) -> None:
        """A call ended in an error."""
        self.failed[int(code)] = self.failed.get(int(code), 0) + 1


RATED_MAX: Final = 200
"""As many append requests etcd computes its rates over."""


class AppendRate:
    """Append requests of one direction: how many ever, and how fast lately (etcd: statsQueue)."""

    __slots__ = ("_latest", "count")

    def __init__(self) -> None:
        self.count = 0
        self._latest: deque[tuple[float, int]] = deque(maxlen=RATED_MAX)

    def note(self, now_s: float, size_bytes: int) -> None:
        """Count one."""
        self.count += 1
        self._latest.append((now_s, size_bytes))

    def rate(self, now_s: float) -> tuple[float, float]:
        """Return requests and bytes per second; nothing when a second passed without one."""
        latest = self._latest
        if len(latest) < 2 or now_s - latest[-1][0] > 1.0:
            latest.clear()
            return 0.0, 0.0
        seconds = max(latest[-1][0] - latest[0][0], 1e-6)
        return len(latest) / seconds, sum(size for _, size in latest) / seconds


@dataclass(slots=True)
class PeerFigures:
    """One other member, as this one reaches it."""

    round_trip: Histogram = field(default_factory=lambda: Histogram(ROUND_TRIP_BUCKETS_S))
    samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))
    """(when, seconds of a round trip), the newest last; when is wall-clock seconds."""
    sent_bytes: int = 0
    received_bytes: int = 0
    send_failures: int = 0
    beat_sent_at: float = 0.0
    """When the heartbeat that is still unanswered left; 0 when none is."""
    append_sent_at: float = 0.0
    """When the append that is waited for left; 0 when none is."""
    append_last: Index = Index(0)  # noqa: RUF009 - a number
    """Its last entry."""
    appends: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST_MAX))
    """Seconds from an append to its acknowledgement, the newest last."""


@dataclass(slots=True)
class Figures:
    """All of one member."""

    methods: dict[bytes, MethodCounter] = field(default_factory=dict)
    """By path."""
    peers: dict[MemberId, PeerFigures] = field(default_factory=dict)
    appends_sent: AppendRate = field(default_factory=AppendRate)
    appends_received: AppendRate = field(default_factory=AppendRate)
    log_sync: Histogram = field(default_factory=Histogram)
    log_syncs: deque[float] = field(default_factory=lambda: deque(maxlen=LATEST_MAX))
    """Seconds of the latest syncs of the log, the newest last."""
    backend_commit: Histogram = field(default_factory=Histogram)
    started_s: float = 0.0
    """When the process started: wall clock."""
    leader_since_s: float = 0.0
    """Since when the present leader is known: wall clock; 0 before the first."""
    leader_changes: int = 0
    proposals_failed: int = 0
    reads_failed: int = 0
    puts: int = 0
    deletes: int = 0
    received_bytes: int = 0
    """From clients, whatever they speak."""
    sent_bytes: int = 0
    health_success: int = 0
    health_failures: int = 0
    longest_turn_s: float = 0.0
    """The longest that the loop was busy with one turn since the figures were last read."""
    longest_lag_s: float = 0.0
    """By how much a tick came too late: what any other event had to wait."""

    def peer(self, member_id: MemberId) -> PeerFigures:
        """The figures of one peer, made on demand."""
        found = self.peers.get(member_id)
        if found is None:
            found = self.peers[member_id] = PeerFigures()
        return found
