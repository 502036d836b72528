from __future__ import annotations

import random

import pytest

from raftkv.proxy.directory import Directory
from raftkv.server.flags import ConfigError
from raftkv.server.gateway import parse_duration


def make() -> Directory:
    directory = Directory(5.0, random.Random(3))
    directory.replace(["a", "b", "c"])
    return directory


def test_who_failed_is_left_alone_for_a_while() -> None:
    directory = make()
    first = directory.candidates(0.0)[0]
    directory.note_failure(first, 10.0)
    assert first not in directory.candidates(14.9)
    assert set(directory.candidates(15.0)) == {"a", "b", "c"}


def test_all_failed_leaves_nobody() -> None:
    directory = make()
    for endpoint in directory.endpoints:
        directory.note_failure(endpoint, 1.0)
    assert directory.candidates(2.0) == ()
    assert len(directory.endpoints) == 3


def test_a_new_list_keeps_places_and_failures() -> None:
    directory = make()
    order = directory.endpoints
    directory.note_failure(order[1], 1.0)
    directory.replace(["d", order[1], order[0]])
    assert directory.endpoints[:2] == order[:2]
    assert set(directory.candidates(2.0)) == {"d", order[0]}
    directory.note_failure("gone", 2.0)
    assert "gone" not in directory.endpoints


def test_order_differs_between_proxies() -> None:
    orders = set()
    for seed in range(20):
        directory = Directory(5.0, random.Random(seed))
        directory.replace(["a", "b", "c"])
        orders.add(directory.endpoints)
    assert len(orders) > 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1m0s", 60.0), ("500ms", 0.5), ("1h", 3600.0), ("0", 0.0), ("1.5s", 1.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--x") == seconds


@pytest.mark.parametrize("text", ["5", "s", "1x", "1m2", "-1s", "1ms5"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ConfigError, match="--x"):
        parse_duration(text, "--x")
