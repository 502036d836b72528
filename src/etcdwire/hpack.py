"""HPACK (RFC 7541): header decoding for a server, and the few literals it ever sends.

The decoder remembers whole header blocks: a client that repeats a block while the dynamic table
stands still (h2load, browsers, Go's client without deadlines) costs one dictionary look-up.
Limits: a decoded header list above ``max_list_bytes`` ends the connection (RFC 9113 section 10.5.1),
so that a few bytes cannot be blown up into megabytes.
"""

from __future__ import annotations

from typing import Final

Header = tuple[bytes, bytes]
Headers = tuple[Header, ...]

DEFAULT_TABLE_BYTES: Final = 4096
ENTRY_OVERHEAD_BYTES: Final = 32  # RFC 7541 section 4.1
CACHED_BLOCKS_MAX: Final = 64
CACHED_STRINGS_MAX: Final = 1024


class HpackError(ValueError):
    """COMPRESSION_ERROR: the connection's header state is lost."""


class HeaderListTooLargeError(HpackError):
    """The decoded list is above the limit that we announced."""


STATIC: Final[tuple[Header, ...]] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)
"""RFC 7541 appendix A; position 0 is index 1."""

_CODE_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c"
    "060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "1416141416161617161717171717181718181617181717171715161716171718"
    "1615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
    "1e",
)
"""Bits of each symbol's Huffman code (RFC 7541 appendix B); the code itself is canonical."""


def _build_huffman() -> dict[tuple[int, int], int]:
    codes: dict[tuple[int, int], int] = {}
    code = previous = 0
    for length, symbol in sorted((bits, symbol) for symbol, bits in enumerate(_CODE_LENGTHS)):
        code <<= length - previous
        codes[(length, code)] = symbol
        code += 1
        previous = length
    return codes


_HUFFMAN: Final = _build_huffman()
_EOS: Final = 256


def decode_huffman(data: bytes) -> bytes:
    """Decode one Huffman string.

    Raises:
        HpackError: EOS inside, or padding that is not a prefix of EOS (RFC 7541 section 5.2).
    """
    out = bytearray()
    code = length = 0
    huffman = _HUFFMAN
    for byte in data:
        for shift in (7, 6, 5, 4, 3, 2, 1, 0):
            code = code << 1 | (byte >> shift & 1)
            length += 1
            if length >= 5:
                symbol = huffman.get((length, code))
                if symbol is not None:
                    if symbol == _EOS:
                        raise HpackError("EOS inside a Huffman string")
                    out.append(symbol)
                    code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise HpackError("bad Huffman padding")
    return bytes(out)


def decode_integer(data: bytes, at: int, prefix_bits: int) -> tuple[int, int]:
    """Decode an integer with an N-bit prefix (RFC 7541 section 5.1); at most four more bytes."""
    limit = (1 << prefix_bits) - 1
    try:
        value = data[at] & limit
        at += 1
        if value < limit:
            return value, at
        for shift in (0, 7, 14, 21):
            byte = data[at]
            at += 1
            value += (byte & 127) << shift
            if byte < 128:
                return value, at
    except IndexError:
        raise HpackError("truncated integer") from None
    raise HpackError("integer too large")


