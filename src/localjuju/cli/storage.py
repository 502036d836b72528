"""storage and its pools."""

from collections.abc import Callable
from typing import Any

from localjuju import deployment, status, storage, tabular
from localjuju.cli.grammar import FORMAT, FORMAT_YAML, arguments, commas, pairs
from localjuju.cli.rendering import emit, table
from localjuju.cli.session import Session
from localjuju.entities import Records, Storage
from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_tools.flags import option, switch


def list_storage(session: Session) -> int:
    """List storage instances, or with --filesystem [MACHINE…] what backs them."""
    args = arguments(session, (*FORMAT, switch("filesystem"), switch("volume")))
    if args.has("filesystem") and args.has("volume"):
        raise UsageError("--filesystem and --volume can not be used together")
    if args.positional and not (args.has("filesystem") or args.has("volume")):
        raise UsageError("specifying IDs only supported with --filesystem and --volume options")
    with session.book().read() as records:
        value = {} if args.has("volume") else status.storage_status(records)
        text = "" if args.has("volume") else tabular.storage_table(records, mounts=False)
        if args.has("filesystem"):
            value = _filesystems(value, args.positional)
            text = tabular.filesystem_table(value.get("filesystems", {}))
    if args.text("format") != "tabular":
        if value:
            emit(session, args, value)
    elif text:
        session.out(text)
    else:
        session.err("No storage to display.\n")
    return 0


def _filesystems(value: dict[str, Any], machines: list[str]) -> dict[str, Any]:
    """Return the file systems of a storage status, all or those of some machines."""
    found = {
        number: body
        for number, body in value.get("filesystems", {}).items()
        if not machines or set(machines) & set(body.get("attachments", {}).get("machines", {}))
    }
    return {"filesystems": found} if found else {}


def show_storage(session: Session) -> int:
    """Show storage instances."""
    args = arguments(session, FORMAT_YAML, least=1, missing="must specify storage id(s)")
    with session.book().read() as records:
        whole = status.storage_status(records).get("storage", {})
        shown = {find(records, name).id: whole[name] for name in args.positional}
    emit(session, args, shown)
    return 0


def find(records: Records, identifier: str) -> Storage:
    """Return an instance or refuse."""
    item = records.storage.get(identifier)
    if item is None:
        raise JujuError(f"storage {go_quote(identifier)} not found")
    return item


def _each(session: Session, names: list[str], act: Callable[[str], str], failed: str) -> int:
    """Act on each name; what fails is told and does not hold the others up."""
    code = 0
    for name in names:
        try:
            session.err(act(name) + "\n")
        except JujuError as error:
            session.err(f"failed to {failed.format(name)}: {error}\n")
            code = 1
    return code


def add_storage(session: Session) -> int:
    """Add storage to a unit: UNIT NAME=POOL,SIZE,COUNT."""
    args = arguments(
        session, (), least=2, missing="storage add requires a unit and a storage directive"
    )
    unit_name, *directives = args.positional
    book = session.book()

    def act(word: str) -> str:
        name, equals, directive = word.partition("=")
        if equals and not directive:
            raise JujuError(
                f"cannot parse constraints for storage {go_quote(name)}: "
                "storage constraints require at least one field to be specified"
            )
        with book.change() as records:
            unit = deployment.find_unit(records, unit_name)
            count = storage.parse_directive(directive).instances
            ids = storage.add_to_unit(records, unit, name, count, book.now(), directive)
        return "\n".join(f"added storage {identifier} to {unit_name}" for identifier in ids)

    return _each(session, directives, act, f'add storage "{{}}" to {unit_name}')


def detach_storage(session: Session) -> int:
    """Detach storage; the unit runs -detaching first, then it is unmounted."""
    args = arguments(
        session,
        (switch("force"), switch("no-wait")),
        least=1,
        missing="detach-storage requires a storage ID",
    )
    book = session.book()

    def act(identifier: str) -> str:
        with book.change() as records:
            storage.begin_detach(records, find(records, identifier))
        return f"detaching {identifier}"

    return _each(session, args.positional, act, "detach {}")


def attach_storage(session: Session) -> int:
    """Attach detached storage to a unit."""
    args = arguments(
        session,
        (),
        least=2,
        missing="attach-storage requires a unit ID and at least one storage ID",
    )
    unit_name, *identifiers = args.positional
    book = session.book()

    def act(identifier: str) -> str:
        with book.change() as records:
            unit = deployment.find_unit(records, unit_name)
            storage.attach(records, find(records, identifier), unit, book.now())
        return f"attaching {identifier} to {unit_name}"

    return _each(session, identifiers, act, f"attach {{}} to {unit_name}")


