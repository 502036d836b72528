"""Row 27: a long start says how far it is."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from raftkv.server.notify import StartProgress
from raftkv.store.mvcc import KeyValueStore
from tests.kit.rows import DictRows


def test_row_27_a_long_start_tells_systemd_its_percentage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.setblocking(False)
        StartProgress().tell("loading the store", 1, 200)
        with pytest.raises(BlockingIOError):
            systemd.recv(1000)
        progress = StartProgress(quiet_s=0)
        progress.tell("loading the store", 50, 200)
        progress.tell("loading the store", 51, 200)
        assert systemd.recv(1000) == b"STATUS=loading the store: 25 %, 50 of 200"
        with pytest.raises(BlockingIOError):
            systemd.recv(1000)


def test_row_27_loading_tells_how_many_rows_it_has() -> None:
    view = DictRows()
    store = KeyValueStore(view)
    for number in range(3 * 65536 // 2):
        store.begin()
        store.put(b"%d" % (number % 100), b"", 0)
        store.commit()
    store.changes = []
    view.rows = {row_id: store.row(row_id) for row_id in store._overlay}
    told: list[int] = []
    KeyValueStore.load(view, store.revision, 0, told.append)
    assert told == [0, 65536]
