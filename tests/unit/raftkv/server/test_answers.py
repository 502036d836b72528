"""A bug in one answer costs one client its answer, and nobody else anything."""

from __future__ import annotations

import logging

import pytest

from raftkv.server.answers import tell_applied, tell_ready


class Token:
    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.seen: list[object] = []

    def applied(self, result: object) -> None:
        if self.fails:
            raise TypeError("a bug")
        self.seen.append(result)

    def ready(self) -> None:
        self.applied("ready")


def test_the_others_are_answered(caplog: pytest.LogCaptureFixture) -> None:
    tokens = [Token(), Token(fails=True), Token(fails=True), Token()]
    with caplog.at_level(logging.ERROR):
        tell_applied(tokens, [1, 2, 3, 4])
        tell_ready(tokens)
    assert [token.seen for token in tokens] == [[1, "ready"], [], [], [4, "ready"]]
    assert len(caplog.records) == 4


def test_a_missing_result_is_no_bug_of_an_answer() -> None:
    with pytest.raises(ValueError, match="shorter"):
        tell_applied([Token(), Token()], [1])