def encode_integer(value: int, prefix_bits: int, first: int) -> bytes:
    """Encode an integer with an N-bit prefix; ``first`` holds the bits above the prefix."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes((first | value,))
    out = bytearray((first | limit,))
    value -= limit
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_literal(name: bytes, value: bytes) -> bytes:
    """Encode a literal field that enters no table: stateless, so it may be built once."""
    return b"".join(
        (b"\x00", encode_integer(len(name), 7, 0), name, encode_integer(len(value), 7, 0), value),
    )


def encode_headers(headers: Headers) -> bytes:
    """Encode a header list as literals that enter no table."""
    return b"".join(
        b"\x88" if header == (b":status", b"200") else encode_literal(*header)
        for header in headers
    )


class HeaderBlock:
    """A decoded header list, and whatever its reader derived from it (``meaning``)."""

    __slots__ = ("headers", "meaning")

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.meaning: object = None


class Decoder:
    """The decoding half of one connection."""

    __slots__ = (
        "_blocks",
        "_entries",
        "_max_bytes",
        "_max_list_bytes",
        "_settings_bytes",
        "_strings",
        "_table_bytes",
    )

    def __init__(self, max_list_bytes: int = 65536) -> None:
        self._entries: list[Header] = []  # newest last: index 62 is the last element
        self._table_bytes = 0
        self._max_bytes = DEFAULT_TABLE_BYTES
        self._settings_bytes = DEFAULT_TABLE_BYTES
        self._max_list_bytes = max_list_bytes
        self._blocks: dict[bytes, HeaderBlock] = {}
        self._strings: dict[bytes, bytes] = {}

    def decode(self, block: bytes) -> HeaderBlock:
        """Decode one complete header block; an equal block may return the same object.

        Raises:
            HpackError: the connection must end with COMPRESSION_ERROR.
        """
        known = self._blocks.get(block)
        if known is not None:
            return known
        headers: list[Header] = []
        size = 0
        changed = False
        at, end = 0, len(block)
        while at < end:
            byte = block[at]
            if byte & 0x80:
                index, at = decode_integer(block, at, 7)
                header = self._lookup(index)
            elif byte & 0xE0 == 0x20:
                if headers:
                    raise HpackError("table size update after a header")
                limit, at = decode_integer(block, at, 5)
                self._resize(limit)
                changed = True
                continue
            else:
                indexed = bool(byte & 0x40)
                header, at = self._literal(block, at, 6 if indexed else 4)
                if indexed:
                    self._insert(header)
                    changed = True
            size += len(header[0]) + len(header[1]) + ENTRY_OVERHEAD_BYTES
            if size > self._max_list_bytes:
                raise HeaderListTooLargeError(f"header list above {self._max_list_bytes} bytes")
            headers.append(header)
        result = HeaderBlock(tuple(headers))
        if changed:
            self._blocks.clear()
        elif len(self._blocks) < CACHED_BLOCKS_MAX:
            self._blocks[bytes(block)] = result
        return result

    def _lookup(self, index: int) -> Header:
        if 0 < index <= 61:
            return STATIC[index - 1]
        if index < 62 or index - 61 > len(self._entries):
            raise HpackError(f"no header with index {index}")
        return self._entries[61 - index]

    def _literal(self, block: bytes, at: int, prefix_bits: int) -> tuple[Header, int]:
        index, at = decode_integer(block, at, prefix_bits)
        if index:
            name = self._lookup(index)[0]
        else:
            name, at = self._string(block, at)
        value, at = self._string(block, at)
        return (name, value), at

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        if at >= len(block):
            raise HpackError("truncated string")
        huffman = block[at] & 0x80
        length, at = decode_integer(block, at, 7)
        end = at + length
        if end > len(block):
            raise HpackError("truncated string")
        raw = bytes(block[at:end])
        if not huffman:
            return raw, end
        known = self._strings.get(raw)
        if known is None:
            known = decode_huffman(raw)
            if len(self._strings) >= CACHED_STRINGS_MAX:
                self._strings.clear()
            self._strings[raw] = known
        return known, end

    def _insert(self, header: Header) -> None:
        size = len(header[0]) + len(header[1]) + ENTRY_OVERHEAD_BYTES
        self._entries.append(header)
        self._table_bytes += size
        self._evict()

    def _resize(self, limit: int) -> None:
        if limit > self._settings_bytes:
            raise HpackError(f"table size {limit} above the announced {self._settings_bytes}")
        self._max_bytes = limit
        self._evict()

    def _evict(self) -> None:
        drop = 0
        while self._table_bytes > self._max_bytes:
            name, value = self._entries[drop]
            self._table_bytes -= len(name) + len(value) + ENTRY_OVERHEAD_BYTES
            drop += 1
        if drop:
            del self._entries[:drop]
