"""Random sequences of requests, v3 and v2, from a seed. Pure: the same seed gives the same sequence."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

KEYS: Final = ("a", "b", "c", "d/a", "d/b", "d/e/f", "")
VALUES: Final = ("", "1", "2", "long" * 20, "ü", "\x00\x01")
LEASES: Final = ("0", "0", "0", "701", "702", "703")
FORM_VALUES: Final = ("", "1", "2", "a b", "ü&=")


@dataclass(frozen=True)
class Step:
    """One request: of v3 with a JSON body, or of v2 with a form."""

    api: str
    way: str
    """v3: ``grpc`` or ``gateway``; v2: the method."""
    path: str
    body: Any


def make_sequence(seed: int, length: int) -> list[Step]:
    """So many steps."""
    return [_step(random.Random(f"{seed}/{number}")) for number in range(length)]


def _step(chance: random.Random) -> Step:
    if chance.random() < 0.4:
        return _v2(chance)
    path, body = chance.choice(_V3)(chance)
    return Step("v3", chance.choice(("grpc", "gateway")), path, body)


# --- v3 -------------------------------------------------------------------------------------


def _key(chance: random.Random) -> str:
    return f"%s/{chance.choice(KEYS)}"


def _range(chance: random.Random) -> dict[str, Any]:
    shape = chance.randrange(6)
    if shape == 0:
        return {"key": "%s/", "range_end": "%s0"}
    if shape == 1:
        return {"key": "%s/d/", "range_end": "%s/d0"}
    if shape == 2:
        return {"key": _key(chance), "range_end": _key(chance)}
    return {"key": _key(chance)}


def _maybe(chance: random.Random, share: float, fields: dict[str, Any]) -> dict[str, Any]:
    return fields if chance.random() < share else {}


def _put_body(chance: random.Random) -> dict[str, Any]:
    body: dict[str, Any] = {"key": _key(chance), "value": chance.choice(VALUES)}
    body |= {"lease": chance.choice(LEASES)}
    body |= _maybe(chance, 0.3, {"prev_kv": True})
    if chance.random() < 0.1:
        body |= {"ignore_value": True}
        if chance.random() < 0.8:
            del body["value"]
    if chance.random() < 0.1:
        body |= {"ignore_lease": True}
        if chance.random() < 0.8:
            del body["lease"]
    return body


def _revision(chance: random.Random) -> str:
    return f"$+{chance.randrange(0, 60)}"


def _range_body(chance: random.Random) -> dict[str, Any]:
    body = _range(chance)
    body |= _maybe(chance, 0.2, {"limit": chance.randrange(-1, 4)})
    body |= _maybe(chance, 0.2, {"revision": _revision(chance)})
    body |= _maybe(chance, 0.3, {"sort_order": chance.choice(("NONE", "ASCEND", "DESCEND"))})
    targets = ("KEY", "VERSION", "CREATE", "MOD", "VALUE")
    if body.get("sort_order", "NONE") != "NONE" or "limit" not in body:
        body |= _maybe(chance, 0.3, {"sort_target": chance.choice(targets)})
    for field in ("serializable", "keys_only", "count_only"):
        body |= _maybe(chance, 0.1, {field: True})
    for field in ("min_mod_revision", "max_mod_revision", "min_create_revision",
                  "max_create_revision"):  # fmt: skip
        body |= _maybe(chance, 0.07, {field: _revision(chance)})
    return body


def _delete_body(chance: random.Random) -> dict[str, Any]:
    return _range(chance) | _maybe(chance, 0.5, {"prev_kv": True})


def _operation(chance: random.Random, depth: int) -> dict[str, Any]:
    kind = chance.randrange(7 if depth < 2 else 6)
    if kind < 3:
        return {"request_put": _put_body(chance)}
    if kind < 5:
        return {"request_range": _range_body(chance)}
    if kind == 5:
        return {"request_delete_range": _delete_body(chance)}
    return {"request_txn": _txn_body(chance, depth + 1)}


def _compare(chance: random.Random) -> dict[str, Any]:
    target = chance.choice(("VERSION", "CREATE", "MOD", "VALUE", "LEASE"))
    value: dict[str, Any] = {
        "VERSION": {"version": str(chance.randrange(4))},
        "CREATE": {"create_revision": chance.choice(("0", _revision(chance)))},
        "MOD": {"mod_revision": chance.choice(("0", _revision(chance)))},
        "VALUE": {"value": chance.choice(VALUES)},
        "LEASE": {"lease": chance.choice(LEASES)},
    }[target]
    results = ("EQUAL", "GREATER", "LESS", "NOT_EQUAL")
    body = {"target": target, "result": chance.choice(results), **value}
    return body | (_range(chance) if chance.random() < 0.2 else {"key": _key(chance)})


def _operations(chance: random.Random, depth: int, count: int) -> list[dict[str, Any]]:
    """One transaction among them at most: of two, etcd looks for overlaps in one direction only."""
    found = [_operation(chance, depth) for _ in range(count)]
    nested = [one for one in found if "request_txn" in one]
    return [one for one in found if "request_txn" not in one] + nested[:1]


def _txn_body(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    return {
        "compare": [_compare(chance) for _ in range(chance.randrange(3))],
        "success": _operations(chance, depth, chance.randrange(4)),
        "failure": _operations(chance, depth, chance.randrange(3)),
    }


def _lease(chance: random.Random) -> str:
    return chance.choice(LEASES[3:])


_V3: Final = (
    *(lambda chance: ("kv/put", _put_body(chance)),) * 4,
    *(lambda chance: ("kv/range", _range_body(chance)),) * 4,
    *(lambda chance: ("kv/txn", _txn_body(chance)),) * 4,
    lambda chance: ("kv/deleterange", _delete_body(chance)),
    lambda chance: (
        "lease/grant",
        {"ID": _lease(chance), "TTL": chance.choice((500_000, 700_000))},
    ),
    lambda chance: (
        "lease/grant",
        {"ID": _lease(chance), "TTL": chance.choice((500_000, 700_000))},
    ),
    lambda chance: ("lease/revoke", {"ID": _lease(chance)}),
    lambda chance: ("lease/timetolive", {"ID": _lease(chance), "keys": True}),
    lambda chance: ("lease/leases", {}),
    lambda chance: (
        ("kv/compaction", {"revision": f"$+{chance.randrange(1, 30)}"})
        if chance.random() < 0.2
        else ("kv/range", _range_body(chance))
    ),
)


# --- v2 -------------------------------------------------------------------------------------

_V2_KEYS: Final = ("/a", "/b", "/d", "/d/a", "/d/e/f", "/_h", "/d/_h/x", "")


def _v2(chance: random.Random) -> Step:
    path = "%s" + chance.choice(_V2_KEYS)
    method = chance.choice(("PUT", "PUT", "PUT", "POST", "GET", "GET", "DELETE"))
    form: dict[str, str] = {}
    if method in ("PUT", "POST"):
        form |= _maybe(chance, 0.85, {"value": chance.choice(FORM_VALUES)})
        form |= _maybe(chance, 0.15, {"dir": chance.choice(("true", "false", "", "tRUE"))})
        form |= _maybe(chance, 0.05, {"noValueOnSuccess": chance.choice(("true", "false", ""))})
        form |= _maybe(chance, 0.15, {"ttl": chance.choice(("500000", "", "x", "-1x"))})
        form |= _maybe(chance, 0.05, {"refresh": "true", "prevExist": "true"})
    if method in ("PUT", "DELETE"):
        if "refresh" not in form:
            form |= _maybe(chance, 0.12, {"prevExist": chance.choice(("true", "false", "x"))})
        form |= _maybe(chance, 0.15, {"prevValue": chance.choice(("1", "2", ""))})
        indexes = (f"$+{chance.randrange(40)}", "x", "")
        form |= _maybe(chance, 0.12, {"prevIndex": chance.choice(indexes)})
    if method == "DELETE":
        form |= _maybe(chance, 0.3, {"dir": "true"})
        form |= _maybe(chance, 0.3, {"recursive": chance.choice(("true", "false", "x"))})
    if method == "GET":
        form["sorted"] = "true"
        form |= _maybe(chance, 0.4, {"recursive": chance.choice(("true", "false"))})
        form |= _maybe(chance, 0.2, {"quorum": "true"})
    return Step("v2", method, path, form)
