"""storage and its pools."""

from localjuju import deployment, status, storage, tabular
from localjuju.cli.grammar import FORMAT, FORMAT_YAML, arguments
from localjuju.cli.rendering import emit, table
from localjuju.cli.session import Session
from localjuju.entities import Records, Storage
from localjuju.errors import JujuError
from localjuju.formats import go_quote
from localjuju.hook_tools.flags import switch


def list_storage(session: Session) -> int:
    """List storage instances."""
    args = arguments(session, (*FORMAT, switch("filesystem"), switch("volume")))
    with session.book().read() as records:
        text = tabular.storage_table(records)
        value = status.storage_status(records)
    if args.text("format") != "tabular":
        emit(session, args, value)
    else:
        session.out(text or "No storage to display.\n")
    return 0


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


def add_storage(session: Session) -> int:
    """Add storage to a unit: UNIT NAME=POOL,SIZE,COUNT."""
    args = arguments(
        session, (), least=2, missing="storage add requires a unit and a storage directive"
    )
    unit_name, *directives = args.positional
    book = session.book()
    with book.change() as records:
        unit = deployment.find_unit(records, unit_name)
        for word in directives:
            name, _, directive = word.partition("=")
            _, _, count = storage.parse_directive(directive)
            for identifier in storage.add_to_unit(
                records, unit, name, count, book.now(), directive
            ):
                session.err(f"added storage {identifier} to {unit.name}\n")
    return 0


def detach_storage(session: Session) -> int:
    """Detach storage; the unit runs -detaching first."""
    args = arguments(
        session,
        (switch("force"), switch("no-wait")),
        least=1,
        missing="detach-storage requires a storage ID",
    )
    with session.book().change() as records:
        for identifier in args.positional:
            storage.begin_detach(records, find(records, identifier))
            session.err(f"detaching {identifier}\n")
    return 0


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
    with book.change() as records:
        unit = deployment.find_unit(records, unit_name)
        for identifier in identifiers:
            storage.attach(records, find(records, identifier), unit, book.now())
            session.err(f"attaching {identifier} to {unit.name}\n")
    return 0


def remove_storage(session: Session) -> int:
    """Remove detached storage with its content."""
    flags = (switch("force"), switch("no-destroy"), switch("no-wait"))
    args = arguments(
        session, flags, least=1, missing="remove-storage requires at least one storage ID"
    )
    host = session.host()
    for identifier in args.positional:
        with host.book.change() as records:
            item = find(records, identifier)
            if item.unit:
                if not args.has("force"):
                    raise JujuError(
                        f"storage {go_quote(identifier)} is attached to unit {go_quote(item.unit)}: detach it first or use --force"
                    )
                item.destroy = True
                storage.begin_detach(records, item)
            else:
                del records.storage[identifier]
        if not item.unit:
            host.volumes.destroy(item)
        session.err(f"removing {identifier}\n")
    return 0


def pools(session: Session) -> int:
    """List storage pools; an absolute path of this host serves as a pool, too."""
    args = arguments(session, FORMAT)
    shown = {name: {"provider": provider} for name, provider in storage.POOLS.items()}
    if args.text("format") != "tabular":
        emit(session, args, shown)
        return 0
    rows = [["Name", "Provider", "Attributes"]]
    rows += [[name, provider, ""] for name, provider in sorted(storage.POOLS.items())]
    session.out(table(rows))
    return 0


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
}
