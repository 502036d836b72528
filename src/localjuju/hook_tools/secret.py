"""secret-add, -get, -set, -grant, -revoke, -remove, -info-get, -ids."""

from datetime import datetime, timezone
from typing import Any

from localjuju import secrets as rules
from localjuju.entities import Records, Secret
from localjuju.errors import JujuError, UsageError
from localjuju.formats import Moment, Ordered, go_quote
from localjuju.hook_context import HookContext
from localjuju.hook_tools.call import Call, Tool, file_of
from localjuju.hook_tools.flags import (
    FORMAT_SMART,
    FORMAT_YAML,
    Arguments,
    check_empty,
    integer_problem,
    option,
    switch,
)
from localjuju.hook_tools.relation import APPLICATION, UNIT, settings_file
from localjuju.secrets import SecretChange

NEITHER = "require either a secret URI or label"


def _content(call: Call, words: list[str]) -> dict[str, str]:
    """Return the content that words and ``--file`` give, the file's keys winning."""
    pairs: dict[str, str] = {}
    for word in words:
        key, value = rules.split_pair(word)
        if key.endswith("#file"):
            key = key.removesuffix("#file")
            try:
                value = call.read(value).decode(errors="surrogateescape")
            except JujuError as error:
                text = f"reading content for secret key {go_quote(key)}: {error}"
                raise UsageError(text) from None
        pairs[key] = value
    content = rules.encode_content(pairs)
    if call.text("file"):
        try:
            loaded = settings_file(call.read(call.text("file")))
        except JujuError as error:
            raise UsageError(str(error)) from None
        content |= rules.encode_content(loaded)
    return content


def _files(arguments: Arguments) -> list[str]:
    """Name the files that a secret's content comes from."""
    names = file_of(arguments)
    for word in arguments.positional:
        try:
            key, value = rules.split_pair(word)
        except UsageError:
            continue
        if key.endswith("#file"):
            names.append(value)
    return names


def _metadata(call: Call) -> SecretChange:
    """Check the flags that add and set share."""
    change = SecretChange("")
    now = call.context.book.now()
    if call.text("expire"):
        change.expire = rules.parse_expiry(call.text("expire"), now)
    if call.text("rotate"):
        if call.text("rotate") not in rules.ROTATION_SECONDS:
            raise UsageError(f"rotate policy {go_quote(call.text('rotate'))} not valid")
        change.rotate = call.text("rotate")
    if call.text("owner") not in {"application", "unit"}:
        raise UsageError(f"secret owner {go_quote(call.text('owner'))} not valid")
    change.label = call.text("label") or None
    change.description = call.text("description") or None
    return change


def secret_add(call: Call) -> str:
    """Make a secret; others see it when the hook succeeds."""
    if not call.words and not call.text("file"):
        raise UsageError("missing secret value or filename")
    change = _metadata(call)
    change.content = _content(call, call.words)
    if not change.content:
        raise JujuError("empty secret value not valid")
    context = call.context
    owner_kind = call.text("owner")
    owner = context.unit_name if owner_kind == "unit" else context.app.name
    secret = Secret(rules.new_id(), owner_kind, owner, created=context.book.now())
    if not rules.is_manager(secret, context.unit, leads=context.is_leader()):
        raise JujuError("this unit is not the leader")
    for other in context.pending.secrets.values():
        if other.create is not None and change.label and other.label == change.label:
            raise JujuError(rules.LABEL_TAKEN.format(go_quote(change.label)))
    change.id, change.create = secret.id, secret
    context.pending.secrets[secret.id] = change
    return f"secret:{secret.id}\n"


def secret_set(call: Call) -> str:
    """Write a new revision or other metadata when the hook succeeds."""
    if not call.words:
        raise UsageError("missing secret URI")
    identifier = rules.parse_uri(call.words[0])
    wanted = _metadata(call)
    content = _content(call, call.words[1:])
    change = _managed(call.context, identifier)
    change.delete, change.delete_revisions = False, []
    if content and (change.content or content != _committed_content(call.context, identifier)):
        change.content = content
    for name in ("label", "description", "rotate", "expire"):
        value = getattr(wanted, name)
        if value is not None:
            setattr(change, name, value)
    return ""


