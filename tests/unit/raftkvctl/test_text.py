"""What people type: flags, durations, variables of both families, transaction text."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import pytest

from etcdwire import messages as m
from raftkvctl import options, printing, txn_text
from raftkvctl.__main__ import run
from raftkvctl.options import Options, UsageError
from raftkvctl.static_cluster import parse_static_cluster


def resolve(*words: str, **environment: str) -> Options:
    parser = argparse.ArgumentParser()
    options.add_global_flags(parser)
    return options.resolve(parser.parse_args(list(words)), environment)


def test_flags_beat_variables_of_either_family() -> None:
    assert resolve(ETCDCTL_ENDPOINTS="a:1,b:2").endpoints == ("http://a:1", "http://b:2")
    assert resolve(ETCDCTL_ENDPOINT="https://a:1").endpoints == ("https://a:1",)
    assert resolve("--endpoints", "c:3", ETCDCTL_ENDPOINTS="a:1").endpoints == ("http://c:3",)
    assert resolve(ETCDCTL_CA_FILE="f").tls.ca_file == "f"
    assert resolve(ETCDCTL_CACERT="g", ETCDCTL_CA_FILE="f").tls.ca_file == "g"
    assert resolve("--cert-file=c", "--key-file=k").tls.key_file == "k"


def test_bare_endpoints_are_https_when_certificates_are_given() -> None:
    assert resolve("--endpoints", "a:1", "--cacert", "f").endpoints == ("https://a:1",)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("2", 2), ("1h", 3600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert options.parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["soon", "5x", "s", "5s!"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(UsageError, match="invalid duration"):
        options.parse_duration_s(text)


def test_a_transaction_in_etcdctls_words() -> None:
    text = 'mod("k 1") > "3"\nvalue("b") = "x"\n\nput k "v w"\nget --prefix p\n\ndel a z\n'
    request = txn_text.read(io.StringIO(text), interactive=False)
    assert request.compare == [
        m.Compare(m.CompareResult.GREATER, m.CompareTarget.MOD, b"k 1", mod_revision=3),
        m.Compare(m.CompareResult.EQUAL, m.CompareTarget.VALUE, b"b", value=b"x"),
    ]
    assert request.success == [
        m.RequestOp(request_put=m.PutRequest(b"k", b"v w")),
        m.RequestOp(request_range=m.RangeRequest(b"p", b"q")),
    ]
    assert request.failure == [m.RequestOp(request_delete_range=m.DeleteRangeRequest(b"a", b"z"))]


@pytest.mark.parametrize("line", ["mod(k) > 3", 'size("k") = "1"', 'mod("k") > "x"', ""])
def test_bad_compares(line: str) -> None:
    with pytest.raises(txn_text.InputError, match="malformed comparison"):
        txn_text.parse_compare(line)


@pytest.mark.parametrize("line", ["fetch k", 'put k "v', ""])
def test_unknown_operations(line: str) -> None:
    with pytest.raises(txn_text.InputError, match="invalid txn request"):
        txn_text.parse_operation(line)


@pytest.mark.parametrize("line", ["put k", "get", "del --wrong a", "get a --prefix --from-key"])
def test_operations_without_their_arguments(line: str) -> None:
    with pytest.raises(UsageError):
        txn_text.parse_operation(line)


def test_operations_take_the_flags_of_their_commands() -> None:
    operation = txn_text.parse_operation('put "a b" -- "-x"')
    assert operation == m.RequestOp(request_put=m.PutRequest(b"a b", b"-x"))
    operation = txn_text.parse_operation("get a --limit 3 --order=descend z")
    wanted = m.RangeRequest(b"a", b"z", 3, sort_order=m.SortOrder.DESCEND)
    assert operation == m.RequestOp(request_range=wanted)
    operation = txn_text.parse_operation("del a --prefix=true --prev-kv")
    assert operation == m.RequestOp(request_delete_range=m.DeleteRangeRequest(b"a", b"b", True))


def test_ids_of_a_static_cluster_do_not_depend_on_order() -> None:
    one = parse_static_cluster("a=http://x:1,b=http://y:1", "t")
    two = parse_static_cluster("b=http://y:1,a=http://x:1", "t")
    assert one == two
    assert (
        parse_static_cluster("a=http://x:1", "u")[0]
        != parse_static_cluster("a=http://x:1", "t")[0]
    )


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["get", "--prefix", "--from-key", "a"], 128, "choose one"),
        (["get"], 128, "required: key"),
        (["get", "a", "b", "c"], 128, "unrecognized arguments"),
        (["get", "a", "--wrong"], 1, "unknown flag: --wrong"),
        (["fetch", "a"], 1, "invalid choice"),
        (["get", "a", "-w", "xml"], 4, "unsupported output format"),
        (["watch", "a", "--"], 128, "found separator --"),
        (["check", "perf", "--load=q"], 4, "unknown load option q"),
        (["make-mirror", "x", "--dest-prefix=a", "--no-dest-prefix"], 128, "choose one"),
        (["member", "remove", "xyz"], 128, "expecting ID in Hex"),
        (["--cacert", "/nowhere", "get", "a"], 1, "cannot read /nowhere"),
        (
            ["--endpoints", "127.0.0.1:1", "--command-timeout", "300ms", "get", "a"],
            1,
            "cannot connect",
        ),
        (["snapshot", "status", "/nowhere"], 1, "No such file"),
        (
            ["--api", "2", "--endpoints", "127.0.0.1:1", "get", "a"],
            1,
            "unavailable or misconfigured",
        ),
    ],
)
def test_mistakes_end_with_etcdctls_codes(
    words: list[str],
    code: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ETCDCTL_API", raising=False)
    if words[0] == "--cacert":
        words = ["--endpoints", "https://127.0.0.1:1", *words]
    assert run(words) == code
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (1e-9, "1ns"), (863.483e-6, "863.483µs"), (0.0015, "1.5ms"), (2.25, "2.25s"),
     (61, "1m1s"), (3600, "1h0m0s"), (5400.5, "1h30m0.5s")],
)  # fmt: skip
def test_durations_are_shown_as_go_shows_them(seconds: float, text: str) -> None:
    assert printing.duration_text(seconds) == text
