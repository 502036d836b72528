"""New inputs from old ones: what a run draws is decided by its seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

_TELLING = (0, 1, 2, 4, 5, 8, 16, 31, 32, 63, 64, 127, 128, 191, 192, 254, 255)
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x4000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(chance: random.Random, corpus: Sequence[bytes], bytes_max: int) -> bytes:
    """Return one of the corpus, changed in one to eight places."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(8)
        if kind == 0:
            data[at:at] = bytes(chance.choice(_TELLING) for _ in range(chance.randint(1, 8)))
        elif kind == 1:
            del data[at : at + chance.randint(1, 16)]
        elif kind == 2 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 3 and at < len(data):
            data[at] = chance.choice(_TELLING)
        elif kind == 4:
            number = chance.choice(_NUMBERS).to_bytes(4, "big")[-chance.randint(1, 4) :]
            data[at : at + len(number)] = number
        elif kind == 5:
            other = chance.choice(corpus)
            start = chance.randrange(len(other) + 1)
            data[at:at] = other[start : start + chance.randint(1, 64)]
        elif kind == 6:
            end = at + chance.randint(1, 32)
            data[at:at] = data[at:end] * chance.randint(1, 4)
        else:
            del data[at:]
    return bytes(data[:bytes_max])