def _committed_content(context: HookContext, identifier: str) -> dict[str, str] | None:
    """Return the newest content: writing the same again makes no revision."""
    secret = context.records.secrets.get(identifier)
    revision = secret.revisions.get(str(secret.latest)) if secret else None
    return revision.content if revision else None


def _managed(context: HookContext, identifier: str) -> SecretChange:
    """Return the change of a secret; that of somebody else's is refused when the hook ends."""
    pending = context.pending.secrets.get(identifier)
    if pending is not None and pending.create is not None:
        return pending
    secret = context.records.secrets.get(identifier)
    is_own = secret is not None and secret.owner == context.app.name
    if is_own and not context.is_leader():
        raise JujuError("this unit is not the leader")
    return context.secret_change(identifier)


def secret_get(call: Call) -> str:
    """Print the content of a secret."""
    words = call.words
    identifier = _any_uri(words[0]) if words else ""
    label = call.text("label")
    if not identifier and not label:
        raise UsageError(NEITHER)
    peek, refresh = call.has("peek"), call.has("refresh")
    if peek and refresh:
        raise UsageError("specify one of --peek or --refresh but not both")
    check_empty(words[2:])
    content = _read(call.context, identifier, label, peek=peek, refresh=refresh)
    if len(words) < 2 or not words[1]:
        return call.render(rules.decode_content(content))
    key = words[1].removesuffix("#base64")
    if key not in content:
        raise JujuError(f"secret key value {go_quote(key)} not found")
    return call.render(content[key] if key != words[1] else rules.decode_value(content[key]))


def _any_uri(text: str) -> str:
    """Parse a URI; whatever is wrong with it is told in one way."""
    try:
        return rules.parse_uri(text)
    except UsageError:
        raise UsageError(f"secret URI {go_quote(text)} not valid") from None


def _read(
    context: HookContext, identifier: str, label: str, *, peek: bool, refresh: bool
) -> dict[str, str]:
    pending = _pending(context, identifier, label, newest=peek or refresh)
    if pending is not None:
        if label:
            pending.label = label
        assert pending.content is not None
        return pending.content
    if not identifier:
        identifier, label = _by_label(context, label), ""
    secret = context.records.secrets.get(identifier)
    if secret is None:
        raise JujuError(f"secret {go_quote('secret:' + identifier)} not found")
    if not rules.may_read(context.records, secret, context.unit):
        raise JujuError("permission denied")
    number = secret.latest
    with context.book.change():
        if label and rules.is_manager(secret, context.unit, leads=context.is_leader()):
            secret.label, label = label, ""
        if not peek or label or context.unit_name not in secret.consumers:
            tracked = rules.follow(secret, context.unit_name, refresh=refresh, label=label)
            number = secret.latest if peek else tracked
    revision = secret.revisions.get(str(number))
    if revision is None:
        raise JujuError(f"secret revision {number} not found")
    return revision.content


def _pending(
    context: HookContext, identifier: str, label: str, *, newest: bool
) -> SecretChange | None:
    """Return what this hook has written: a new secret always, a revision if it is asked for."""
    for change in context.pending.secrets.values():
        meant = change.id == identifier if identifier else bool(label) and change.label == label
        if meant and change.content is not None and (change.create is not None or newest):
            return change
    return None


def _by_label(context: HookContext, label: str) -> str:
    for change in context.pending.secrets.values():
        if change.label == label:
            return change.id
    found = rules.owned_label(context.records, context.unit, label) or rules.consumed_label(
        context.records, context.unit, label
    )
    if found is None:
        raise JujuError(f"consumer label {go_quote(label)} not found")
    return found.id


