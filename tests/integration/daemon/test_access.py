"""Auth on a TLS cluster of three: certificates, passwords and tokens, etcdctl in both API modes."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kvclient import Client, ClientTLS, RequestError
from tests.kit.tls_cluster import TlsCluster
from tests.kit.waiting import wait_for

if shutil.which("etcdctl") is None:
    pytest.skip("Debian's etcdctl is not here", allow_module_level=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsCluster]:
    made = TlsCluster(tmp_path_factory.mktemp("access"), "--bcrypt-cost", "4")
    for member in made.members:
        member.start()
    try:
        wait_for(lambda: made.run("3", "put", "ready", "1", check=False).returncode == 0, 20, "up")
        set_up(made)
        yield made
    finally:
        for member in made.members:
            member.kill()


def set_up(cluster: TlsCluster) -> None:
    for words in (
        "user add root:rootpw", "user add app --no-password", "user add all:allpw",
        "user add pw:secret", "role add app", "role add all",
        "role grant-permission app readwrite app/ --prefix",
        "role grant-permission all readwrite '' --prefix",
        "user grant-role app app", "user grant-role pw app", "user grant-role all all",
        "auth enable",
    ):  # fmt: skip
        cluster.run("3", *[word.strip("'") for word in words.split(" ")])


def refused(done: subprocess.CompletedProcess[str], text: str) -> bool:
    return done.returncode != 0 and text in done.stderr


def test_the_certificates_name_is_the_user(cluster: TlsCluster) -> None:
    cluster.run("3", "put", "app/a", "1", user="app")
    assert cluster.run("3", "get", "app/a", "--print-value-only", user="app").stdout == "1\n"
    denied = cluster.run("3", "put", "other", "1", user="app", check=False)
    assert refused(denied, "etcdserver: permission denied")
    cluster.run("3", "put", "other", "1", user="root")
    stranger = cluster.run("3", "get", "app/a", user="stranger", check=False)
    assert refused(stranger, "etcdserver: permission denied")
    assert refused(cluster.run("3", "user", "list", user="app", check=False), "permission denied")
    assert "app" in cluster.run("3", "user", "list", user="root").stdout


def test_a_password_beats_the_certificate(cluster: TlsCluster) -> None:
    for member in cluster.members:  # a token is good everywhere at once
        login = ("--user", "pw:secret")
        cluster.run("3", *login, "put", "app/b", "2", user="stranger", endpoints=member.client_url)
    wrong = cluster.run("3", "--user", "pw:wrong", "get", "app/b", check=False)
    assert refused(wrong, "authentication failed, invalid user ID or password")


def test_both_command_lines_say_the_same(cluster: TlsCluster) -> None:
    for words in (
        ("user", "list"), ("user", "get", "app"), ("user", "get", "app", "--detail"),
        ("role", "get", "app"), ("role", "list"), ("role", "get", "all", "-w", "json"),
        ("user", "get", "nobody"), ("role", "delete", "nobody"), ("user", "delete", "root"),
    ):  # fmt: skip
        theirs, ours = (
            cluster.run("3", *words, user="root", check=False, program=program)
            for program in ("etcdctl", "raftkvctl")
        )
        assert ours.stdout.partition('"perm"')[2] == theirs.stdout.partition('"perm"')[2]
        if "json" not in words:
            assert ours.stdout == theirs.stdout
        assert ours.returncode == theirs.returncode
        if theirs.returncode:
            assert ours.stderr.splitlines()[0] == theirs.stderr.splitlines()[-1]


def client(cluster: TlsCluster, user: str, **login: Any) -> Client:
    files = [str(path) for path in (cluster.ca, *cluster.files_of(user))]
    endpoints = [member.client_url for member in cluster.members]
    return Client(endpoints, tls=ClientTLS(*files), **login)


def test_a_client_logs_in_again_when_its_token_has_ended(cluster: TlsCluster) -> None:
    with (
        client(cluster, "root") as root,
        client(cluster, "stranger", username="fresh", password="one") as fresh,
    ):
        root.user_add("fresh", "one")
        root.user_grant_role("fresh", "app")
        fresh.put(b"app/c", b"1")
        root.user_change_password("fresh", "one")
        fresh.put(b"app/c", b"2")
        root.user_change_password("fresh", "two")
        with pytest.raises(RequestError, match="authentication failed"):
            fresh.put(b"app/c", b"3")
        assert root.get(b"app/c") == b"2"
        root.user_delete("fresh")


def ask(
    cluster: TlsCluster, user: str, method: str, path: str, body: str, *headers: tuple[str, str]
) -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=str(cluster.ca))
    context.load_cert_chain(*cluster.files_of(user))
    parts = urlsplit(cluster.members[1].client_url)
    wire = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=10, context=context
    )
    try:
        wire.request(method, path, body, dict(headers))
        answer = wire.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        wire.close()


def test_the_gateway_takes_the_callers_certificate(cluster: TlsCluster) -> None:
    put = json.dumps({"key": "YXBwL2Q=", "value": "MQ=="})  # app/d
    assert ask(cluster, "app", "POST", "/v3/kv/put", put)[0] == 200
    status, body = ask(cluster, "stranger", "POST", "/v3/kv/put", put)
    assert (status, body["message"]) == (403, "etcdserver: permission denied")
    login = json.dumps({"name": "pw", "password": "secret"})
    status, body = ask(cluster, "stranger", "POST", "/v3/auth/authenticate", login)
    token = ("Authorization", body["token"])
    assert ask(cluster, "stranger", "POST", "/v3/kv/put", put, token)[0] == 200


FORM = ("Content-Type", "application/x-www-form-urlencoded")


def test_v2_needs_a_user_with_all_keys(cluster: TlsCluster) -> None:
    def put(user: str, *headers: tuple[str, str]) -> int:
        return ask(cluster, user, "PUT", "/v2/keys/x", "value=1", FORM, *headers)[0]

    assert put("all") in (200, 201)
    assert put("root") == 200
    denied = ask(cluster, "app", "PUT", "/v2/keys/x", "value=1", FORM)
    assert denied == (401, {"message": "Insufficient credentials"})
    assert ask(cluster, "app", "GET", "/v2/keys/x", "")[0] == 401
    assert put("stranger", ("Authorization", "Basic YWxsOmFsbHB3")) == 200  # all:allpw
    assert put("stranger", ("Authorization", "Basic YWxsOndyb25n")) == 401
    assert put("stranger", ("Authorization", "Basic cHc6c2VjcmV0")) == 401  # pw:secret
    assert ask(cluster, "all", "DELETE", "/v2/members/123", "")[0] == 401
    assert ask(cluster, "root", "DELETE", "/v2/members/123", "")[0] == 404
    cluster.run("2", "set", "/by-etcdctl", "1", user="all")
    assert cluster.run("2", "get", "/by-etcdctl", user="all").stdout == "1\n"
    assert cluster.run("2", "get", "/by-etcdctl", user="app", check=False).returncode != 0


def test_snapshots_and_membership_are_roots(cluster: TlsCluster, tmp_path: Path) -> None:
    one = cluster.members[0].client_url
    save = ("snapshot", "save", str(tmp_path / "snap"))
    assert cluster.run("3", *save, user="all", endpoints=one, check=False).returncode != 0
    cluster.run("3", *save, user="root", endpoints=one)
    assert (tmp_path / "snap").stat().st_size > 0
    remove = cluster.run("3", "member", "remove", "123", user="all", check=False)
    assert refused(remove, "permission denied")
    assert "m1" in cluster.run("3", "member", "list", user="app").stdout


def test_users_survive_a_restart_and_reach_a_member_that_was_away(cluster: TlsCluster) -> None:
    away = cluster.members[2]
    away.kill()
    put = ("put", "app/x", "1")
    here = cluster.members[0].client_url
    wait_for(
        lambda: cluster.run("3", *put, user="app", endpoints=here, check=False).returncode == 0,
        20,
        "a leader after the loss of one",
    )
    cluster.run("3", "user", "add", "late", "--no-password", user="root",
                endpoints=cluster.members[0].client_url)  # fmt: skip
    cluster.run("3", "user", "grant-role", "late", "app", user="root",
                endpoints=cluster.members[0].client_url)  # fmt: skip
    away.start()

    def can_write() -> bool:
        put = ("put", "app/late", "1")
        here = away.client_url
        return cluster.run("3", *put, user="late", endpoints=here, check=False).returncode == 0

    wait_for(can_write, 20, "the late user at the late member")
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
    wait_for(can_write, 20, "the late user after a restart of all")
    denied = cluster.run("3", "put", "other", "1", user="late", check=False)
    assert refused(denied, "permission denied")


def test_a_watch_ends_with_the_right_to_it(cluster: TlsCluster) -> None:
    cluster.run("3", "user", "add", "watcher", "--no-password", user="root")
    cluster.run("3", "user", "grant-role", "watcher", "app", user="root")
    with client(cluster, "watcher") as watcher:
        answers = watcher.watch(b"app/", b"app0")
        assert next(answers).created
        cluster.run("3", "put", "app/w", "1", user="app")
        assert [event.kv.key for event in next(answers).events if event.kv] == [b"app/w"]
        cluster.run("3", "user", "revoke-role", "watcher", "app", user="root")
        last = next(answers)
        assert last.canceled
        assert last.cancel_reason == "etcdserver: permission denied"
        answers.close()  # type: ignore[attr-defined]


def test_a_signed_token_is_good_at_every_member(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"a secret of some length")
    words = f"jwt,priv-key={secret},sign-method=HS256,ttl=1m"
    made = TlsCluster(tmp_path, "--bcrypt-cost", "4", "--auth-token", words)
    for member in made.members:
        member.start()
    try:
        wait_for(lambda: made.run("3", "put", "ready", "1", check=False).returncode == 0, 20, "up")
        set_up(made)
        for member in made.members:
            login = ("--user", "pw:secret")
            made.run("3", *login, "put", "app/j", "1", user="x", endpoints=member.client_url)
    finally:
        for member in made.members:
            member.kill()


def test_a_wrong_token_flag_is_one_line() -> None:
    for words, text in (
        ("magic", "give simple or jwt"),
        ("jwt,sign-method=none", "sign-method 'none'"),
        ("jwt,pub-key=/nowhere,sign-method=RS256", "cannot read /nowhere"),
        ("jwt,sign-method=HS256,ttl=soon", "no duration"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "raftkv", "--auth-token", words],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
            cwd=Path(__file__).resolve().parents[3] / "src",
        )
        assert done.returncode == 1
        assert text in done.stderr
