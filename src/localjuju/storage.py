"""Storage instances: directives, pools, locations, and who is attached to what.

This file decides and records; ``agent`` and ``machines`` make directories and mounts.
"""

import math
import re
from typing import Any, NamedTuple

from localjuju.entities import Records, Storage, Unit
from localjuju.errors import JujuError
from localjuju.resolver.state import ALIVE, DEAD, DYING

PROVIDERS = ("hostdir", "loop", "rootfs", "tmpfs")
POOLS = {name: {"provider": name} for name in ("loop", "rootfs", "tmpfs")}
HOSTDIR_PATH = "path"
DEFAULT_POOL = "rootfs"
DEFAULT_SIZE_MIB = 1024
DEFAULT_DIRECTORY = "/var/lib/juju/storage"
_POOL = re.compile(r"[a-zA-Z]+[-?a-zA-Z0-9]*$")
_COUNT = re.compile(r"-?[0-9]+$", re.ASCII)
_SIZE = re.compile(r"-?([0-9]+(?:\.[0-9]+)?)([MGTPEZY])(?:i?B)?$", re.ASCII)


class Directive(NamedTuple):
    """``pool,size,count`` of a storage; empty and 0 where nothing was said."""

    pool: str
    size_mib: int
    instances: int


def parse_size_mib(text: str) -> int | None:
    """Return the size in MiB that a word such as ``10G`` names, or None."""
    match = _SIZE.match(text)
    if match is None or text.startswith("-"):
        return None
    return math.ceil(float(match[1]) * (1 << 10 * "MGTPEZY".index(match[2])))


def parse_constraints(text: str) -> Directive:
    """Parse ``pool,size,count`` in any order (juju: storage/constraints.go).

    An absolute path of the host is a pool of this model's own.
    """
    pool, size, count = "", 0, 0
    for word in filter(None, text.split(",")):
        size_mib = parse_size_mib(word)
        if _POOL.match(word) or word.startswith("/"):
            if pool:
                raise JujuError(
                    f'pool name is already set to "{pool}", new value "{word}" not valid'
                )
            pool = word
        elif _COUNT.match(word):
            if int(word) <= 0:
                raise JujuError(
                    f'cannot parse count: count must be greater than zero, got "{word}"'
                )
            count = int(word)
        elif size_mib is not None:
            size = size_mib
        elif _SIZE.match(word):
            raise JujuError(f'cannot parse size: expected a non-negative number, got "{word}"')
        else:
            raise JujuError(f'unrecognized storage constraint "{word}" not valid')
    if not (pool or size or count):
        raise JujuError("storage constraints require at least one field to be specified")
    return Directive(pool, size, count or 1)


def parse_directive(text: str) -> Directive:
    """Parse a directive and fill in the defaults; an empty one means the defaults."""
    pool, size, count = parse_constraints(text) if text else Directive("", 0, 1)
    return Directive(pool or DEFAULT_POOL, size or DEFAULT_SIZE_MIB, count)