def secret_grant(call: Call) -> str:
    """Let a related application or one of its units read, when the hook succeeds."""
    relation = call.relation()
    if not call.words:
        raise UsageError("missing secret URI")
    identifier = rules.parse_uri(call.words[0])
    if relation is None:
        raise UsageError("no relation id specified")
    app = call.context.counterpart(relation)
    unit = call.text("unit")
    if unit:
        if not UNIT.match(unit):
            raise UsageError(f"unit {go_quote(unit)} not valid")
        if unit.partition("/")[0] != app:
            raise UsageError(
                f"cannot specify unit {go_quote(unit)} in relation to application {go_quote(app)}"
            )
    check_empty(call.words[1:])
    _check_grant(call.context, identifier, unit or app, relation.number)
    change = _managed(call.context, identifier)
    change.grants[unit or app] = relation.number
    return ""


def _check_grant(context: HookContext, identifier: str, consumer: str, number: int) -> None:
    """Refuse a grant of what is not owned, or to an application some of whose units have one."""
    pending = context.pending.secrets.get(identifier)
    secret = context.records.secrets.get(identifier) or (pending.create if pending else None)
    if secret is None or secret.owner not in {context.unit_name, context.app.name}:
        raise JujuError(f"secret {go_quote(identifier)} not found")
    if "/" in consumer:
        return
    granted = {**secret.grants, **(pending.grants if pending else {})}
    if any(name.startswith(consumer + "/") and granted[name] == number for name in granted):
        raise JujuError(
            "any unit level grants need to be revoked before granting access "
            "to the corresponding application"
        )


def secret_revoke(call: Call) -> str:
    """Take a grant back when the hook succeeds."""
    relation = call.relation()
    if not call.words:
        raise UsageError("missing secret URI")
    identifier = rules.parse_uri(call.words[0])
    app, unit = call.text("application"), call.text("unit")
    if app and not APPLICATION.match(app):
        raise UsageError(f"application {go_quote(app)} not valid")
    if unit and not UNIT.match(unit):
        raise UsageError(f"unit {go_quote(unit)} not valid")
    if app and unit:
        raise UsageError("specify only one of application or unit")
    if relation is not None:
        if app:
            raise UsageError("do not specify both relation and app")
        app = call.context.counterpart(relation)
    if not app and not unit:
        raise UsageError("missing relation or application or unit")
    check_empty(call.words[1:])
    change = _managed(call.context, identifier)
    change.revokes.append(unit or app)
    change.grants.pop(unit or app, None)
    return ""


def secret_remove(call: Call) -> str:
    """Remove a secret or one revision when the hook succeeds."""
    if not call.words:
        raise UsageError("missing secret URI")
    identifier = rules.parse_uri(call.words[0])
    check_empty(call.words[1:])
    change = _managed(call.context, identifier)
    number = int(call.text("revision") or "0", 0)
    if change.create is not None:
        del call.context.pending.secrets[identifier]
        return ""
    revisions = [*change.delete_revisions, number] if number > 0 else []
    fresh = SecretChange(identifier, delete=change.delete or number <= 0)
    fresh.delete_revisions = revisions
    call.context.pending.secrets[identifier] = fresh
    return ""


def secret_info_get(call: Call) -> str:
    """Print the metadata of an owned secret."""
    identifier = _any_uri(call.words[0]) if call.words else ""
    label = call.text("label")
    if not identifier and not label:
        raise UsageError(NEITHER)
    if identifier and label:
        raise UsageError("specify either a secret URI or label but not both")
    check_empty(call.words[1:])
    for shown, details in _owned(call.context):
        if shown == identifier or (label and details["label"] == label):
            return call.render({shown: Ordered(details)})
    raise JujuError(f"secret {go_quote(identifier or label)} not found")


def _owned(context: HookContext) -> list[tuple[str, dict[str, Any]]]:
    """Describe the secrets that this unit manages, with what this hook has changed."""
    found = [
        (change.id, _description(context, change.create, change))
        for change in context.pending.secrets.values()
        if change.create is not None
    ]
    for secret in context.records.secrets.values():
        pending = context.pending.secrets.get(secret.id)
        gone = pending is not None and pending.delete
        if not gone and rules.is_manager(secret, context.unit, leads=context.is_leader()):
            found.append((secret.id, _description(context, secret, pending)))
    return found


