"""Runs cases against one server and makes the answers comparable.

Indices and revisions are counted from where the case began, ids and times become placeholders:
what remains must be equal on real etcd and on raftkv.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

from etcdwire.errors import HTTP_STATUS, Code
from etcdwire.json_v3 import JsonError, dumps, loads
from etcdwire.protobuf import decode, encode
from kvclient import Client, RequestError, Unavailable
from kvclient.connection import Connection
from raftkv.api.services import UNARY_BY_GATEWAY

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
_BYTES_FIELDS = {"key", "value", "range_end"}
_REVISIONS = {"revision", "create_revision", "mod_revision", "rev"}
_INDICES = {"modifiedIndex", "createdIndex", "index"}
_IDS = {"cluster_id", "member_id", "raft_term", "ID", "id", "token"}


def load(api: str) -> dict[str, list[list[Any]]]:
    cases = yaml.safe_load((HERE / f"cases_{api}.yaml").read_text())
    assert isinstance(cases, dict)
    return cases


def recorded() -> dict[str, Any]:
    data = json.loads(RECORDED.read_text())
    assert isinstance(data, dict)
    return data


class Server:
    """One server to ask."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 0)
        self.url = url

    def ask(
        self, method: str, path: str, body: bytes, content_type: str, token: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        headers = {"Content-Type": content_type}
        if token:
            headers["Authorization"] = token
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            headers = {k.lower(): v for k, v in answer.getheaders()}
            return answer.status, headers, answer.read()
        finally:
            connection.close()

    def run_v2(self, name: str, steps: list[list[Any]]) -> list[Any]:
        _, headers, _ = self.ask("GET", "/v2/keys/", b"", "")
        base = int(headers["x-etcd-index"])
        out = []
        for method, path, *rest in steps:
            form = rest[0] if rest else None
            path = path.replace("%s", f"/v2-{name}") or "/"
            path = re.sub(r"\$\+(\d+)", lambda m: str(base + int(m.group(1))), path)
            body = urlencode(form).encode() if form else b""
            status, headers, answer = self.ask(
                method, f"/v2/keys{path}", body, "application/x-www-form-urlencoded"
            )
            out.append(
                {
                    "status": status,
                    "index": int(headers.get("x-etcd-index", -1))
                    - (base if headers.get("x-etcd-index", "0") != "0" else 0),
                    "raft": "x-raft-index" in headers,
                    "body": normalise(parse(answer), base),
                }
            )
        return out

    def index(self) -> int:
        """Of v2's tree, now."""
        _, headers, _ = self.ask("GET", "/v2/keys/", b"", "")
        return int(headers["x-etcd-index"])

    def run_v3(self, name: str, steps: list[list[Any]]) -> list[Any]:
        _, _, status = self.ask("POST", "/v3/maintenance/status", b"{}", "application/json")
        base = int(json.loads(status)["header"]["revision"])
        out = []
        for path, body in steps:
            text = json.dumps(encode_body(body, f"v3-{name}", base))
            status_code, _, answer = self.ask(
                "POST", f"/v3/{path}", text.encode(), "application/json"
            )
            out.append({"status": status_code, "body": normalise(parse(answer), base)})
        return out

    def run_auth(self, name: str, steps: list[list[Any]]) -> list[Any]:
        """As ``run_v3``; a third element names the user whose latest token is sent along."""
        try:
            return self._run_auth(name, steps)
        finally:
            self._forget_users()

    def _run_auth(self, name: str, steps: list[list[Any]]) -> list[Any]:
        base = self.revision()
        tokens: dict[str, str] = {"bad": "bad"}
        out = []
        for path, body, *user in [*_WITH_ROOT, *steps]:
            token = tokens.get(user[0], "") if user else ""
            status, answer = self._post(path, encode_body(body, f"auth-{name}", base), token)
            if path == "auth/authenticate" and status == 200:
                tokens[body["name"]] = answer["token"]
            out.append({"status": status, "body": normalise(answer, base)})
        return out[len(_WITH_ROOT) :]

    def run_v2_auth(self, name: str, steps: list[list[Any]]) -> list[Any]:
        try:
            return [self._ask_v2(f"v2-{name}", *step) for step in steps]
        finally:
            self._forget_v2_users()

    def _ask_v2(
        self, prefix: str, method: str, path: str, body: Any = None, user: str = ""
    ) -> dict[str, Any]:
        """Indices are left out: raftkv's users have none."""
        is_form = path.startswith("/keys")
        data = b""
        if body is not None:
            data = urlencode(body).encode() if is_form else json.dumps(body).encode()
        kind = "application/x-www-form-urlencoded" if is_form else "application/json"
        login = f"Basic {base64.b64encode(user.encode()).decode()}" if user else ""
        path = f"/v2{path.replace('%s', prefix)}"
        status, _, answer = self.ask(method, path, data, kind, login)
        text = re.sub(r'("\w+Index"|"index"):\d+', r"\1:0", answer.decode())
        text = re.sub(r'"\w+URLs":\[[^]]*\]|http://[\d.:]+', "<urls>", text)
        text = re.sub(r'"id":"[0-9a-f]+"', '"id":0', re.sub(r"/\d{20}", "/<next>", text))
        return {"status": status, "body": text}

    def _forget_v2_users(self) -> None:
        self._ask_v2("", "DELETE", "/auth/enable", user="root:r")
        for family, field in (("users", "user"), ("roles", "role")):
            answer = json.loads(self._ask_v2("", "GET", f"/auth/{family}")["body"])
            for found in answer[family] or []:
                self._ask_v2("", "DELETE", f"/auth/{family}/{found[field]}")

    def _post(self, path: str, body: Any, token: str = "") -> tuple[int, Any]:
        data = json.dumps(body).encode()
        status, _, answer = self.ask("POST", f"/v3/{path}", data, "application/json", token)
        return status, parse(answer)

    def revision(self) -> int:
        """Of the key space, now."""
        return int(self._post("maintenance/status", {})[1]["header"]["revision"])

    def _forget_users(self) -> None:
        _, login = self._post("auth/authenticate", {"name": "root", "password": "r"})
        token = login.get("token", "")
        self._post("auth/disable", {}, token)
        users = self._post("auth/user/list", {})[1].get("users", [])
        for user in users:
            self._post("auth/user/delete", {"name": user})
        for role in self._post("auth/role/list", {})[1].get("roles", []):
            self._post("auth/role/delete", {"role": role})


class GrpcServer(Server):
    """The same server, asked over gRPC wherever a request can be said so.

    What only JSON can say (malformed base64, a name that is no field's type) and streams go through
    the gateway as before. Answers are put into the gateway's words to be compared.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._client = Client([url], timeout_s=30.0)
        self.calls_count = 0

    def ask(
        self, method: str, path: str, body: bytes, content_type: str, token: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        known = UNARY_BY_GATEWAY.get(path)
        if known is None:
            return super().ask(method, path, body, content_type, token)
        try:
            request = loads(known.request, body)
        except JsonError:
            return super().ask(method, path, body, content_type, token)
        self.calls_count += 1
        metadata = ((b"token", token.encode()),) if token else ()
        try:
            answer = self._connection().unary(known.path, encode(request), 30.0, metadata)
        except RequestError as error:
            return self._refused(error.code, error.message)
        except Unavailable as error:
            return self._refused(Code.UNAVAILABLE, error.message)
        return 200, {}, dumps(decode(known.response, answer))

    def _connection(self) -> Connection:
        connection = getattr(self, "_open", None)
        if connection is None or not connection.is_usable:
            connection = self._client.dial()
            self._open: Connection = connection
        return connection

    @staticmethod
    def _refused(code: int, message: str) -> tuple[int, dict[str, str], bytes]:
        document = {"error": message, "message": message, "code": code}
        return HTTP_STATUS[Code(code)], {}, json.dumps(document).encode()

    def close(self) -> None:
        self._connection().close()
        self._client.close()


_WITH_ROOT: list[list[Any]] = [
    ["auth/user/add", {"name": "root", "password": "r"}],
    ["auth/role/add", {"name": "root"}],
    ["auth/user/grant", {"user": "root", "role": "root"}],
]
"""What every case of the Auth service begins with."""


def parse(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode("utf-8", "replace")


def encode_body(data: Any, prefix: str, base: int) -> Any:
    if isinstance(data, dict):
        out = {}
        for key, value in data.items():
            if key.startswith("!"):
                out[key[1:]] = value
            elif key in _BYTES_FIELDS and isinstance(value, str):
                out[key] = base64.b64encode(value.replace("%s", prefix).encode()).decode()
            else:
                out[key] = encode_body(value, prefix, base)
        return out
    if isinstance(data, list):
        return [encode_body(item, prefix, base) for item in data]
    if isinstance(data, str) and data.startswith("$+"):
        return str(base + int(data[2:]))
    return data


def normalise(data: Any, base: int, key: str = "") -> Any:
    if isinstance(data, dict):
        if "grantedTTL" in data and int(data["grantedTTL"]) - int(data.get("TTL", 0)) <= 2:
            data = {**data, "TTL": "<nearly all>"}
        return {k: normalise(v, base, k) for k, v in sorted(data.items())}
    if isinstance(data, list):
        return [normalise(item, base, key) for item in data]
    if key in _REVISIONS:
        return int(data) - base
    if key in _INDICES:
        return data - base if data else data
    if key in {"version", "TTL", "grantedTTL"}:
        return data
    if key in _IDS or key in {"expiration", "ttl"}:
        return f"<{key}>"
    if isinstance(data, str):
        data = re.sub(r"http://127\.0\.0\.1:\d+", "<url>", data)
        data = re.sub(rf"\b(?!\d{{20}}\b)0*{base + 1}\b", "<next>", data)
        return re.sub(r"\d{20}", _relative(base), data)
    return data


def _relative(base: int) -> Any:
    return lambda match: f"<in order {int(match.group(0)) - base}>"
