"""The v2 key space as a document, for the engine whose snapshots do not hold it.

It is read through the quorum and written back key by key: values, directories and the time that
is left of each TTL. What a read does not show is not kept: hidden keys, and the indices at which
keys were made and changed.
"""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from etcd_charm.cluster.errors import Retry
from kvclient import ClientTLS

TIMEOUT_S = 60.0


def connect(url: str, tls: ClientTLS, timeout_s: float = TIMEOUT_S) -> http.client.HTTPConnection:
    """Return a connection to a member, not opened yet."""
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or 2379
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    context = tls.context()
    context.set_alpn_protocols(["http/1.1"])
    return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)


def read_tree(url: str, tls: ClientTLS) -> dict[str, Any] | None:
    """Return the root node with everything below it, or `None` where v2 is not served.

    Raises:
        Retry: the member does not answer, or has no quorum.
    """
    connection = connect(url, tls)
    try:
        connection.request("GET", "/v2/keys/?recursive=true&sorted=true&quorum=true")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Retry(f"the v2 keys cannot be read: {error}") from error
    finally:
        connection.close()
    if answer.status == http.client.NOT_FOUND:
        return None
    if answer.status != http.client.OK:
        raise Retry(f"the v2 keys cannot be read: status {answer.status}")
    node: dict[str, Any] = json.loads(body)["node"]
    return node


def list_writes(root: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the path and the form of each write that makes a tree anew, parents first."""
    stack = list(reversed(root.get("nodes", [])))
    while stack:
        node = stack.pop()
        form: dict[str, str] = {}
        if node.get("ttl"):
            form["ttl"] = str(max(1, int(node["ttl"])))
        if node.get("dir"):
            form["dir"] = "true"
            stack.extend(reversed(node.get("nodes", [])))
        else:
            form["value"] = str(node.get("value", ""))
        yield str(node["key"]), form


def write_tree(url: str, tls: ClientTLS, root: dict[str, Any]) -> int:
    """Write a tree into a running member; return how many nodes.

    Raises:
        Retry: a write was not taken.
    """
    connection = connect(url, tls)
    count = 0
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        for key, form in list_writes(root):
            path = "/v2/keys" + quote(key)
            connection.request("PUT", path, urlencode(form), headers)
            answer = connection.getresponse()
            body = answer.read()
            is_there = answer.status == http.client.FORBIDDEN and b'"errorCode":102' in body
            if answer.status >= http.client.BAD_REQUEST and not is_there:
                raise Retry(f"the v2 key {key} was not written: status {answer.status}")
            count += 1
    except (OSError, http.client.HTTPException) as error:
        raise Retry(f"the v2 keys cannot be written: {error}") from error
    finally:
        connection.close()
    return count
