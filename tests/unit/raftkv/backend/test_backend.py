"""The backend's rows and its snapshot stream: what goes in comes out, and damage is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftkv.backend import schema
from raftkv.backend.environment import Environment
from raftkv.backend.errors import CorruptionError, StorageError
from raftkv.backend.schema import Table
from raftkv.backend.stream import export_chunks, import_file, read_rows


def filled(directory: Path, count: int = 50) -> Environment:
    environment = Environment(directory)
    rows = [(i.to_bytes(8, "big"), b"row %d" % i * 20) for i in range(count)]
    environment.append_rows(Table.ROWS, rows)
    environment.write_rows(
        [
            (Table.V2, b"\0" * 8, b"node"),
            (Table.META, schema.META_APPLIED_INDEX, schema.encode_number(7)),
            (Table.META, schema.META_MEMBER_ID, schema.encode_number(9)),
        ]
    )
    environment.commit()
    return environment


def save(environment: Environment, path: Path) -> None:
    view = environment.view()
    path.write_bytes(b"".join(export_chunks(view)))
    view.close()


def test_a_snapshot_restores_everything_but_local_facts(tmp_path: Path) -> None:
    source = filled(tmp_path / "a", 5000)
    save(source, tmp_path / "s")
    target = Environment(tmp_path / "b")
    import_file(tmp_path / "s", target, skip=frozenset())
    view = target.view()
    assert view.count(Table.ROWS) == 5000
    assert view.number(schema.META_APPLIED_INDEX) == 7
    assert view.number(schema.META_MEMBER_ID) == 0
    assert view.get(Table.V2, b"\0" * 8) == b"node"


def test_size_tells_etcdctl_that_a_hash_follows(tmp_path: Path) -> None:
    for count in (0, 1, 2, 3, 50):
        environment = filled(tmp_path / f"e{count}", count)
        save(environment, tmp_path / "s")
        assert (tmp_path / "s").stat().st_size % 512 == 32
        environment.close()


def test_every_flipped_byte_and_every_cut_is_seen(tmp_path: Path) -> None:
    environment = filled(tmp_path / "a", 3)
    save(environment, tmp_path / "s")
    whole = (tmp_path / "s").read_bytes()
    path = tmp_path / "damaged"
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 0x41,)) + whole[at + 1 :])
        with pytest.raises(CorruptionError):
            list(read_rows(path))
        path.write_bytes(whole[:at])
        with pytest.raises(CorruptionError):
            list(read_rows(path))
    path.write_bytes(whole + b"x")
    with pytest.raises(CorruptionError, match="after the end"):
        list(read_rows(path))


def test_a_newer_format_is_refused_and_untouched(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "a")
    environment.write_rows([(Table.META, schema.META_FORMAT, schema.encode_number(99))])
    environment.commit()
    environment.close()
    before = (tmp_path / "a" / "data.mdb").read_bytes()
    with pytest.raises(StorageError, match="newer version"):
        Environment(tmp_path / "a")
    assert (tmp_path / "a" / "data.mdb").read_bytes() == before


def test_a_view_stays_as_it_was_until_renewed(tmp_path: Path) -> None:
    environment = filled(tmp_path / "a", 1)
    view = environment.view()
    environment.append_rows(Table.ROWS, [(b"\xff" * 8, b"new")])
    environment.commit()
    assert view.get(Table.ROWS, b"\xff" * 8) is None
    view.renew()
    assert view.get(Table.ROWS, b"\xff" * 8) == b"new"
    assert environment.used_bytes() <= environment.size_bytes()
