"""etcdctl's transaction text: compares, a blank line, success, a blank line, failure."""

from __future__ import annotations

import re
import shlex
from typing import TextIO

from etcdwire import messages as m
from kvclient import prefix_end
from raftkvctl.options import UsageError

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
        UsageError: a line that is neither a compare nor an operation.
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
        UsageError: malformed.
    """
    match = _COMPARE.match(line)
    if match is None:
        raise UsageError(f'malformed comparison: {line} (write it like value("key") = "text")')
    target, key, sign, text = match.groups()
    compare = m.Compare(result=_RESULTS[sign], key=key.encode())
    if target in ("value", "val"):
        compare.target = m.CompareTarget.VALUE
        compare.value = text.encode()
        return compare
    try:
        number = int(text, 16 if target == "lease" else 10)
    except ValueError:
        raise UsageError(f"malformed comparison: {line} ({text!r} is not a number)") from None
    if target in ("version", "ver"):
        compare.target, compare.version = m.CompareTarget.VERSION, number
    elif target in ("create", "c_rev"):
        compare.target, compare.create_revision = m.CompareTarget.CREATE, number
    elif target in ("mod", "m_rev"):
        compare.target, compare.mod_revision = m.CompareTarget.MOD, number
    else:
        compare.target, compare.lease = m.CompareTarget.LEASE, number
    return compare


def parse_operation(line: str) -> m.RequestOp:
    """One operation: ``put KEY VALUE``, ``get KEY [END]`` or ``del KEY [END]``.

    Raises:
        UsageError: malformed.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"malformed operation: {line} ({error})") from None
    is_prefix = "--prefix" in words
    words = [word for word in words if word != "--prefix"]
    if len(words) < 2:
        raise UsageError(f"malformed operation: {line}")
    key = words[1].encode()
    end = words[2].encode() if len(words) > 2 else b""
    if is_prefix:
        end = prefix_end(key)
    if words[0] == "put" and len(words) == 3:
        return m.RequestOp(request_put=m.PutRequest(key, words[2].encode()))
    if words[0] == "get":
        return m.RequestOp(request_range=m.RangeRequest(key, end))
    if words[0] == "del":
        return m.RequestOp(request_delete_range=m.DeleteRangeRequest(key, end))
    raise UsageError(f"malformed operation: {line} (put, get or del)")
