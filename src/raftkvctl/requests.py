"""``put``, ``get`` and ``del``: their flags, and the requests that they mean, alone or in ``txn``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final

from etcdwire import messages as m
from kvclient import prefix_end
from raftkvctl.options import UsageError
from raftkvctl.printing import UnsupportedFormatError

Request = m.PutRequest | m.RangeRequest | m.DeleteRangeRequest
_ORDERS: Final = {"": 0, "ASCEND": 1, "DESCEND": 2}
_TARGETS: Final = {"": 0, "KEY": 0, "VERSION": 1, "CREATE": 2, "MODIFY": 3, "VALUE": 4}


def add_arguments(name: str, command: argparse.ArgumentParser) -> None:
    """Declare the arguments and flags of one of the three."""
    add = command.add_argument
    add("key")
    if name == "put":
        add("value", nargs="?", help="standard input when absent")
        add("--prev-kv", action="store_true")
        add("--ignore-value", action="store_true", help="keep the value, change the lease")
        add("--ignore-lease", action="store_true", help="keep the lease, change the value")
        add("--lease", default="0", help="lease id in hex")
        return
    add("range_end", nargs="?", default="")
    add("--prefix", action="store_true")
    add("--from-key", action="store_true")
    if name == "del":
        add("--prev-kv", action="store_true")
        return
    add("--limit", type=int, default=0)
    add("--rev", type=int, default=0)
    add("--order", default="", metavar="ASCEND|DESCEND")
    add("--sort-by", default="", metavar="CREATE|KEY|MODIFY|VALUE|VERSION")
    add("--consistency", default="l", metavar="l|s")
    add("--keys-only", action="store_true")
    add("--count-only", action="store_true")
    add("--print-value-only", action="store_true")


def to_bytes(text: str) -> bytes:
    """An argument as it was typed, bytes that are no UTF-8 included."""
    return text.encode("utf-8", "surrogateescape")


def range_of(arguments: argparse.Namespace) -> tuple[bytes, bytes]:
    """The range that a key, perhaps an end, ``--prefix`` and ``--from-key`` name.

    Raises:
        UsageError: they exclude each other.
    """
    key, end = to_bytes(arguments.key), to_bytes(arguments.range_end)
    if arguments.prefix and arguments.from_key:
        raise UsageError("`--prefix` and `--from-key` cannot be set at the same time, choose one")
    if end and (arguments.prefix or arguments.from_key):
        raise UsageError("a range end cannot be given with --prefix or --from-key")
    if arguments.prefix:
        return (key, prefix_end(key)) if key else (b"\0", b"\0")
    if arguments.from_key:
        return (key or b"\0"), b"\0"
    return key, end


def build_put(arguments: argparse.Namespace) -> m.PutRequest:
    """Raises:
    UsageError: a value too many, or no lease.
    """
    if arguments.ignore_value and arguments.value is not None:
        raise UsageError("put command needs only 1 argument when 'ignore-value' is set")
    try:
        lease = int(arguments.lease, 16)
    except ValueError:
        raise UsageError(
            f'bad lease ID (parsing "{arguments.lease}": invalid syntax), expecting ID in Hex'
        ) from None
    value = b""
    if arguments.value is not None:
        value = to_bytes(arguments.value)
    elif not arguments.ignore_value:
        value = sys.stdin.buffer.read()
        if not value:
            raise UsageError("put command needs 1 argument and input from stdin or 2 arguments")
    return m.PutRequest(
        to_bytes(arguments.key),
        value,
        lease,
        arguments.prev_kv,
        arguments.ignore_value,
        arguments.ignore_lease,
    )


def build_range(arguments: argparse.Namespace) -> m.RangeRequest:
    """Raises:
    UsageError: flags that exclude each other.
    UnsupportedFormatError: an order, a target or a consistency that is none (exit code 4).
    """
    key, end = range_of(arguments)
    if arguments.consistency not in ("l", "s"):
        raise UnsupportedFormatError(f'unknown consistency flag "{arguments.consistency}"')
    if arguments.order.upper() not in _ORDERS:
        raise UnsupportedFormatError(f"bad sort order {arguments.order}")
    if arguments.sort_by.upper() not in _TARGETS:
        raise UnsupportedFormatError(f"bad sort target {arguments.sort_by}")
    return m.RangeRequest(
        key,
        end,
        arguments.limit,
        arguments.rev,
        # etcdctl asks for an ascending order as soon as there is something to sort by.
        _ORDERS[arguments.order.upper()] or (1 if arguments.sort_by else 0),
        _TARGETS[arguments.sort_by.upper()],
        serializable=arguments.consistency == "s",
        keys_only=arguments.keys_only,
        count_only=arguments.count_only,
    )


def build_delete(arguments: argparse.Namespace) -> m.DeleteRangeRequest:
    """Raises:
    UsageError: flags that exclude each other.
    """
    key, end = range_of(arguments)
    return m.DeleteRangeRequest(key, end, arguments.prev_kv)


BUILDERS: Final[dict[str, Callable[[argparse.Namespace], Request]]] = {
    "put": build_put,
    "get": build_range,
    "del": build_delete,
}
