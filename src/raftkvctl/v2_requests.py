"""Requests of the v2 mode: plain HTTP to whichever endpoint answers, with name and password."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from raftkvctl.options import Options

EXIT_V2_ERROR: Final = 4


class V2CommandError(Exception):
    """An error of the v2 API, or nobody to ask."""

    def __init__(
        self, message: str, exit_code: int = EXIT_V2_ERROR, *, prefix: str = "Error:  "
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.prefix = prefix


def refuse(message: str) -> V2CommandError:
    """An error as etcdctl's families of administration print it: bare, with code 1."""
    return V2CommandError(message, 1, prefix="")


def request(
    options: Options,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    content_type: str = "application/x-www-form-urlencoded",
    timeout_s: float | None = None,
) -> tuple[int, Any]:
    """(HTTP status, parsed body) from the first endpoint that answers.

    Raises:
        V2CommandError: nobody answers.
    """
    problem = ""
    for endpoint in options.endpoints:
        try:
            return request_one(options, endpoint, method, path, body, content_type, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            problem = f"{endpoint}: {error}"
    raise V2CommandError(
        f"client: etcd cluster is unavailable or misconfigured; error: {problem}", 1
    )


def request_one(
    options: Options,
    endpoint: str,
    method: str,
    path: str,
    body: bytes,
    content_type: str,
    timeout_s: float | None,
) -> tuple[int, Any]:
    """Ask one endpoint.

    Raises:
        OSError, http.client.HTTPException: it does not answer.
        V2CommandError: it answers with something else.
    """
    parts = urlsplit(endpoint)
    limit = options.timeout_s if timeout_s is None else timeout_s
    host, port = parts.hostname or "localhost", parts.port or 2379
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = options.tls.context()
        context.set_alpn_protocols(["http/1.1"])
        connection = http.client.HTTPSConnection(
            host, port, timeout=limit or None, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=limit or None)
    headers = {"Content-Type": content_type}
    if options.username:
        pair = f"{options.username}:{options.password}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        data = answer.read()
        found = json.loads(data) if data.strip() else {}
        if isinstance(found, dict) and answer.headers.get("X-Etcd-Index"):
            found[INDEX] = int(answer.headers["X-Etcd-Index"])
        return answer.status, found
    except ValueError:
        raise V2CommandError(f"{endpoint} does not serve the v2 API (--enable-v2)", 1) from None
    finally:
        connection.close()


INDEX: Final = "X-Etcd-Index"
"""Under this name the header is put beside the fields of an answer."""


def keys(
    options: Options,
    method: str,
    key: str,
    query: dict[str, object] | None = None,
    form: dict[str, object] | None = None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """The answer of the key space.

    Raises:
        V2CommandError: it is an error, or nobody answers.
    """
    path = "/v2/keys/" + quote(key.strip("/"), safe="/")
    if query:
        path += "?" + urlencode(query)
    body = urlencode(form).encode() if form else b""
    status, data = request(options, method, path, body, timeout_s=timeout_s)
    if status >= 400:
        if "errorCode" not in data:
            raise V2CommandError(str(data.get("message", f"HTTP status {status}")))
        raise V2CommandError(
            f"{data['errorCode']}: {data['message']} ({data.get('cause', '')}) [{data['index']}]"
        )
    result: dict[str, Any] = data
    return result


def administer(
    options: Options, method: str, path: str, document: object | None = None
) -> dict[str, Any]:
    """The answer of members, users or roles.

    Raises:
        V2CommandError: refused, or nobody answers.
    """
    body = b"" if document is None else json.dumps(document).encode()
    status, data = request(options, method, path, body, content_type="application/json")
    if status >= 400:
        raise refuse(str(data.get("message", f"unexpected status code {status}")))
    found: dict[str, Any] = data
    return found
