"""Commands of the v3 mode: ``lock`` and ``elect``."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

from kvclient import Election, Lock
from raftkvctl.grammar import Commands
from raftkvctl.options import Options, UsageError, connect


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare both."""
    command = commands.add_parser(
        "lock", help="hold a named lock", parents=[common], allow_abbrev=False
    )
    command.add_argument("name")
    command.add_argument("exec", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    command.add_argument("--ttl", type=int, default=10, help="seconds without a sign of life")
    command.set_defaults(run=_lock)
    command = commands.add_parser(
        "elect", help="lead, or watch who leads", parents=[common], allow_abbrev=False
    )
    command.add_argument("name")
    command.add_argument("proposal", nargs="?", default=None)
    command.add_argument("--listen", "-l", action="store_true", help="watch who leads")
    command.set_defaults(run=_elect)


def _wait_for_a_signal() -> None:
    """Until SIGINT or SIGTERM, which then end nothing by themselves."""
    wanted = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    signal.sigwait(wanted)


def _lock(options: Options, arguments: argparse.Namespace) -> int:
    """Print the key and hold the lock until a signal, or for as long as a command runs.

    The command finds the key in ETCD_LOCK_KEY and the fencing token in ETCD_LOCK_REV: what it
    changes elsewhere should carry the token, because only that tells a late holder from the next.
    """
    with connect(options) as client:
        lock = Lock(client, arguments.name.encode("utf-8", "surrogateescape"), arguments.ttl)
        try:
            lock.acquire()
            if arguments.exec:
                environment = {
                    **os.environ,
                    "ETCD_LOCK_KEY": os.fsdecode(lock.key),
                    "ETCD_LOCK_REV": str(lock.fencing_token),
                }
                return subprocess.run(arguments.exec, env=environment, check=False).returncode
            print(lock.key.decode("utf-8", "backslashreplace"), flush=True)
            _wait_for_a_signal()
        except KeyboardInterrupt:
            return 130
        finally:
            lock.close()
    return 0


def _elect(options: Options, arguments: argparse.Namespace) -> int:
    if arguments.listen == (arguments.proposal is not None):
        raise UsageError(
            "no proposal argument but -l not set"
            if arguments.proposal is None
            else "proposal given but -l is set"
        )
    name = arguments.name.encode("utf-8", "surrogateescape")
    with connect(options) as client:
        election = Election(client, name, 60)
        try:
            if arguments.listen:
                for leader in election.observe():
                    _print_pair(leader.key, leader.value)
            proposal = arguments.proposal.encode("utf-8", "surrogateescape")
            election.campaign(proposal)
            _print_pair(election.key, proposal)
            _wait_for_a_signal()
        except KeyboardInterrupt:
            return 130
        finally:
            election.close()
    return 0


def _print_pair(key: bytes, value: bytes) -> None:
    sys.stdout.buffer.write(key + b"\n" + value + b"\n")
    sys.stdout.buffer.flush()
