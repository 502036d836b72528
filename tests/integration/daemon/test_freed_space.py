"""Row 33: a store that was nearly emptied is as fast as a fresh one, and uses its room again.

Short in ``./run test``, with 24 MiB. ``RAFTKV_LONG=1`` fills 2 GiB, goes on for an hour, with a turn
of the fresh store every minute, and holds the member to the row's bounds.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from statistics import median

from kvclient import Client
from tests.kit.servers import Cluster
from tests.kit.writer import fill

IS_LONG = bool(os.environ.get("RAFTKV_LONG"))
FILL_MIB = 2048 if IS_LONG else 24
ROUNDS = 60 if IS_LONG else 1
USED_S, FRESH_S = (60.0, 10.0) if IS_LONG else (2.0, 0.5)
PUTS_MAX = None if IS_LONG else 1000
"""Some 4 MiB in the short form: with what comes after them, less than what was freed."""
LONGEST = "raftkv_backend_longest_commit_seconds"
FLAGS = ["--quota-backend-bytes=8589934592"]


def rate(client: Client, seconds: float, puts_max: int | None = None) -> float:
    """Puts per second, of values from 1 byte to 1 MiB, small ones more often than large ones."""
    chance = random.Random(1)
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds and count != puts_max:
        size = int(2 ** chance.uniform(0, 20) / (1 if chance.random() < 0.02 else 64)) + 1
        revision = client.put(b"after/%04d" % chance.randrange(1000), bytes(size))
        count += 1
        if count % 5000 == 0:
            client.compact(revision)
    return count / (time.monotonic() - began)


def test_row_33_free_space_costs_nothing_and_is_used_again(tmp_path: Path) -> None:
    places = [tmp_path / "fresh", tmp_path / "used"]
    for place in places:
        place.mkdir()
    store = places[1] / "m0" / "member" / "store" / "data.mdb"
    with (
        Cluster("raftkv", places[0], flags=FLAGS) as fresh,
        Client(fresh.endpoints, timeout_s=60) as fresh_client,
        Cluster("raftkv", places[1], flags=FLAGS) as used,
        Client(used.endpoints, timeout_s=60) as client,
    ):
        fill(client, b"fill/", FILL_MIB)
        client.delete(b"fill/", b"fill/%06d" % (FILL_MIB * 16 * 95 // 100))
        client.compact(client.status().revision, physical=True)
        size = store.stat().st_size
        rates = []
        used.members[0].read_number(LONGEST)  # from now on
        for _ in range(ROUNDS):  # in turns: the machine itself is faster and slower within an hour
            at_fresh = rate(fresh_client, FRESH_S, PUTS_MAX)
            rates.append((at_fresh, rate(client, USED_S, PUTS_MAX)))
        longest_s = used.members[0].read_number(LONGEST)
        fill(client, b"again/", FILL_MIB * 6 // 10)
        client.compact(client.status().revision, physical=True)
        assert store.stat().st_size <= size * 1.1, "what was freed is used again"
    at_fresh, at_used = (median(column) for column in zip(*rates, strict=True))
    ratio = median(two / one for one, two in rates)
    print(
        f"{at_used:.0f} puts per second after 95 % of {FILL_MIB} MiB went, {at_fresh:.0f} when "
        f"fresh, {ratio:.2f} in the median of {ROUNDS} rounds; the longest flush took "
        f"{longest_s * 1000:.1f} ms"
    )
    if IS_LONG:
        assert ratio >= 0.9
        assert longest_s <= 0.05