def remove_storage(session: Session) -> int:
    """Remove storage with its content (--no-destroy: without); what is attached with --force."""
    flags = (switch("force"), switch("no-destroy"), switch("no-wait"))
    args = arguments(
        session, flags, least=1, missing="remove-storage requires at least one storage ID"
    )
    host = session.host()

    def act(identifier: str) -> str:
        with host.book.change() as records:
            item = find(records, identifier)
            if item.unit and not args.has("force"):
                raise JujuError("storage is attached")
            if item.unit and args.has("no-destroy"):
                raise JujuError("storage is attached: detach it first, its content is to be kept")
            if item.unit:
                item.destroy = True
                storage.begin_detach(records, item)
            else:
                del records.storage[identifier]
        if not item.unit and not args.has("no-destroy"):
            host.volumes.destroy(item)
        return f"removing {identifier}"

    return _each(session, args.positional, act, "remove {}")


def pools(session: Session) -> int:
    """List storage pools; an absolute path of this host serves as a pool, too."""
    flags = (*FORMAT, option("provider"), option("name"))
    args = arguments(session, flags)
    providers, names = (set(commas(args.repeated.get(f, []))) for f in ("provider", "name"))
    with session.book().read() as records:
        known = {
            name: body
            for name, body in storage.pools(records).items()
            if (not names or name in names) and (not providers or body["provider"] in providers)
        }
    if args.text("format") != "tabular":
        emit(session, args, {name: _pool(body) for name, body in known.items()})
        return 0
    rows = [["Name", "Provider", "Attributes"]]
    for name, body in sorted(known.items()):
        attributes = _pool(body).get("attrs", {})
        rows.append(
            [name, body["provider"], " ".join(f"{k}={v}" for k, v in sorted(attributes.items()))]
        )
    if known:
        session.out(table(rows))
    else:
        session.err("No storage pools to display.\n")
    return 0


def _pool(body: dict[str, str]) -> dict[str, Any]:
    attributes = {key: value for key, value in body.items() if key != "provider"}
    shown: dict[str, Any] = {"provider": body["provider"]}
    return {**shown, "attrs": attributes} if attributes else shown


def create_pool(session: Session) -> int:
    """Make a storage pool: NAME PROVIDER [KEY=VALUE…]; providers: hostdir, loop, rootfs, tmpfs."""
    missing = (
        "pool creation requires names, provider type and optional attributes for configuration"
    )
    args = arguments(session, (), least=2, missing=missing)
    name, provider, *words = args.positional
    attributes = pairs(words)
    with session.book().change() as records:
        storage.check_pool(name, provider, attributes)
        if name in storage.pools(records):
            raise JujuError(f"creating storage pool {go_quote(name)}: pool already exists")
        records.model.pools[name] = {"provider": provider, **attributes}
    return 0


def update_pool(session: Session) -> int:
    """Change the attributes of a storage pool that was made here."""
    args = arguments(session, (), least=2, missing="pool update requires name and configuration")
    name, *words = args.positional
    with session.book().change() as records:
        changed = {**_made(records, name), **pairs(words)}
        storage.check_pool(name, changed["provider"], changed)
        records.model.pools[name] = changed
    return 0


def remove_pool(session: Session) -> int:
    """Remove a storage pool that was made here and is not in use."""
    args = arguments(session, (), least=1, most=1, missing="pool removal requires names")
    name = args.positional[0]
    with session.book().change() as records:
        _made(records, name)
        if any(item.pool == name for item in records.storage.values()):
            raise JujuError(f"storage pool {go_quote(name)} in use")
        del records.model.pools[name]
    return 0


def _made(records: Records, name: str) -> dict[str, str]:
    if name not in records.model.pools:
        raise JujuError(f"storage pool {go_quote(name)} not found")
    return records.model.pools[name]


COMMANDS = {
    "storage": list_storage,
    "list-storage": list_storage,
    "show-storage": show_storage,
    "add-storage": add_storage,
    "detach-storage": detach_storage,
    "attach-storage": attach_storage,
    "remove-storage": remove_storage,
    "storage-pools": pools,
    "list-storage-pools": pools,
    "create-storage-pool": create_pool,
    "update-storage-pool": update_pool,
    "remove-storage-pool": remove_pool,
}
