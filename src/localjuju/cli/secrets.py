"""secrets, show-secret and the secrets of the model's user."""

from typing import Any

from localjuju import secrets as rules
from localjuju.book import Book
from localjuju.cli.grammar import (
    FORMAT,
    FORMAT_YAML,
    arguments,
    commas,
    number,
    pairs,
    read_file,
    read_map,
)
from localjuju.cli.rendering import emit, iso, table
from localjuju.cli.session import Session
from localjuju.entities import Records, Secret
from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_tools.flags import Arguments, option, switch
from localjuju.hook_tools.secret import scope_tag, target_tag
from localjuju.rendering import ago
from localjuju.secrets import SecretChange


def find_secret(records: Records, text: str) -> Secret:
    """Return a secret by URI, or one of the model's by name."""
    for secret in records.secrets.values():
        if secret.owner_kind == "model" and secret.label == text:
            return secret
    identifier = text.removeprefix("secret:").rpartition("/")[2]
    if identifier not in records.secrets:
        raise JujuError(f"secret {go_quote(text)} not found")
    return records.secrets[identifier]


def describe(
    records: Records, secret: Secret, *, reveal: bool, revisions: bool, number: int = 0
) -> dict[str, Any]:
    """Return a secret as ``show-secret`` does."""
    chosen = number or secret.latest
    shown: dict[str, Any] = {
        "revision": secret.latest,
        "checksum": rules.checksum(secret.revisions.get(str(secret.latest))),
        "rotation": secret.rotate,
        "owner": secret.owner if secret.owner_kind != "model" else "<model>",
        "created": iso(secret.created),
        "updated": iso(secret.updated or secret.created),
    }
    if secret.description:
        shown["description"] = secret.description
    if secret.label:
        shown["name" if secret.owner_kind == "model" else "label"] = secret.label
    if secret.next_rotate:
        shown["rotates"] = iso(secret.next_rotate)
    if revisions:
        shown["revisions"] = [
            {"revision": int(n), "created": iso(r.created), "updated": iso(r.created)}
            for n, r in secret.revisions.items()
        ]
    if secret.grants:
        shown["access"] = [
            {
                "target": target_tag(name),
                "scope": scope_tag(records, relation),
                "role": "view",
            }
            for name, relation in secret.grants.items()
        ]
    if reveal:
        revision = secret.revisions.get(str(chosen))
        if revision is None:
            raise JujuError(f"secret revision {chosen} not found")
        shown["content"] = {"Data": rules.decode_content(revision.content)}
    return shown


def list_secrets(session: Session) -> int:
    """List secrets."""
    args = arguments(session, (*FORMAT, option("owner"), switch("utc")))
    now = session.book().now()
    with session.book().read() as records:
        found = [s for s in records.secrets.values() if args.text("owner") in {"", s.owner}]
        shown = {s.id: describe(records, s, reveal=False, revisions=False) for s in found}
    if args.text("format") != "tabular":
        emit(session, args, shown, ordered=True)
        return 0
    rows = [["ID", "Name", "Owner", "Rotation", "Revision", "Last updated"]]
    for secret in found:
        owner = secret.owner if secret.owner_kind != "model" else "<model>"
        rows.append(
            [
                secret.id,
                secret.label or "-",
                owner,
                secret.rotate,
                str(secret.latest),
                ago(secret.updated or secret.created, now),
            ]
        )
    session.out(table(rows, right={4}))
    return 0


def show_secret(session: Session) -> int:
    """Show a secret; --reveal prints its content."""
    flags = (
        *FORMAT_YAML,
        switch("reveal"),
        switch("revisions"),
        option("r", "revision"),
        switch("utc"),
    )
    args = arguments(session, flags, least=1, most=1, missing="missing secret URI")
    if args.has("reveal") and args.has("revisions"):
        raise UsageError("specify either --revisions or --reveal but not both")
    revision = number(args, "revision")
    with session.book().read() as records:
        secret = find_secret(records, args.positional[0])
        shown = describe(
            records,
            secret,
            reveal=args.has("reveal"),
            revisions=args.has("revisions"),
            number=revision,
        )
    if args.text("format") == "yaml" and "content" in shown:
        shown["content"] = shown["content"]["Data"]
    emit(session, args, {secret.id: shown}, ordered=True)
    return 0


def _content(session: Session, args: Arguments, words: list[str]) -> dict[str, str]:
    values = pairs(words)
    if args.text("file"):
        loaded = read_map(session, args.text("file"))
        values = {**{str(k): str(v) for k, v in loaded.items()}, **values}
    for key in [key for key in values if key.endswith("#file")]:
        values[key.removesuffix("#file")] = read_file(session, values.pop(key))
    return rules.encode_content(values)


def add_secret(session: Session) -> int:
    """Add a secret of the model's user."""
    args = arguments(
        session, (option("file"), option("info")), least=1, missing="missing secret name"
    )
    name, *words = args.positional
    book = session.book()
    content = _content(session, args, words)
    if not content:
        raise UsageError("missing secret value or filename")
    with book.change() as records:
        secret = Secret(rules.new_id(), "model", records.model.uuid, created=book.now())
        change = SecretChange(
            secret.id, secret, content, label=name, description=args.text("info") or None
        )
        rules.apply(records, change, book.now())
    session.out(f"secret:{secret.id}\n")
    return 0


def update_secret(session: Session) -> int:
    """Write a new revision of a secret of the model's user."""
    flags = (option("file"), option("info"), option("name"), switch("auto-prune"))
    args = arguments(session, flags, least=1, missing="missing secret URI")
    book = session.book()
    with book.change() as records:
        secret = _own(book, args.positional[0])
        change = SecretChange(
            secret.id, label=args.text("name") or None, description=args.text("info") or None
        )
        change.content = _content(session, args, args.positional[1:]) or None
        rules.apply(records, change, book.now())
    return 0


def _own(book: Book, text: str) -> Secret:
    secret = find_secret(book.records, text)
    if secret.owner_kind != "model":
        raise JujuError(f"secret {go_quote(text)} is owned by {secret.owner}: permission denied")
    return secret


def grant_secret(session: Session) -> int:
    """Let applications read a secret of the model's user."""
    return _set_grant(session, granted=True)


def revoke_secret(session: Session) -> int:
    """Take a grant back."""
    return _set_grant(session, granted=False)


def _set_grant(session: Session, *, granted: bool) -> int:
    args = arguments(
        session, (), least=2, most=2, missing="missing secret name or application name"
    )
    book = session.book()
    with book.change() as records:
        secret = _own(book, args.positional[0])
        for app in commas([args.positional[1]]):
            if app not in records.applications:
                raise JujuError(f"application {go_quote(app)} not found")
            if granted:
                secret.grants[app] = -1
            else:
                secret.grants.pop(app, None)
    return 0


def remove_secret(session: Session) -> int:
    """Remove a secret of the model's user, or one revision."""
    args = arguments(session, (option("revision"),), least=1, most=1, missing="missing secret URI")
    book = session.book()
    with book.change() as records:
        secret = _own(book, args.positional[0])
        revision = number(args, "revision")
        change = SecretChange(secret.id, delete=not revision)
        change.delete_revisions = [revision] if revision else []
        rules.apply(records, change, book.now())
    return 0


COMMANDS = {
    "secrets": list_secrets,
    "list-secrets": list_secrets,
    "show-secret": show_secret,
    "add-secret": add_secret,
    "update-secret": update_secret,
    "grant-secret": grant_secret,
    "revoke-secret": revoke_secret,
    "remove-secret": remove_secret,
}
