"""Commands of the v3 mode: ``make-mirror`` copies a key space to another cluster and follows it."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from etcdwire import messages as m
from kvclient import Client, ClientTLS, prefix_end
from kvclient.watches import Watch
from raftkvctl.grammar import Commands
from raftkvctl.options import Options, UsageError, connect, read_credentials
from raftkvctl.requests import to_bytes

PAGE_KEYS = 1000
COUNT_PAUSE_S = 30.0
TXN_OPERATIONS_MAX = 128
"""etcd's default of --max-txn-ops: the revision of a bigger source transaction is split."""


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare ``make-mirror``."""
    command = commands.add_parser(
        "make-mirror", help="copy keys to another cluster, live", parents=[common],
        allow_abbrev=False,
    )  # fmt: skip
    add = command.add_argument
    add("destination", metavar="ENDPOINTS")
    add("--prefix", default="", help="only keys below it")
    add("--dest-prefix", default="", help="instead of --prefix, at the destination")
    add("--no-dest-prefix", action="store_true", help="drop --prefix at the destination")
    add("--dest-cacert", default="", metavar="FILE")
    add("--dest-cert", default="", metavar="FILE")
    add("--dest-key", default="", metavar="FILE")
    add("--dest-insecure-transport", nargs="?", default="true", const="true", help="accepted")
    add("--dest-user", default="", metavar="NAME[:PASSWORD]")
    add("--dest-password", default="")
    command.set_defaults(run=_make_mirror)


def _make_mirror(options: Options, arguments: argparse.Namespace) -> int:
    if arguments.no_dest_prefix and arguments.dest_prefix:
        raise UsageError(
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one"
        )
    prefix = to_bytes(arguments.prefix)
    target = to_bytes(arguments.dest_prefix) or (b"" if arguments.no_dest_prefix else prefix)
    with connect(options) as source, connect(_destination(options, arguments)) as destination:
        mirror = Mirror(source, destination, prefix, target)
        counting = threading.Thread(target=_print_counts, args=(mirror,), daemon=True)
        counting.start()
        try:
            mirror.run()
        finally:
            mirror.is_over.set()
    return 1


def _destination(options: Options, arguments: argparse.Namespace) -> Options:
    tls = ClientTLS(arguments.dest_cacert, arguments.dest_cert, arguments.dest_key)
    scheme = "https" if tls.ca_file or tls.cert_file else "http"
    username, password = read_credentials(arguments.dest_user, arguments.dest_password)
    endpoints = tuple(
        word if "://" in word else f"{scheme}://{word}"
        for word in arguments.destination.split(",")
        if word
    )
    if not endpoints:
        raise UsageError("make-mirror takes one destination argument")
    return replace(options, endpoints=endpoints, tls=tls, username=username, password=password)


def _print_counts(mirror: Mirror) -> None:
    """How much was copied, every half minute, as etcdctl does."""
    while not mirror.is_over.wait(COUNT_PAUSE_S):
        print(mirror.copied_count, flush=True)


@dataclass(slots=True, init=False)
class Mirror:
    """One copy: what is there at one revision, then every change after it, in order.

    Written keys are only put and deleted, never compared: running it again is the way to go on
    after a break.
    """

    copied_count: int
    is_over: threading.Event

    _source: Client
    _destination: Client
    _prefix: bytes
    _target: bytes

    def __init__(self, source: Client, destination: Client, prefix: bytes, target: bytes) -> None:
        self.copied_count = 0
        self.is_over = threading.Event()
        self._source = source
        self._destination = destination
        self._prefix = prefix
        self._target = target

    def run(self) -> None:
        """Copy and follow for ever.

        Raises:
            CompactedError: the source forgot changes that were not copied yet.
            KvClientError: one of the two cannot be asked.
        """
        revision = self.copy_base()
        key, end = self._range()
        for answer in Watch(self._source, key, end, revision + 1).answers():
            for operations in _by_revision(answer.events, self._moved):
                self._destination.txn(m.TxnRequest(success=operations))
                self.copied_count += len(operations)

    def copy_base(self) -> int:
        """Copy what there is at the present revision, page by page; returns the revision."""
        key, end = self._range()
        revision = 0
        while True:
            request = m.RangeRequest(key, end, PAGE_KEYS, revision)
            answer = self._source.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)
            if not revision and answer.header is not None:
                revision = answer.header.revision
            for row in answer.kvs:
                self._destination.put(self._moved(row.key), row.value)
                self.copied_count += 1
            if not answer.more:
                return revision
            key = answer.kvs[-1].key + b"\0"

    def _range(self) -> tuple[bytes, bytes]:
        return (self._prefix, prefix_end(self._prefix)) if self._prefix else (b"\0", b"\0")

    def _moved(self, key: bytes) -> bytes:
        return self._target + key[len(self._prefix) :]


def _by_revision(
    events: list[m.Event], moved: Callable[[bytes], bytes]
) -> Iterator[list[m.RequestOp]]:
    """Operations of one revision each, at most as many as a transaction may have."""
    operations: list[m.RequestOp] = []
    revision = 0
    for event in events:
        row = event.kv or m.KeyValue()
        if operations and (row.mod_revision != revision or len(operations) == TXN_OPERATIONS_MAX):
            yield operations
            operations = []
        revision = row.mod_revision
        if event.type:
            request = m.DeleteRangeRequest(moved(row.key))
            operations.append(m.RequestOp(request_delete_range=request))
        else:
            operations.append(m.RequestOp(request_put=m.PutRequest(moved(row.key), row.value)))
    if operations:
        yield operations