def _description(
    context: HookContext, secret: Secret, change: SecretChange | None
) -> dict[str, Any]:
    change = change or SecretChange(secret.id)
    revision = secret.revisions.get(str(secret.latest))
    expire = change.expire or (revision.expire if revision is not None else 0.0)
    shown: dict[str, Any] = {
        "revision": max(secret.latest, 1),
        "label": change.label or secret.label,
        "owner": secret.owner_kind,
        "description": change.description or secret.description,
        "rotation": change.rotate or ("" if change.create is not None else secret.rotate),
        "expiry": _moment(expire) if expire else None,
        "rotates": _moment(secret.next_rotate) if secret.next_rotate else None,
    }
    grants = {**secret.grants, **change.grants}
    shown["access"] = [
        Ordered(target=target_tag(name), scope=scope_tag(context.records, number), role="view")
        for name, number in sorted(grants.items())
        if name not in change.revokes
    ]
    always = ("revision", "label", "owner")
    return {key: value for key, value in shown.items() if value or key in always}


def scope_tag(records: Records, number: int) -> str:
    """Return the tag of the relation with which a grant ends."""
    relation = records.relations.get(str(number))
    if relation is None:
        return f"model-{records.model.uuid}"
    return "relation-" + relation.key.replace(":", ".").replace(" ", "#")


def target_tag(name: str) -> str:
    """Return the tag of a unit or an application."""
    return "unit-" + name.replace("/", "-") if "/" in name else f"application-{name}"


def _moment(seconds: float) -> Moment:
    text = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Moment(text)


def secret_ids(call: Call) -> str:
    """List the ids of managed secrets."""
    check_empty(call.words)
    ids = sorted(identifier for identifier, _ in _owned(call.context))
    # No secret is a list that is nil in Juju: null in JSON.
    return call.render(ids if ids or call.text("format") != "json" else None)


UPSERT = (
    option("expire", usage="either a duration or time when the secret should expire"),
    option("rotate", usage="the secret rotation policy"),
    option("description", usage="the secret description"),
    option("label", usage="a label used to identify the secret in hooks"),
    option("file", usage="a YAML file containing secret key values"),
    option(
        "owner",
        default="application",
        usage="the owner of the secret, either the application or unit",
    ),
)
GRANT_RELATION = option(
    "r", "relation", usage="the relation with which to associate the grant", plain=True
)
REVOKE_RELATION = option(
    "r", "relation", usage="the relation for which to revoke the grant", plain=True
)
TOOLS = {
    "secret-add": Tool(
        secret_add,
        UPSERT,
        "[key[#base64|#file]=value...]",
        "Add a new secret.",
        reads=_files,
    ),
    "secret-set": Tool(
        secret_set,
        UPSERT,
        "<ID> [key[#base64]=value...]",
        "Update an existing secret.",
        reads=_files,
    ),
    "secret-get": Tool(
        secret_get,
        (
            *FORMAT_YAML,
            option("label", usage="a label used to identify the secret in hooks"),
            switch("peek", usage="get the latest revision just this time"),
            switch(
                "refresh",
                usage="get the latest revision and also get this same revision "
                "for subsequent calls",
            ),
        ),
        "<ID> [key[#base64]]",
        "Get the content of a secret.",
    ),
    "secret-grant": Tool(
        secret_grant,
        (option("unit", usage="the unit to grant access"), GRANT_RELATION),
        "<ID>",
        "Grant access to a secret.",
    ),
    "secret-revoke": Tool(
        secret_revoke,
        (
            option("app", "application", usage="the application to revoke access"),
            option("unit", usage="the unit to revoke access"),
            REVOKE_RELATION,
        ),
        "<ID>",
        "Revoke access to a secret.",
    ),
    "secret-remove": Tool(
        secret_remove,
        (option("revision", default="0", usage="remove the specified revision", plain=True),),
        "<ID>",
        "Remove an existing secret.",
        checks={"revision": integer_problem},
    ),
    "secret-info-get": Tool(
        secret_info_get,
        (*FORMAT_YAML, option("label", usage="a label used to identify the secret")),
        "<ID>",
        "Get a secret's metadata info.",
    ),
    "secret-ids": Tool(secret_ids, FORMAT_SMART, "", "Print secret IDs."),
}