def declared(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what the charm says about a storage name."""
    stores = metadata.get("storage") or {}
    if name not in stores:
        raise JujuError(f'charm "{metadata["name"]}" has no store called "{name}"')
    store: dict[str, Any] = stores[name] or {}
    return store


def count_range(store: dict[str, Any]) -> tuple[int, int]:
    """Return how few and how many instances the charm wants; -1 for no limit."""
    multiple = (store.get("multiple") or {}).get("range")
    if multiple is None:
        return 1, 1
    text = str(multiple)
    if text.endswith(("-", "+")):
        return int(text[:-1]), -1
    low, dash, high = text.partition("-")
    return (int(low), int(high)) if dash else (int(low), int(low))


def location_of(store: dict[str, Any], identifier: str) -> str:
    """Return where an instance is seen: the location as it is for stores of at most one."""
    base = str(store.get("location") or "")
    if not base:
        return f"{DEFAULT_DIRECTORY}/{identifier}"
    _, high = count_range(store)
    return base if high == 1 else f"{base}/{identifier}"


def create_for_unit(records: Records, unit: Unit, now: float) -> None:
    """Make the instances that the application's directives and the charm ask for."""
    app = records.applications[unit.app]
    metadata = records.charm_of(unit.app).metadata
    for name, store in (metadata.get("storage") or {}).items():
        low, _ = count_range(store or {})
        directive = app.storage.get(name)
        if directive is None and low == 0:
            continue
        pool, size, count = parse_directive(directive or "")
        for _ in range(max(count if directive is not None else low, low)):
            _make(records, unit, name, (pool, size), now)


def add_to_unit(
    records: Records, unit: Unit, name: str, count: int, now: float, directive: str = ""
) -> list[str]:
    """Give a unit more instances of a store; return their ids."""
    app = records.applications[unit.app]
    store = declared(records.charm_of(unit.app).metadata, name)
    pool, size, _ = parse_directive(directive or app.storage.get(name, ""))
    check_count(records, unit, name, store, count)
    return [_make(records, unit, name, (pool, size), now).id for _ in range(count)]


def check_directives(records: Records, metadata: dict[str, Any], wanted: dict[str, str]) -> None:
    """Refuse directives of a deployment that the charm or the model does not know."""
    for name, text in wanted.items():
        store = declared(metadata, name)
        if store.get("type") == "block":
            raise JujuError(f'store "{name}": the local model has no block devices to give')
        low, high = count_range(store)
        pool, _, instances = parse_directive(text)
        provider_of(records, pool)
        if instances < low or (high >= 0 and instances > high):
            bound = f"at least {low}" if instances < low else f"at most {high}"
            raise JujuError(
                f'charm "{metadata["name"]}" store "{name}": {bound} instances supported, '
                f"{instances} specified"
            )


def check_count(
    records: Records, unit: Unit, name: str, store: dict[str, Any], count: int
) -> None:
    """Refuse more instances than the charm allows."""
    _, high = count_range(store)
    present = sum(
        1 for item in records.storage.values() if item.unit == unit.name and item.name == name
    )
    if high >= 0 and present + count > high:
        metadata = records.charm_of(unit.app).metadata
        raise JujuError(
            f'cannot add storage to unit "{unit.name}": charm "{metadata["name"]}" store "{name}": '
            f"at most {high} instances supported, {present + count} specified"
        )


def _make(records: Records, unit: Unit, name: str, what: tuple[str, int], now: float) -> Storage:
    identifier = f"{name}/{records.model.take_number('storage')}"
    store = declared(records.charm_of(unit.app).metadata, name)
    pool, size = what
    provider, directory = provider_of(records, pool)
    item = Storage(
        id=identifier,
        name=name,
        pool=pool,
        size_mib=size,
        owner=unit.app,
        unit=unit.name,
        location=location_of(store, identifier),
        provider=provider,
        directory=directory,
        kind=str(store.get("type", "filesystem")),
        since=now,
    )
    records.storage[identifier] = item
    return item


def pools(records: Records) -> dict[str, dict[str, str]]:
    """Return every pool with its provider and attributes."""
    return {**POOLS, **records.model.pools}


def provider_of(records: Records, pool: str) -> tuple[str, str]:
    """Return a pool's provider and, for hostdir, its directory; a path is a pool of its own."""
    if pool.startswith("/"):
        return "hostdir", pool
    known = pools(records).get(pool)
    if known is None:
        raise JujuError(f'pool "{pool}" not found')
    return known["provider"], known.get(HOSTDIR_PATH, "")


def check_pool(name: str, provider: str, attributes: dict[str, str]) -> None:
    """Refuse a pool that could not be used."""
    if not _POOL.match(name):
        raise JujuError(f'pool name "{name}" not valid')
    if provider not in PROVIDERS:
        raise JujuError(f'storage provider "{provider}" not found')
    if provider == "hostdir" and not attributes.get(HOSTDIR_PATH, "").startswith("/"):
        raise JujuError(
            "hostdir needs an absolute path: create-storage-pool NAME hostdir path=/DIR"
        )


def attach(records: Records, item: Storage, unit: Unit, now: float) -> None:
    """Attach a detached instance to a unit."""
    if item.unit:
        raise JujuError(f'storage "{item.id}" is already attached to unit "{item.unit}"')
    store = declared(records.charm_of(unit.app).metadata, item.name)
    check_count(records, unit, item.name, store, 1)
    item.unit = unit.name
    item.attachment_life = ALIVE
    item.provisioned = False
    item.location = location_of(store, item.id)
    item.since = now


def begin_detach(records: Records, item: Storage) -> None:
    """Ask for an attachment to end; the unit runs -detaching first."""
    if not item.unit:
        raise JujuError(f'storage "{item.id}" is not attached')
    if not item.is_detachable:
        raise JujuError(
            f'storage "{item.id}" is not detachable: {item.pool} dies with its machine'
        )
    unit = records.units[item.unit]
    store = declared(records.charm_of(unit.app).metadata, item.name)
    low, _ = count_range(store)
    attached = [s for s in records.storage.values() if (s.unit, s.name) == (unit.name, item.name)]
    if unit.life == ALIVE and len(attached) <= low:
        raise JujuError(
            f'cannot detach storage "{item.id}": charm needs at least {low} of "{item.name}"'
        )
    item.attachment_life = DYING


def let_go(item: Storage) -> None:
    """Record that the unit has let go; what is left is to unmount it."""
    item.attachment_life = DEAD


def end_attachment(records: Records, item: Storage, *, keep: bool, now: float) -> bool:
    """Record that an instance is no longer attached; return whether it is gone altogether."""
    item.unit = ""
    item.provisioned = False
    item.attachment_life = ALIVE
    item.message = ""
    item.since = now
    if keep and item.is_detachable:
        return False
    del records.storage[item.id]
    return True
