"""Pages of a member that are plain HTTP, such as its metrics."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from raftkvctl.options import Options


def fetch(options: Options, endpoint: str, path: str) -> str:
    """The text of a page; empty when it cannot be had."""
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "localhost", parts.port or 2379
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = options.tls.context()
        context.set_alpn_protocols(["http/1.1"])
        connection = http.client.HTTPSConnection(
            host, port, timeout=options.timeout_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=options.timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read().decode("utf-8", "replace") if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
