"""Leases and their keys, as one state machine: what hangs on what, through rows and back."""

from __future__ import annotations

import random

import pytest

from etcdwire.errors import RequestError
from raftkv.backend.schema import Table
from raftkv.lease import lessor as module
from raftkv.lease.lessor import Lessor
from raftkv.replica.commands import (
    CommandKind,
    encode_checkpoint,
    encode_grant,
    encode_lease_expire,
    encode_revoke,
)
from raftkv.replica.machine import Machine
from raftkv.store.mvcc import lease_of
from raftkv.values import Index, Term
from tests.kit.one_member import new_machine

TERM = Term(5)


def put(key: bytes, lease: int) -> bytes:
    head = bytes((CommandKind.PUT, 0x0A, len(key))) + key
    return head + (b"\x18" + bytes((lease,)) if lease else b"")


def delete(key: bytes) -> bytes:
    return bytes((CommandKind.DELETE_RANGE, 0x0A, len(key))) + key


def apply(machine: Machine, command: bytes) -> object:
    (result,) = machine.apply(Index(1), TERM, (command,), True)
    return result


def attached(machine: Machine) -> dict[bytes, int]:
    """What the rows say."""
    return dict(machine.kv.leased_keys())


@pytest.mark.parametrize("seed", range(8))
def test_keys_hang_on_what_their_rows_say(seed: int) -> None:
    chance = random.Random(seed)
    machine = new_machine()
    stored: dict[bytes, bytes] = {}
    for _ in range(400):
        lease = chance.randrange(1, 6)
        key = b"k%d" % chance.randrange(12)
        apply(
            machine,
            chance.choice(
                [
                    encode_grant(lease, 100),
                    encode_revoke(lease),
                    encode_lease_expire(TERM, [lease]),
                    put(key, lease),
                    put(key, lease),
                    put(key, 0),
                    delete(key),
                ]
            ),
        )
        lessor = machine.lessor
        assert lessor.key_lease == attached(machine)
        for lease_id, found in lessor.leases.items():
            assert set(found.keys) == {k for k, i in lessor.key_lease.items() if i == lease_id}
        for table, name, row in machine.take_unflushed().others:
            assert table is Table.LEASES
            if row is None:
                del stored[name]
            else:
                stored[name] = row
        loaded = Lessor.load(stored.items())
        loaded.attach_all(machine.kv.leased_keys())
        assert {i: x.granted_s for i, x in loaded.leases.items()} == {
            i: x.granted_s for i, x in lessor.leases.items()
        }
        assert loaded.key_lease == lessor.key_lease


def test_what_a_leader_of_before_says_is_void() -> None:
    machine = new_machine()
    apply(machine, encode_grant(1, 100))
    apply(machine, put(b"k", 1))
    apply(machine, encode_lease_expire(TERM - 1, [1]))
    apply(machine, encode_checkpoint(TERM - 1, [(1, 3)]))
    assert machine.lessor.leases[1].remaining_s == 100
    assert machine.kv.latest(b"k") is not None
    apply(machine, encode_checkpoint(TERM, [(1, 3), (99, 5)]))
    assert machine.lessor.leases[1].remaining_s == 3
    apply(machine, encode_lease_expire(TERM, [1, 99]))
    assert not machine.lessor.leases
    assert machine.kv.latest(b"k") is None


def test_row_35_a_lease_with_many_keys_goes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEYS_PER_REVISION", 10)
    machine = new_machine()
    apply(machine, encode_grant(1, 100))
    for number in range(35):
        apply(machine, put(b"k%02d" % number, 1))
    before = machine.kv.revision
    left = []
    while 1 in machine.lessor.leases:
        apply(machine, encode_lease_expire(TERM, [1]))
        left.append(len(machine.lessor.key_lease))
        if 1 in machine.lessor.leases:
            refused = apply(machine, put(b"late", 1))
            assert isinstance(refused, RequestError)
    assert left == [25, 15, 5, 0]
    assert machine.kv.revision == before + 4


def test_the_lease_of_a_row() -> None:
    machine = new_machine()
    for lease in (1, 127):
        apply(machine, encode_grant(lease, 100))
    apply(machine, put(b"a", 127))
    apply(machine, put(b"b", 0))
    assert [lease_of(machine.kv.latest(key) or b"") for key in (b"a", b"b")] == [127, 0]
