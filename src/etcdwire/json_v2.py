"""The v2 API's JSON, as Go's encoder writes it: key order of etcd's structs, <, > and & escaped."""

from __future__ import annotations

import datetime as dt
from json.encoder import encode_basestring
from typing import NamedTuple


class NodeView(NamedTuple):
    """A node as an answer or event shows it."""

    key: str
    value: str | None
    is_dir: bool
    expires_ms: int
    ttl_s: int
    modified: int
    created: int
    nodes: tuple[NodeView, ...] | None = None
    """Children of a listed directory; None when not listed."""


def quote(text: str) -> str:
    """A JSON string; Go escapes the three characters that HTML minds."""
    quoted = encode_basestring(text)
    if "<" in quoted or ">" in quoted or "&" in quoted:
        quoted = quoted.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return quoted


def format_time(ms: int) -> str:
    """RFC 3339 in UTC with as few digits as Go's encoder needs."""
    moment = dt.datetime.fromtimestamp(ms // 1000, tz=dt.timezone.utc)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{ms % 1000:03d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def encode_node(node: NodeView) -> str:
    """One node; the root has no key, an unlisted directory no nodes."""
    parts: list[str] = []
    if node.key != "/":
        parts.append(f'"key":{quote(node.key)}')
    if node.value is not None:
        parts.append(f'"value":{quote(node.value)}')
    if node.is_dir:
        parts.append('"dir":true')
    if node.expires_ms:
        parts.append(f'"expiration":"{format_time(node.expires_ms)}","ttl":{node.ttl_s}')
    if node.nodes:
        parts.append(f'"nodes":[{",".join(encode_node(child) for child in node.nodes)}]')
    if node.modified:
        parts.append(f'"modifiedIndex":{node.modified}')
    if node.created:
        parts.append(f'"createdIndex":{node.created}')
    return "{" + ",".join(parts) + "}"


def encode_event(action: str, node: NodeView, previous: NodeView | None) -> bytes:
    """One event or answer, with the newline that etcd ends it with."""
    if previous is None:
        return f'{{"action":"{action}","node":{encode_node(node)}}}\n'.encode(
            "utf-8", "surrogateescape"
        )
    return (
        f'{{"action":"{action}","node":{encode_node(node)},"prevNode":{encode_node(previous)}}}\n'
    ).encode("utf-8", "surrogateescape")


def encode_error(number: int, message: str, cause: str, index: int) -> bytes:
    """One numbered error."""
    return (
        f'{{"errorCode":{number},"message":{quote(message)},"cause":{quote(cause)},'
        f'"index":{index}}}\n'
    ).encode("utf-8", "surrogateescape")
