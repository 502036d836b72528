"""What an operator or the driver may choose about consensus. Units: ticks, entries, bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RaftSettings:
    """Limits and timeouts of one member. All members of a cluster should use the same ones.

    Raises:
        ValueError: when the timeouts cannot work together.
    """

    election_ticks: int = 10
    """A follower that hears nothing for this long (up to twice, at random) campaigns. etcd: 10."""
    heartbeat_ticks: int = 1
    """A leader tells that it lives this often. etcd: 1."""
    max_append_bytes: int = 1 << 20
    """Most entry data in one append message (one entry always fits). etcd: 1 MiB."""
    max_inflight_messages: int = 256
    """Append messages under way to one follower. etcd: 512; ours carry whole batches."""
    max_inflight_bytes: int = 16 << 20
    """Entry bytes under way to one follower: bounds what a slow peer can hold in our memory."""
    max_uncommitted_bytes: int = 64 << 20
    """A leader that cannot commit refuses new proposals beyond this, instead of growing."""
    max_pending_batches: int = 4096
    """Batches of this member's own clients without a result; more are refused as overload."""
    proposal_ticks: int = 50
    """A batch without any result for this long is reported as lost (etcd: 5 s and an election)."""
    retain_entries: int = 5000
    """Entries kept behind the durable state, so that a slow follower needs no snapshot."""
    retain_bytes: int = 64 << 20
    """The same limit in bytes, for clusters with large values."""
    newcomer_ticks: int = 6000
    """A new voter that never came is dropped after this long (10 minutes of etcd's ticks)."""
    hold_entries: int = 500_000
    """The log keeps growing up to this for a follower that is fetching what it lacks, or that a
    snapshot is on its way to: else the snapshot would be of no use when it is there."""
    hold_bytes: int = 256 << 20
    """The same limit in bytes. Beyond either one the follower is sent the state once more."""

    def __post_init__(self) -> None:
        if self.heartbeat_ticks < 1:
            raise ValueError("heartbeat_ticks must be at least 1")
        if self.election_ticks <= self.heartbeat_ticks:
            raise ValueError("election_ticks must be greater than heartbeat_ticks")
