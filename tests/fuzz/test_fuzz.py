"""Each parser on its corpus and on some mutations of it; ``python -m tests.fuzz`` tries far more."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import mutate
from tests.fuzz.targets import TARGETS, input_bytes_max, load_corpus

MUTATIONS = 400


def try_one(name: str, data: bytes) -> bool:
    """Whether the input was taken; an undeclared error is a failure."""
    try:
        TARGETS[name].run(data)
    except TARGETS[name].errors:
        return False
    return True


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_corpus_and_mutations(name: str) -> None:
    corpus = load_corpus(name)
    for data in corpus:
        try_one(name, data)
    chance = random.Random(name)
    for _ in range(MUTATIONS):
        data = mutate(chance, corpus, input_bytes_max(name))
        try:
            try_one(name, data)
        except Exception as error:  # noqa: BLE001 - any: the input has to be told
            pytest.fail(f"{name} on {data.hex()}: {error!r}")


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_seed_is_taken(name: str) -> None:
    assert any(try_one(name, data) for data in TARGETS[name].seeds)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_any_bytes(name: str) -> None:
    @settings(max_examples=40, deadline=None)
    @example(b"")
    @given(st.binary(max_size=200))
    def run(data: bytes) -> None:
        try_one(name, data)

    run()
