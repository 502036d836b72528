"""A copy made while its original is written to holds exactly the original's rows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from raftkv.backend import schema
from raftkv.backend.environment import Environment, RowWrite
from raftkv.backend.schema import Table
from raftkv.backend.twin import Twin


def contents(environment: Environment) -> dict[Table, list[tuple[bytes, bytes]]]:
    view = environment.view()
    found = {table: list(view.scan(table)) for table in Table}
    view.close()
    return found


@pytest.mark.parametrize("seed", range(12))
def test_the_copy_follows(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    original = Environment(tmp_path / "store")
    last = 0

    def write(twin: Twin | None) -> None:
        nonlocal last
        rows = []
        for _ in range(chance.randrange(40)):
            last += 1
            rows.append((last.to_bytes(8, "big"), chance.randbytes(chance.randrange(200))))
        original.append_rows(Table.ROWS, rows)
        others: list[RowWrite] = [
            (Table.ROWS, chance.randrange(1, last + 1).to_bytes(8, "big"), None)
            for _ in range(chance.randrange(20))
            if last
        ]
        for _ in range(chance.randrange(20)):
            key = chance.randrange(500).to_bytes(8, "big")
            row = None if chance.random() < 0.3 else chance.randbytes(20)
            others.append((chance.choice([Table.V2, Table.AUTH, Table.LEASES]), key, row))
        others.append((Table.META, schema.META_REVISION, schema.encode_number(last)))
        original.write_rows(others)
        if twin is not None:
            twin.follow_rows(rows)
            twin.follow(others)

    for _ in range(100):
        write(None)
    original.commit()
    twin = Twin(original, tmp_path / "store.defrag")
    while not twin.is_complete:
        twin.copy_slice()
        if chance.random() < 0.7:
            write(twin)
        if chance.random() < 0.3:
            original.commit()
    for _ in range(5):
        write(twin)
    original.commit()
    twin.commit()
    twin.close()
    copy = Environment(tmp_path / "store.defrag")
    assert contents(copy) == contents(original)
    assert copy.size_bytes() <= original.size_bytes()


def test_space_comes_back(tmp_path: Path) -> None:
    original = Environment(tmp_path / "store")
    rows = [(i.to_bytes(8, "big"), bytes(1000)) for i in range(5000)]
    original.append_rows(Table.ROWS, rows)
    original.commit()
    original.write_rows([(Table.ROWS, key, None) for key, _ in rows[:4900]])
    original.commit()
    twin = Twin(original, tmp_path / "store.defrag")
    while not twin.is_complete:
        twin.copy_slice()
    twin.commit()
    twin.close()
    copy = Environment(tmp_path / "store.defrag")
    assert copy.size_bytes() * 10 < original.size_bytes()
    assert contents(copy) == contents(original)


def test_an_attempt_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    original = Environment(tmp_path / "store")
    twin = Twin(original, tmp_path / "store.defrag")
    twin.abandon()
    assert not (tmp_path / "store.defrag").exists()
