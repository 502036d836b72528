"""The log's directory: what was synced comes back, whatever happens in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raftkv.log.errors import Corruption, LogInUse, StorageError
from raftkv.log.record import PREFIX_BYTES
from raftkv.log.segment import segment_name
from raftkv.log.wal import Metadata, Wal, WalContents
from raftkv.replica.effects import Persist
from raftkv.values import Entry, EntryKind, HardState, Index, MemberId, Term

METADATA = Metadata(cluster_id=7, member_id=3)
SEGMENT_BYTES = 4096


def entry(index: int, term: int = 1, size: int = 40) -> Entry:
    return Entry(Term(term), Index(index), EntryKind.COMMANDS, bytes([index % 251]) * size)


def persist(
    *entries: Entry,
    hard_state: HardState | None = None,
    reset_to: tuple[int, int] | None = None,
) -> Persist:
    reset = None if reset_to is None else (Index(reset_to[0]), Term(reset_to[1]))
    return Persist(1, hard_state, entries, None, must_sync=True, reset_to=reset)


def make(directory: Path, *writes: Persist) -> None:
    wal = Wal.create(directory, METADATA, segment_bytes=SEGMENT_BYTES)
    for write in writes:
        wal.write([write])
        wal.sync()
    wal.close()


def read(directory: Path) -> WalContents:
    wal, contents = Wal.open(directory, segment_bytes=SEGMENT_BYTES)
    wal.close()
    return contents


def test_an_empty_log_comes_back_empty(tmp_path: Path) -> None:
    make(tmp_path / "wal")
    contents = read(tmp_path / "wal")
    assert contents == WalContents(METADATA)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    hard_state = HardState(Term(4), MemberId(2), Index(1))
    make(tmp_path / "wal", persist(entry(1), entry(2), hard_state=hard_state), persist(entry(3)))
    contents = read(tmp_path / "wal")
    assert contents.entries == [entry(1), entry(2), entry(3)]
    assert contents.hard_state == hard_state
    assert contents.repaired_bytes == 0


def test_a_reopened_log_goes_on(tmp_path: Path) -> None:
    make(tmp_path / "wal", persist(entry(1)))
    for index in range(2, 6):
        wal, _ = Wal.open(tmp_path / "wal", segment_bytes=SEGMENT_BYTES)
        wal.write([persist(entry(index))])
        wal.sync()
        wal.close()
    assert [e.index for e in read(tmp_path / "wal").entries] == [1, 2, 3, 4, 5]


def test_a_conflicting_entry_replaces_the_tail(tmp_path: Path) -> None:
    make(tmp_path / "wal", persist(entry(1), entry(2), entry(3)), persist(entry(2, term=2)))
    assert read(tmp_path / "wal").entries == [entry(1), entry(2, term=2)]


def test_a_reset_empties_the_log(tmp_path: Path) -> None:
    make(
        tmp_path / "wal",
        persist(entry(1), entry(2)),
        persist(entry(101, term=5), reset_to=(100, 4)),
    )
    contents = read(tmp_path / "wal")
    assert (contents.start_index, contents.start_term) == (100, 4)
    assert contents.entries == [entry(101, term=5)]


def test_a_gap_is_refused(tmp_path: Path) -> None:
    wal = Wal.create(tmp_path / "wal", METADATA)
    with pytest.raises(StorageError, match="gap"):
        wal.write([persist(entry(2))])
    wal.close()


def test_segments_roll_and_trimming_deletes_them(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    wal = Wal.create(directory, METADATA, segment_bytes=SEGMENT_BYTES)
    for index in range(1, 41):
        wal.write([persist(entry(index, size=1000))])
        wal.sync()
    segments = sorted(directory.glob("*.wal"))
    assert len(segments) > 5
    assert wal.trim_to(20, 1) > 0
    wal.write([persist(entry(41))])
    wal.sync()
    wal.close()
    assert len(list(directory.glob("*.wal"))) < len(segments)
    contents = read(directory)
    assert contents.start_index == 20
    assert [e.index for e in contents.entries] == list(range(21, 42))


def test_trimming_survives_without_its_mark(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    wal = Wal.create(directory, METADATA, segment_bytes=SEGMENT_BYTES)
    for index in range(1, 41):
        wal.write([persist(entry(index, size=1000))])
        wal.sync()
    end = os.lseek(wal._descriptor, 0, os.SEEK_CUR)
    last = directory / segment_name(wal._number)
    wal.trim_to(20, 1)
    wal.close()
    with last.open("r+b") as file:
        file.seek(end)
        file.write(bytes(200))
    contents = read(directory)
    assert contents.start_index <= 20
    assert [e.index for e in contents.entries] == list(range(contents.start_index + 1, 41))


def test_a_truncation_across_segments_is_replayed_after_trimming(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    wal = Wal.create(directory, METADATA, segment_bytes=SEGMENT_BYTES)
    wal.write([persist(*(entry(i, size=1000) for i in range(1, 7)))])
    wal.write([persist(*(entry(i, term=2, size=1000) for i in range(4, 9)))])
    wal.write([persist(entry(9, term=2))])
    wal.sync()
    wal.trim_to(6, 2)
    wal.close()
    contents = read(directory)
    assert (contents.start_index, contents.start_term) == (6, 2)
    assert [(e.index, e.term) for e in contents.entries] == [(7, 2), (8, 2), (9, 2)]


def test_a_log_has_one_user(tmp_path: Path) -> None:
    wal = Wal.create(tmp_path / "wal", METADATA)
    with pytest.raises(LogInUse):
        Wal.open(tmp_path / "wal")
    wal.close()
    read(tmp_path / "wal")


def test_a_log_is_not_made_twice(tmp_path: Path) -> None:
    make(tmp_path / "wal")
    with pytest.raises(StorageError, match="already"):
        Wal.create(tmp_path / "wal", METADATA)


def test_nothing_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no log"):
        Wal.open(tmp_path / "wal")


# ---- torn tails ------------------------------------------------------------------------


def _tail(directory: Path) -> tuple[Path, bytes, int, int]:
    """Return (file, its bytes, where the last write begins, where it ends)."""
    wal = Wal.create(directory, METADATA, segment_bytes=SEGMENT_BYTES)
    wal.write([persist(entry(1), entry(2), hard_state=HardState(Term(1), MemberId(1)))])
    wal.sync()
    begin = os.lseek(wal._descriptor, 0, os.SEEK_CUR)
    wal.write([persist(entry(3), entry(4), hard_state=HardState(Term(2), MemberId(2), Index(2)))])
    end = os.lseek(wal._descriptor, 0, os.SEEK_CUR)
    wal.close()
    path = directory / segment_name(1)
    return path, path.read_bytes(), begin, end


def test_a_write_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    path, data, begin, end = _tail(tmp_path / "wal")
    for cut in range(begin, end + 1):
        path.write_bytes(data[:cut] + bytes(len(data) - cut))
        contents = read(tmp_path / "wal")
        indexes = [e.index for e in contents.entries]
        # A write is all or nothing: a commit index never survives without its entries.
        assert indexes == ([1, 2, 3, 4] if cut == end else [1, 2]), cut
        assert contents.hard_state.term == (2 if cut == end else 1)
        assert contents.repaired_bytes <= end - begin
        assert read(tmp_path / "wal").repaired_bytes == 0


def test_a_file_cut_short_at_any_byte_is_repaired(tmp_path: Path) -> None:
    path, data, begin, end = _tail(tmp_path / "wal")
    for cut in range(begin, end):
        path.write_bytes(data[:cut])
        assert [e.index for e in read(tmp_path / "wal").entries] == [1, 2]
        assert path.stat().st_size == SEGMENT_BYTES


def test_pages_of_one_unsynced_write_may_be_missing(tmp_path: Path) -> None:
    path, data, begin, end = _tail(tmp_path / "wal")
    path.write_bytes(data[:begin] + bytes(60) + data[begin + 60 :])
    contents = read(tmp_path / "wal")
    assert [e.index for e in contents.entries] == [1, 2]
    assert contents.repaired_bytes == end - begin


def test_writing_goes_on_after_a_repair(tmp_path: Path) -> None:
    path, data, _, end = _tail(tmp_path / "wal")
    path.write_bytes(data[: end - 5] + bytes(len(data) - end + 5))
    wal, contents = Wal.open(tmp_path / "wal", segment_bytes=SEGMENT_BYTES)
    assert contents.repaired_bytes > 0
    wal.write([persist(entry(3, term=9))])
    wal.sync()
    wal.close()
    assert [e.term for e in read(tmp_path / "wal").entries] == [1, 1, 9]


# ---- damage ----------------------------------------------------------------------------


def test_a_flipped_bit_in_synced_bytes_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    path, data, begin, _ = _tail(directory)
    for position in range(begin):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises((Corruption, StorageError)) as caught:
            Wal.open(directory, segment_bytes=SEGMENT_BYTES)
        assert str(path) in str(caught.value)
    path.write_bytes(data)
    assert [e.index for e in read(directory).entries] == [1, 2, 3, 4]


def test_damage_names_file_and_offset(tmp_path: Path) -> None:
    path, data, begin, _ = _tail(tmp_path / "wal")
    damaged = bytearray(data)
    damaged[begin - 3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(Corruption) as caught:
        Wal.open(tmp_path / "wal")
    assert caught.value.path == str(path)
    assert 0 < caught.value.offset < begin - PREFIX_BYTES


def test_damage_in_an_older_segment_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    make(directory, *(persist(entry(i, size=1000)) for i in range(1, 12)))
    path = directory / segment_name(1)
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corruption, match=path.name):
        read(directory)


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    make(directory, *(persist(entry(i, size=1000)) for i in range(1, 20)))
    (directory / segment_name(2)).unlink()
    with pytest.raises(Corruption, match="missing"):
        read(directory)


def test_a_segment_of_another_member_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "wal", *(persist(entry(i, size=1000)) for i in range(1, 8)))
    other = Wal.create(tmp_path / "other", Metadata(7, 4), segment_bytes=SEGMENT_BYTES)
    for index in range(1, 8):
        other.write([persist(entry(index, size=1000))])
        other.sync()
    other.close()
    foreign = (tmp_path / "other" / segment_name(2)).read_bytes()
    (tmp_path / "wal" / segment_name(2)).write_bytes(foreign)
    with pytest.raises(Corruption, match="another member"):
        read(tmp_path / "wal")


# ---- failing disks ---------------------------------------------------------------------


class FailingDisk:
    """Lets the n-th disk operation fail, and every one after it."""

    def __init__(self, allowed: int) -> None:
        self.left = allowed
        self.has_failed = False

    def wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                self.has_failed = True
                raise OSError(28, "No space left on device")
            return operation(*arguments, **named)

        return call


def _write_until_failure(directory: Path) -> int:
    """Write entries with one sync each; return the last index that was promised."""
    wal = Wal.create(directory, METADATA, segment_bytes=SEGMENT_BYTES)
    promised = 0
    try:
        for index in range(1, 13):
            wal.write([persist(entry(index, size=900))])
            wal.sync()
            promised = index
            if index == 8:
                wal.trim_to(4, 1)
    except (StorageError, OSError):
        with pytest.raises(StorageError):
            wal.sync()
        raise _Stopped(promised) from None
    finally:
        wal.close()
    return promised


class _Stopped(Exception):  # noqa: N818 - not an error
    pass


def test_whichever_disk_operation_fails_nothing_promised_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = ("write", "fdatasync", "fsync", "posix_fallocate", "unlink", "rename")
    for allowed in range(200):
        directory = tmp_path / f"wal{allowed}"
        disk = FailingDisk(allowed)
        promised = 0
        with monkeypatch.context() as patch:
            for name in operations:
                patch.setattr(os, name, disk.wrap(getattr(os, name)))
            try:
                promised = _write_until_failure(directory)
            except _Stopped as stopped:
                promised = stopped.args[0]
            except (StorageError, OSError):
                continue  # The log was never made.
        contents = read(directory)
        last = contents.entries[-1].index if contents.entries else contents.start_index
        assert last >= promised
        if not disk.has_failed:
            assert promised == 12
            return
    pytest.fail("the disk never worked")
