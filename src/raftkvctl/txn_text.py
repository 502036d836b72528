"""etcdctl's transaction text: compares, a blank line, success, a blank line, failure."""

from __future__ import annotations

import re
import shlex
from typing import TextIO

from etcdwire import messages as m
from raftkvctl import grammar, requests
from raftkvctl.options import UsageError


class InputError(Exception):
    """A line of a transaction that cannot be understood; exit code 3, as etcdctl's."""


_COMPARE = re.compile(
    r'^(value|val|version|ver|create|c_rev|mod|m_rev|lease)\("(.*)"\)\s*(=|!=|<|>)\s*"(.*)"$'
)
_RESULTS = {
    "=": m.CompareResult.EQUAL,
    "!=": m.CompareResult.NOT_EQUAL,
    "<": m.CompareResult.LESS,
    ">": m.CompareResult.GREATER,
}


def read(source: TextIO, *, interactive: bool) -> m.TxnRequest:
    """Read a whole transaction.

    Raises:
        InputError: a line that is neither a compare nor an operation.
        UsageError: an operation without its arguments.
    """
    request = m.TxnRequest()
    _prompt("compares:", interactive=interactive)
    request.compare = [parse_compare(line) for line in _block(source)]
    _prompt("success requests (get, put, del):", interactive=interactive)
    request.success = [parse_operation(line) for line in _block(source)]
    _prompt("failure requests (get, put, del):", interactive=interactive)
    request.failure = [parse_operation(line) for line in _block(source)]
    return request


def _prompt(text: str, *, interactive: bool) -> None:
    if interactive:
        print(text)


def _block(source: TextIO) -> list[str]:
    lines = []
    for line in source:
        text = line.strip()
        if not text:
            break
        lines.append(text)
    return lines


def parse_compare(line: str) -> m.Compare:
    """One guard, such as ``mod("key") > "0"``.

    Raises:
        InputError: malformed.
    """
    match = _COMPARE.match(line)
    if match is None:
        raise InputError(f'malformed comparison: {line} (write it like value("key") = "text")')
    target, key, sign, text = match.groups()
    compare = m.Compare(result=_RESULTS[sign], key=_bytes(key))
    if target in ("value", "val"):
        compare.target = m.CompareTarget.VALUE
        compare.value = _bytes(text)
        return compare
    try:
        number = int(text, 16 if target == "lease" else 10)
    except ValueError:
        raise InputError(f"malformed comparison: {line} ({text!r} is not a number)") from None
    if not -(1 << 63) <= number < 1 << 63:
        raise InputError(f"malformed comparison: {line} ({text} has more than 64 bits)")
    if target in ("version", "ver"):
        compare.target, compare.version = m.CompareTarget.VERSION, number
    elif target in ("create", "c_rev"):
        compare.target, compare.create_revision = m.CompareTarget.CREATE, number
    elif target in ("mod", "m_rev"):
        compare.target, compare.mod_revision = m.CompareTarget.MOD, number
    else:
        compare.target, compare.lease = m.CompareTarget.LEASE, number
    return compare


def _bytes(text: str) -> bytes:
    """What was typed, also where that is no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def parse_operation(line: str) -> m.RequestOp:
    """One operation: ``put``, ``get`` or ``del`` with the flags that the commands have.

    Raises:
        InputError: another operation.
        UsageError: not the right arguments for it.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InputError(f"invalid txn request: {line} ({error})") from None
    if not words or words[0] not in requests.BUILDERS:
        raise InputError(f"invalid txn request: {line}")
    parser = grammar.Parser(prog=words[0], add_help=False, allow_abbrev=False)
    requests.add_arguments(words[0], parser)
    try:
        arguments = grammar.parse(parser, words[1:])
    except grammar.GrammarError as error:
        raise UsageError(f"{line}: {error}") from None
    if words[0] == "put" and arguments.value is None and not arguments.ignore_value:
        raise UsageError(f"a put inside a transaction needs its value: {line}")
    request = requests.BUILDERS[words[0]](arguments)
    if isinstance(request, m.PutRequest):
        return m.RequestOp(request_put=request)
    if isinstance(request, m.RangeRequest):
        return m.RequestOp(request_range=request)
    return m.RequestOp(request_delete_range=request)
