"""Row 31: what an entry does depends on the entry and the replicated state, on nothing else.

Random entries of every kind are applied by members that differ in all that must not matter: one
just goes on; one has watchers and clients, forgets at once what a compaction allows, and looks at
its rows in between; one is thrown away in the middle of applying, again and again, and starts from
what its backend held. After each entry their states are compared.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from etcdwire import messages as m
from etcdwire import messages_auth as ma
from etcdwire.protobuf import encode
from raftkv.auth.state import AuthOp
from raftkv.auth.tokens import SimpleTokens
from raftkv.auth.v2_state import V2AuthOp
from raftkv.backend.environment import Environment
from raftkv.backend.schema import Table
from raftkv.replica.commands import (
    CommandKind,
    CommandV2,
    MethodV2,
    encode_alarm,
    encode_as_user,
    encode_auth,
    encode_checkpoint,
    encode_compact,
    encode_expire,
    encode_grant,
    encode_lease_expire,
    encode_revoke,
    encode_v2,
    encode_v2_auth,
    encode_v2_checked,
)
from raftkv.replica.machine import Machine
from raftkv.server.data_dir import StoreView, load_machine
from raftkv.server.disk import meta_rows
from raftkv.store.hashes import KeyValueHash
from raftkv.values import Index, Term
from raftkv.watch.hub import Watcher

ENTRIES = 800
KEYS = [b"a", b"b", b"c/1", b"c/2", b"d" * 40]
PATHS = ["/x", "/x/y", "/x/z", "/w", "/_hidden"]
NAMES = ["root", "alice", "bob"]


class Entries:
    """Draws batches of commands, most of them possible."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._now_ms = 1_700_000_000_000

    def next(self, machine: Machine, term: Term) -> list[bytes]:
        return [self._command(machine, term) for _ in range(self._chance.choice([1, 1, 2, 5]))]

    def _command(self, machine: Machine, term: Term) -> bytes:
        chance = self._chance
        draw = chance.random()
        if draw < 0.45:
            command = self._keys(machine)
            if machine.auth.enabled and chance.random() < 0.8:
                revision = machine.auth.revision - chance.choice([0, 0, 0, 1])
                command = encode_as_user(chance.choice(NAMES), revision, command)
            return command
        if draw < 0.65:
            command = self._tree()
            if machine.v2_auth.enabled and chance.random() < 0.8:
                command = encode_v2_checked(machine.v2_auth.revision, command)
            return command
        if draw < 0.80:
            return self._lease(term)
        if draw < 0.97:
            return self._users()
        return encode_alarm(
            CommandKind.MEMBER_ALARM,
            1,
            chance.choice([m.AlarmType.NOSPACE, m.AlarmType.CORRUPT]),
            is_raised=chance.random() < 0.2,
        )

    def _keys(self, machine: Machine) -> bytes:
        chance = self._chance
        key, value = chance.choice(KEYS), chance.randbytes(chance.choice([0, 3, 100]))
        draw = chance.random()
        if draw < 0.5:
            put = m.PutRequest(key, value, lease=chance.choice([0, 0, 1, 2, 9]))
            return bytes((CommandKind.PUT,)) + encode(put)
        if draw < 0.7:
            return bytes((CommandKind.DELETE_RANGE,)) + encode(
                m.DeleteRangeRequest(key, chance.choice([b"", b"\0", b"d"]))
            )
        if draw < 0.95:
            compare = m.Compare(
                m.CompareResult.GREATER, m.CompareTarget.VERSION, key, version=chance.randrange(4)
            )
            request = m.TxnRequest(
                [compare],
                [
                    m.RequestOp(request_put=m.PutRequest(key, value)),
                    m.RequestOp(request_range=m.RangeRequest(b"a", b"z")),
                ],
                [m.RequestOp(request_delete_range=m.DeleteRangeRequest(key))],
            )
            return bytes((CommandKind.TXN,)) + encode(request)
        return encode_compact(max(machine.kv.revision - chance.randrange(30), 0))

    def _tree(self) -> bytes:
        chance = self._chance
        self._now_ms += chance.randrange(2000)
        if chance.random() < 0.15:
            return encode_expire(self._now_ms)
        return encode_v2(
            CommandV2(
                chance.choice(list(MethodV2)),
                chance.choice(PATHS),
                chance.choice(["", "v", "näme"]),
                chance.choice(["", "v"]),
                chance.choice([0, 0, 5]),
                chance.choice([0, 0, self._now_ms + 3000]),
                self._now_ms,
                is_dir=chance.random() < 0.2,
                recursive=chance.random() < 0.3,
                refresh=chance.random() < 0.1,
            )
        )

    def _lease(self, term: Term) -> bytes:
        chance = self._chance
        lease_id = chance.choice([1, 2, 3])
        said_in = int(term) - chance.choice([0, 0, 1])
        return chance.choice(
            [
                encode_grant(lease_id, chance.randrange(1, 100)),
                encode_revoke(lease_id),
                encode_lease_expire(said_in, [lease_id, 3]),
                encode_checkpoint(said_in, [(lease_id, 5)]),
            ]
        )

    def _users(self) -> bytes:
        chance = self._chance
        name = chance.choice(NAMES)
        if chance.random() < 0.2:
            user = {"user": name, "password": "x", "roles": ["root"]}
            op = chance.choice([V2AuthOp.PUT_USER, V2AuthOp.ENABLE, V2AuthOp.DISABLE])
            body = str(user).replace("'", '"').encode() if op is V2AuthOp.PUT_USER else b"{}"
            return encode_v2_auth(op, body)
        permission = ma.Permission(ma.PermissionType.READWRITE, b"a", b"d")
        requests = {
            AuthOp.USER_ADD: ma.AuthUserAddRequest(name, ""),
            AuthOp.USER_DELETE: ma.AuthUserNameRequest(name),
            AuthOp.ROLE_ADD: ma.AuthRoleAddRequest(name),
            AuthOp.USER_GRANT_ROLE: ma.AuthUserGrantRoleRequest(name, name),
            AuthOp.USER_REVOKE_ROLE: ma.AuthUserRevokeRoleRequest(name, "bob"),
            AuthOp.ROLE_GRANT_PERMISSION: ma.AuthRoleGrantPermissionRequest(name, permission),
            AuthOp.ENABLE: ma.Nothing(),
            AuthOp.DISABLE: ma.Nothing(),
        }
        op = chance.choice(list(requests))
        return encode_auth(op, encode(requests[op]))


