from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftkv.bbolt.errors import DamagedDatabaseError
from raftkv.bbolt.layout import PAGE_BYTES
from raftkv.bbolt.reader import Database, is_database
from raftkv.bbolt.writer import write_database

Rows = dict[bytes, bytes]


def write(path: Path, buckets: dict[bytes, Rows]) -> int:
    with path.open("wb") as file:
        return write_database(file, [(n, sorted(buckets[n].items())) for n in sorted(buckets)])


def read(path: Path) -> dict[bytes, Rows]:
    with Database(path) as database:
        return {name: dict(database.rows(name)) for name in database.bucket_names()}


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=20),
        st.dictionaries(
            st.binary(min_size=1, max_size=300), st.binary(max_size=9000), max_size=40
        ),
        max_size=6,
    )
)
def test_what_is_written_is_read(tmp_path: Path, buckets: dict[bytes, Rows]) -> None:
    path = tmp_path / "db"
    size = write(path, buckets)
    assert size == path.stat().st_size
    assert size % PAGE_BYTES == 0
    assert is_database(path.read_bytes()[:64])
    assert read(path) == buckets


def many_rows(count: int) -> Rows:
    return {number.to_bytes(8, "big"): b"v" * (number % 700) for number in range(1, count)}


def test_trees_of_several_levels(tmp_path: Path) -> None:
    rows = {b"%0300d" % number: b"x" for number in range(3000)}
    write(tmp_path / "db", {b"key": rows})
    with Database(tmp_path / "db") as database:
        assert list(database.rows(b"key")) == sorted(rows.items())
        assert list(database.rows(b"other")) == []


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"], [b""]])
def test_keys_must_ascend(tmp_path: Path, keys: list[bytes]) -> None:
    with (tmp_path / "db").open("wb") as file, pytest.raises(ValueError, match="does not follow"):
        write_database(file, [(b"bucket", [(key, b"") for key in keys])])


def test_a_torn_first_meta_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "db"
    write(path, {b"key": many_rows(100)})
    data = bytearray(path.read_bytes())
    data[20:60] = bytes(40)
    path.write_bytes(data)
    assert read(path) == {b"key": many_rows(100)}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "too few"),
        (bytes(5000), "no valid meta page"),
        (b"RKVSNAP1" + bytes(9000), "no valid meta page"),
    ],
)
def test_what_is_no_database(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "db"
    path.write_bytes(content)
    with pytest.raises(DamagedDatabaseError, match=text):
        Database(path)


def test_a_file_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "db"
    size = write(path, {b"key": many_rows(2000)})
    path.write_bytes(path.read_bytes()[: size // 2])
    with pytest.raises(DamagedDatabaseError, match=r"outside the file|longer than the file"):
        read(path)


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "db"
    write(path, {b"key": many_rows(60), b"meta": {b"index": b"12345678"}})
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data))
        # Where the structure is, rather than the values.
        at = at - at % PAGE_BYTES + chance.randrange(200) if chance.random() < 0.8 else at
        data[at] = chance.choice((0, 0xFF, data[at] ^ 1 << chance.randrange(8)))
    path.write_bytes(data)
    with contextlib.suppress(DamagedDatabaseError):
        read(path)
