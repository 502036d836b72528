"""The journal keeps what was committed and nothing that was torn."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from localjuju.book import Book
from localjuju.entities import Application, End, Lease, Model, Relation, Status, Unit
from localjuju.errors import JujuError
from localjuju.journal import Journal, decode_line, encode_line
from localjuju.resolver.state import Hook, LocalState, RelationLocal


class Shelf:
    """Opens books and closes them at the end of the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.books: list[Book] = []

    def open(self) -> Book:
        self.books.append(Book(Journal(self.path)))
        return self.books[-1]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "journal")
    yield shelf
    for book in shelf.books:
        book.close()


def fill(book: Book) -> None:
    with book.change() as records:
        records.models["model"] = Model("lab", "id", counters={"machine": 2})
        local = LocalState(
            installed=True,
            hook=Hook("relation-joined", relation=3, endpoint="feed", remote_unit="a/0"),
            relations={"3": RelationLocal(members={"a/0": 4}, created=True)},
            storage=("data/0",),
        )
        status = Status("active", "well", 1.5)
        records.units["b/1"] = Unit("b/1", "b", "0", status, status, local=local)


def test_records_come_back_as_they_were(shelf: Shelf) -> None:
    book = shelf.open()
    fill(book)
    again = shelf.open()
    assert again.records == book.records
    assert isinstance(again.records.units["b/1"].local, LocalState)


def test_deleted_records_stay_away(shelf: Shelf) -> None:
    book = shelf.open()
    fill(book)
    with book.change() as records:
        del records.units["b/1"]
    assert shelf.open().records.units == {}


def test_a_change_of_nothing_writes_nothing(shelf: Shelf) -> None:
    book = shelf.open()
    fill(book)
    size = shelf.path.stat().st_size
    with book.change():
        pass
    assert shelf.path.stat().st_size == size


def test_every_torn_tail_is_dropped_and_overwritten(shelf: Shelf) -> None:
    path = shelf.path
    book = shelf.open()
    fill(book)
    first = path.stat().st_size
    with book.change() as records:
        records.models["model"].counters["machine"] = 9
    whole = path.read_bytes()
    for size in range(first, len(whole)):
        path.write_bytes(whole[:size])
        again = shelf.open()
        assert again.records.model.counters == {"machine": 2}
        with again.change() as records:
            records.models["model"].counters["machine"] = 5
        assert shelf.open().records.model.counters == {"machine": 5}


@pytest.mark.parametrize("position", [0, 5, 9, 20, -2])
def test_a_flipped_bit_ends_the_reading(position: int) -> None:
    line = bytearray(encode_line(['"models/model":{"name":"lab"}'], []))
    assert decode_line(bytes(line)) is not None
    line[position] ^= 1
    assert decode_line(bytes(line)) is None


def test_file_is_rewritten_when_it_has_grown(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localjuju.journal.COMPACT_BYTES", 4096)
    book = shelf.open()
    fill(book)
    for number in range(400):
        with book.change() as records:
            records.models["model"].counters["task"] = number
    assert shelf.path.stat().st_size < 8192
    assert shelf.open().records == book.records


def test_optional_and_nested_values(shelf: Shelf) -> None:
    book = shelf.open()
    with book.change() as records:
        records.applications["a"] = Application("a", "local:a-0", lease=Lease("a/0", 1.0))
        records.relations["0"] = Relation(0, [End("a", "ring", "peer", "i")])
    again = shelf.open().records
    assert again.applications["a"].lease == Lease("a/0", 1.0)
    assert again.applications["a"].status is None
    assert again.relations["0"].is_peer


def test_a_change_that_fails_leaves_nothing_behind(shelf: Shelf) -> None:
    book = shelf.open()
    fill(book)
    unit = book.records.units["b/1"]
    with pytest.raises(JujuError, match="no"), book.change() as records:
        records.units["b/1"].version = "2"
        records.applications["b"] = Application("b", "local:b-0")
        del records.models["model"]
        raise JujuError("no")
    assert book.records.units["b/1"] is unit
    assert unit.version == ""
    assert book.records.applications == {}
    assert shelf.open().records == book.records


def test_a_full_disk_loses_nothing(shelf: Shelf, tmp_path: Path) -> None:
    book = shelf.open()
    fill(book)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "journal").stat().st_size
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, limit[1]))
    try:
        with pytest.raises(JujuError, match="cannot write the model's journal"):  # noqa: SIM117
            with book.change() as records:
                records.units["b/1"].version = "x" * 200
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert book.records.units["b/1"].version == ""
    with book.change() as records:
        records.units["b/1"].version = "3"
    assert shelf.open().records.units["b/1"].version == "3"