class Applier:
    """A member's state and its backend."""

    def __init__(self, directory: Path) -> None:
        self.environment = Environment(directory)
        self.view = StoreView(self.environment.view())
        self.machine, self.flushed, self.term, _ = load_machine(self.view)
        self.machine.level = 2

    def flush(self, index: int, term: int) -> None:
        taken = self.machine.take_unflushed()
        rows = [(change.row_id.to_bytes(8, "big"), change.row) for change in taken.rows]
        self.environment.append_rows(Table.ROWS, rows)
        others = [(Table.V2, n.to_bytes(8, "big"), row) for n, row in taken.v2.items()]
        meta = meta_rows(index, term, b"", self.machine)
        self.environment.write_rows([*others, *taken.others, *meta])
        self.environment.commit()
        self.view.view.renew()
        self.machine.kv.forget_flushed([change.row_id for change in taken.rows])
        self.flushed, self.term = Index(index), Term(term)

    def crash(self) -> None:
        """Begin again from the backend."""
        self.view.view.renew()
        self.machine, self.flushed, self.term, _ = load_machine(self.view)
        self.machine.level = 2


def state_of(machine: Machine) -> tuple[object, ...]:
    rows = KeyValueHash(machine.kv, 0)
    while not rows.step():
        pass
    return (
        rows.value,
        machine.chain,
        machine.kv.revision,
        machine.kv.compact_revision,
        machine.tree.index,
        repr(machine.tree.get("/", recursive=True, is_sorted=True, now_ms=0)),
        machine.auth.revision,
        machine.auth.enabled,
        sorted(machine.auth.users),
        sorted(machine.auth.roles),
        machine.v2_auth.revision,
        sorted(machine.alarms.active),
        sorted(
            (one.lease_id, one.granted_s, one.remaining_s, sorted(one.keys))
            for one in machine.lessor.leases.values()
        ),
    )


@pytest.mark.parametrize("seed", range(3))
def test_row_31_members_that_differ_in_all_else_apply_alike(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    entries = Entries(chance)
    plain, busy, crashing = (Applier(tmp_path / name) for name in ("plain", "busy", "crashing"))
    log: list[tuple[Index, Term, list[bytes]]] = []
    term = Term(1)
    for number in range(1, ENTRIES + 1):
        term = Term(term + (chance.random() < 0.02))
        entry = (Index(number), term, entries.next(plain.machine, term))
        log.append(entry)
        plain.machine.apply(*entry, False)
        prepare_busy(busy, chance, number)
        busy.machine.apply(*entry, True)
        busy.machine.kv.forget_slice(100)
        apply_and_crash(crashing, log, chance)
        if number % 20 == 0 or number == ENTRIES:
            expected = state_of(plain.machine)
            assert state_of(busy.machine) == expected, f"after entry {number}"
            assert state_of(crashing.machine) == expected, f"after entry {number}"
        assert busy.machine.chain == crashing.machine.chain == plain.machine.chain, entry
    assert plain.machine.kv.revision > 50


def prepare_busy(busy: Applier, chance: random.Random, number: int) -> None:
    machine = busy.machine
    machine.tokens = SimpleTokens(chance.randrange(1, 1000))
    if number % 50 == 1:
        machine.hub.add(Watcher(object(), number, b"a", b"z", machine.kv.revision + 1))
    machine.hub.deliveries = []
    if number % 7 == 0:
        busy.flush(number - 1, 1)


def apply_and_crash(
    crashing: Applier, log: list[tuple[Index, Term, list[bytes]]], chance: random.Random
) -> None:
    """Apply the newest entry; sometimes only a part of it, and then again from the backend."""
    index, term, commands = log[-1]
    if chance.random() < 0.1:
        crashing.machine.apply(index, term, commands[: len(commands) // 2], False)
        crashing.crash()
        for entry in log[crashing.flushed : -1]:
            crashing.machine.apply(*entry, False)
    crashing.machine.apply(index, term, commands, False)
    if chance.random() < 0.05:
        crashing.flush(index, term)
