"""Pages and elements of bbolt (the file form of version 2), little endian.

::

    page     id u64 │ flags u16 │ count u16 │ overflow u32 │ elements ... │ data ...
    leaf     flags u32 │ position u32 │ key length u32 │ value length u32
    branch   position u32 │ key length u32 │ page id u64
    bucket   root page id u64 │ sequence u64 │ a whole leaf page, when the root is 0 (inline)
    meta     magic u32 │ version u32 │ page size u32 │ flags u32 │ bucket │ freelist page id u64
             │ page count u64 │ transaction id u64 │ FNV-1a of the meta so far u64

Positions count from the element itself. Pages 0 and 1 are metas; the valid one with the higher
transaction id counts.
"""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = 0xED0CDAED
VERSION: Final = 2
PAGE_BYTES: Final = 4096

BRANCH: Final = 0x01
LEAF: Final = 0x02
META: Final = 0x04
FREELIST: Final = 0x10
IS_BUCKET: Final = 0x01
"""Flag of a leaf element whose value is a bucket."""

PAGE: Final = struct.Struct("<QHHI")
LEAF_ELEMENT: Final = struct.Struct("<IIII")
BRANCH_ELEMENT: Final = struct.Struct("<IIQ")
BUCKET: Final = struct.Struct("<QQ")
META_BODY: Final = struct.Struct("<IIIIQQQQQ")
CHECKSUM: Final = struct.Struct("<Q")
COUNT_MAX: Final = 0xFFFF

_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_U64: Final = (1 << 64) - 1


def checksum(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    value = _FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & _U64
    return value
