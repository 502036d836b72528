"""How long the engine's log syncs took lately, from the histogram that both engines show.

The histogram counts since the engine was started; what it showed at an earlier look is taken off,
so that a disk that was slow last month is not called slow for ever.
"""

import contextlib
import http.client
import re
from collections.abc import Sequence
from itertools import pairwise

from etcd_charm.workload.v2_keys import connect
from kvclient import ClientTLS

TIMEOUT_S = 1.0
SAMPLES_MIN = 100
"""Fewer syncs have no 99th percentile."""
_BUCKET = re.compile(
    rb'^etcd_disk_wal_fsync_duration_seconds_bucket\{le="([^"]+)"\} (\d+)$', re.MULTILINE
)

Buckets = tuple[tuple[float, int], ...]
"""(upper bound in seconds, how many syncs took at most so long), ascending; the last is all."""


def read_buckets(url: str, tls: ClientTLS) -> Buckets:
    """Return what the member shows; nothing if it does not answer."""
    try:
        connection = connect(url, tls, TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return ()
    return tuple((float(bound), int(count)) for bound, count in _BUCKET.findall(text))


def since(before: Sequence[int], now: Buckets) -> Buckets:
    """Take off what an earlier look counted, unless the engine was started since."""
    counts = [count for _, count in now]
    if len(before) != len(counts) or any(b > c for b, c in zip(before, counts, strict=True)):
        return now
    return tuple((bound, count - b) for (bound, count), b in zip(now, before, strict=True))


def find_p99_ms(buckets: Buckets) -> int | None:
    """Return the 99th percentile, between the bounds of its bucket as Prometheus does it.

    Beyond the last finite bound it is that bound. `None` if there are too few.
    """
    total = buckets[-1][1] if buckets else 0
    if total < SAMPLES_MIN:
        return None
    rank = total * 0.99
    for (low, below), (high, count) in pairwise(((0.0, 0), *buckets)):
        if count >= rank:
            part = (rank - below) / (count - below)
            return round(1000 * (low if high == float("inf") else low + (high - low) * part))
    return None
