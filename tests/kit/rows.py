"""A backend for the pure store: a sorted dictionary, as the simulation has it."""

from __future__ import annotations

from collections.abc import Iterator


class DictRows:
    """``mvcc.ReadView`` over a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}

    def get_row(self, row_id: int) -> bytes | None:
        return self.rows.get(row_id)

    def get_rows(self, row_ids: list[int]) -> list[bytes]:
        return [self.rows[i] for i in row_ids if i in self.rows]

    def scan_rows(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        for row_id in sorted(i for i in self.rows if first <= i < end):
            yield row_id, self.rows[row_id]
