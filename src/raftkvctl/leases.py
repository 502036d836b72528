"""Commands of the v3 mode: ``lease``."""

from __future__ import annotations

import argparse
import sys
import time

from etcdwire import messages as m
from etcdwire.errors import Code
from etcdwire.protobuf import Message, encode
from kvclient import KvClientError, RequestError
from raftkvctl import printing
from raftkvctl.grammar import Commands
from raftkvctl.options import Options, UsageError, connect

_LEASE = "/etcdserverpb.Lease/"
EXIT_LOST = 2


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare the family."""
    lease = commands.add_parser("lease", help="leases")
    inner = lease.add_subparsers(dest="lease_command", metavar="COMMAND", required=True)
    command = inner.add_parser("grant", parents=[common], allow_abbrev=False)
    command.add_argument("ttl", metavar="SECONDS")
    command.set_defaults(run=_grant)
    command = inner.add_parser("revoke", parents=[common], allow_abbrev=False)
    command.add_argument("lease", metavar="ID")
    command.set_defaults(run=_revoke)
    command = inner.add_parser("timetolive", parents=[common], allow_abbrev=False)
    command.add_argument("lease", metavar="ID")
    command.add_argument("--keys", action="store_true", help="keys that hang on it as well")
    command.set_defaults(run=_time_to_live)
    inner.add_parser("list", parents=[common], allow_abbrev=False).set_defaults(run=_list)
    command = inner.add_parser("keep-alive", parents=[common], allow_abbrev=False)
    command.add_argument("lease", metavar="ID")
    command.add_argument("--once", action="store_true")
    command.set_defaults(run=_keep_alive)


def _id(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise UsageError(
            f'bad lease ID arg (strconv.ParseInt: parsing "{text}": invalid syntax), '
            "expecting ID in Hex"
        ) from None


def _path(method: str) -> bytes:
    return (_LEASE + method).encode()


def _show(options: Options, answer: Message, *fields: str) -> bool:
    if options.output == "json":
        plain = printing.to_plain(answer)
        # etcdctl prints the header's fields beside the others, and always an error.
        flat = {**plain.pop("header", {}), **plain}
        if isinstance(answer, m.LeaseGrantResponse):
            flat["Error"] = answer.error
        printing.print_plain(flat)
    elif options.output == "fields":
        printing.print_header_fields(getattr(answer, "header", None))
        for line in fields:
            print(line)
    elif options.output == "protobuf":
        # The message that etcdctl's library embeds is the header, and that is all it prints.
        header: Message | None = getattr(answer, "header", None)
        printing.write_raw(
            encode(answer if isinstance(answer, _WITH_HEADER) else header or answer)
        )
    elif options.output == "table":
        printing.refuse(options.output)
    else:
        return False
    return True


_WITH_HEADER = (m.LeaseRevokeResponse,)


def _grant(options: Options, arguments: argparse.Namespace) -> int:
    try:
        ttl_s = int(arguments.ttl)
    except ValueError:
        text = f'strconv.ParseInt: parsing "{arguments.ttl}": invalid syntax'
        raise UsageError(f"bad TTL ({text})") from None
    with connect(options) as client:
        request = m.LeaseGrantRequest(ttl_s)
        answer = client.call(_path("LeaseGrant"), request, m.LeaseGrantResponse, is_write=True)
    if not _show(options, answer, f'"ID" : {answer.ID}', f'"TTL" : {answer.TTL}'):
        print(f"lease {answer.ID:016x} granted with TTL({answer.TTL}s)")
    return 0


def _revoke(options: Options, arguments: argparse.Namespace) -> int:
    lease_id = _id(arguments.lease)
    with connect(options) as client:
        request = m.LeaseRevokeRequest(lease_id)
        try:
            answer = client.call(
                _path("LeaseRevoke"), request, m.LeaseRevokeResponse, is_write=True
            )
        except RequestError as error:
            print(f"Error: failed to revoke lease ({error.message})", file=sys.stderr)
            return 1
    if not _show(options, answer):
        print(f"lease {lease_id:016x} revoked")
    return 0


def _time_to_live(options: Options, arguments: argparse.Namespace) -> int:
    lease_id = _id(arguments.lease)
    with connect(options) as client:
        request = m.LeaseTimeToLiveRequest(lease_id, arguments.keys)
        answer = client.call(_path("LeaseTimeToLive"), request, m.LeaseTimeToLiveResponse)
    if options.output == "json":
        plain = printing.to_plain(answer)
        header = plain.pop("header", {})
        row = {"ttl": answer.TTL, "granted-ttl": answer.grantedTTL}
        document = {**header, "id": answer.ID, **row, "keys": plain.get("keys")}
        printing.print_plain(document)
        return 0
    fields = [
        f'"ID" : {answer.ID}',
        f'"TTL" : {answer.TTL}',
        f'"GrantedTTL" : {answer.grantedTTL}',
    ]
    fields += [f'"Key" : {printing.quoted(key)}' for key in answer.keys]
    if _show(options, answer, *fields):
        return 0
    if not answer.grantedTTL:
        print(f"lease {lease_id:016x} already expired")
        return 0
    text = (
        f"lease {lease_id:016x} granted with TTL({answer.grantedTTL}s), remaining({answer.TTL}s)"
    )
    if arguments.keys:
        names = " ".join(key.decode("utf-8", "backslashreplace") for key in answer.keys)
        text += f", attached keys([{names}])"
    print(text)
    return 0


def _list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with connect(options) as client:
        answer = client.call(_path("LeaseLeases"), m.LeaseLeasesRequest(), m.LeaseLeasesResponse)
    if options.output == "json":
        header = printing.to_plain(answer).get("header", {})
        rows = [{"id": row.ID} for row in answer.leases]
        printing.print_plain({**header, "leases": rows})
    elif not _show(options, answer, *(f'"ID" : {row.ID}' for row in answer.leases)):
        print(f"found {len(answer.leases)} leases")
        for row in answer.leases:
            print(f"{row.ID:016x}")
    return 0


def _keep_alive(options: Options, arguments: argparse.Namespace) -> int:
    lease_id = _id(arguments.lease)
    with connect(options) as client:
        while True:
            try:
                request = m.LeaseKeepAliveRequest(lease_id)
                answer = client.call(_path("LeaseKeepAlive"), request, m.LeaseKeepAliveResponse)
            except KvClientError as error:
                if isinstance(error, RequestError) and error.code != Code.NOT_FOUND:
                    raise
                answer = m.LeaseKeepAliveResponse()
            if not answer.TTL:
                if arguments.once:
                    print("Error: etcdserver: requested lease not found", file=sys.stderr)
                    return EXIT_LOST
                print(f"lease {lease_id:016x} expired or revoked.")
                return 0
            if not _show(options, answer, f'"ID" : {answer.ID}', f'"TTL" : {answer.TTL}'):
                print(f"lease {lease_id:016x} keepalived with TTL({answer.TTL})", flush=True)
            if arguments.once:
                return 0
            time.sleep(answer.TTL / 3)
