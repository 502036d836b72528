"""secret-add, -get, -set, -grant, -revoke, -remove, -info-get, -ids."""

import base64
import re
from datetime import datetime, timezone
from typing import Any

import yaml

from localjuju import secrets as rules
from localjuju.entities import Secret
from localjuju.errors import JujuError, UsageError
from localjuju.formats import Ordered, go_quote
from localjuju.hook_context import HookContext
from localjuju.hook_tools.call import RELATION, Call, Tool
from localjuju.hook_tools.flags import FORMAT_SMART, FORMAT_YAML, check_empty, option, switch
from localjuju.hook_tools.relation import APPLICATION, UNIT
from localjuju.secrets import SecretChange

NEITHER = "require either a secret URI or label"


def _content(call: Call, words: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"key value {go_quote(word)} not valid")
        if not value:
            raise UsageError(f"key {go_quote(key)} has no value")
        bare, _, suffix = key.partition("#")
        if suffix == "file":
            raw = call.read(value)
            key, value = bare + "#base64", base64.b64encode(raw).decode()
        pairs[key] = value
    if call.text("file"):
        loaded = yaml.safe_load(call.read(call.text("file")))
        if not isinstance(loaded, dict):
            raise UsageError("secret data file must hold a map")
        pairs.update({str(key): str(value) for key, value in loaded.items()})
    return rules.encode_content(pairs)


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
    label = change.label or ""
    taken = rules.owned_label(context.records, context.unit, label) if label else None
    pending = [
        c for c in context.pending.secrets.values() if label and c.label == label and c.create
    ]
    if (taken is not None and taken.owner == owner) or pending:
        raise JujuError(rules.LABEL_TAKEN.format(go_quote(label)))
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
    if content and content != _current_content(call.context, identifier):
        change.content = content
    for name in ("label", "description", "rotate", "expire"):
        value = getattr(wanted, name)
        if value is not None:
            setattr(change, name, value)
    return ""


def _current_content(context: HookContext, identifier: str) -> dict[str, str] | None:
    """Return the newest content: writing the same again makes no revision."""
    pending = context.pending.secrets.get(identifier)
    if pending is not None and pending.content is not None:
        return pending.content
    secret = context.records.secrets.get(identifier)
    revision = secret.revisions.get(str(secret.latest)) if secret else None
    return revision.content if revision else None


def _managed(context: HookContext, identifier: str) -> SecretChange:
    """Return the change of a secret that this unit may manage."""
    pending = context.pending.secrets.get(identifier)
    if pending is not None and pending.create is not None:
        return pending
    secret = context.records.secrets.get(identifier)
    if secret is None or (pending is not None and pending.delete):
        raise JujuError(f"secret {go_quote(identifier)} not found")
    if not rules.is_manager(secret, context.unit, leads=context.is_leader()):
        if secret.owner == context.app.name:
            raise JujuError("this unit is not the leader")
        raise JujuError("permission denied")
    return context.secret_change(identifier)


def secret_get(call: Call) -> str:
    """Print the content of a secret."""
    words = call.words
    identifier = rules.parse_uri(words[0]) if words else ""
    label = call.text("label")
    if not identifier and not label:
        raise UsageError(NEITHER)
    peek, refresh = call.has("peek"), call.has("refresh")
    if peek and refresh:
        raise UsageError("specify one of --peek or --refresh but not both")
    check_empty(words[2:])
    content = _read(call.context, identifier, label, peek=peek, refresh=refresh)
    if len(words) < 2:
        return call.render(rules.decode_content(content))
    key, _, suffix = words[1].partition("#")
    if key not in content:
        raise JujuError(f"secret key value {go_quote(key)} not found")
    value = content[key] if suffix == "base64" else rules.decode_content(content)[key]
    return call.render(value)


def _read(
    context: HookContext, identifier: str, label: str, *, peek: bool, refresh: bool
) -> dict[str, str]:
    if not identifier:
        identifier = _by_label(context, label)
        label = ""
    pending = context.pending.secrets.get(identifier)
    if pending is not None and pending.delete:
        raise JujuError(f"secret {go_quote(identifier)} not found")
    newest = peek or refresh
    if pending is not None and pending.content is not None and (pending.create or newest):
        return pending.content
    secret = context.records.secrets.get(identifier)
    if secret is None:
        raise JujuError(f"secret {go_quote(identifier)} not found")
    if not rules.may_read(context.records, secret, context.unit):
        raise JujuError("permission denied")
    number = secret.latest
    if not peek or context.unit_name not in secret.consumers:
        with context.book.change():
            tracked = rules.follow(secret, context.unit_name, refresh=refresh, label=label)
            number = secret.latest if peek else tracked
    revision = secret.revisions.get(str(number))
    if revision is None:
        raise JujuError(f"secret revision {number} not found")
    return revision.content


def _by_label(context: HookContext, label: str) -> str:
    for change in context.pending.secrets.values():
        if change.create is not None and change.label == label:
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
    change = _managed(call.context, identifier)
    change.grants[unit or app] = relation.number
    return ""


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
    text = call.text("revision")
    if text and not re.fullmatch(r"-?\d+", text):
        raise UsageError(
            f"invalid value {go_quote(text)} for option --revision: "
            f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax"
        )
    if not call.words:
        raise UsageError("missing secret URI")
    identifier = rules.parse_uri(call.words[0])
    check_empty(call.words[1:])
    change = _managed(call.context, identifier)
    if text and int(text) > 0:
        change.delete_revisions.append(int(text))
    elif change.create is not None:
        del call.context.pending.secrets[identifier]
    else:
        change.delete = True
    return ""


def secret_info_get(call: Call) -> str:
    """Print the metadata of an owned secret."""
    identifier = rules.parse_uri(call.words[0]) if call.words else ""
    label = call.text("label")
    if not identifier and not label:
        raise UsageError(NEITHER)
    if identifier and label:
        raise UsageError("specify either a secret URI or label but not both")
    check_empty(call.words[1:])
    context = call.context
    for secret in _owned(context):
        if secret.id == identifier or (label and secret.label == label):
            return call.render({secret.id: _description(secret)})
    raise JujuError(f"secret {go_quote(identifier or label)} not found")


def _owned(context: HookContext) -> list[Secret]:
    """Return the secrets whose metadata this unit may see, with pending changes shown."""
    owners = {context.unit_name, context.app.name}
    found = [secret for secret in context.records.secrets.values() if secret.owner in owners]
    for change in context.pending.secrets.values():
        if change.create is not None:
            shown = change.create
            shown.label, shown.description = change.label or "", change.description or ""
            shown.rotate = change.rotate or "never"
            found.append(shown)
    return found


def _description(secret: Secret) -> Ordered:
    shown: dict[str, Any] = {
        "revision": max(secret.latest, 1),
        "label": secret.label,
        "owner": secret.owner_kind,
    }
    if secret.description:
        shown["description"] = secret.description
    shown["rotation"] = secret.rotate
    revision = secret.revisions.get(str(secret.latest))
    if revision is not None and revision.expire:
        shown["expiry"] = _moment(revision.expire)
    if secret.next_rotate:
        shown["rotates"] = _moment(secret.next_rotate)
    if secret.grants:
        shown["access"] = [
            Ordered(target=_target(name), scope=f"relation-{relation}", role="view")
            for name, relation in sorted(secret.grants.items())
        ]
    return Ordered(shown)


def _target(name: str) -> str:
    return "unit-" + name.replace("/", "-") if "/" in name else f"application-{name}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def secret_ids(call: Call) -> str:
    """List the ids of owned secrets."""
    check_empty(call.words)
    context = call.context
    owned = [
        s for s in _owned(context) if rules.is_manager(s, context.unit, leads=context.is_leader())
    ]
    return call.render(sorted(secret.id for secret in owned))


UPSERT = (
    option("expire"), option("rotate"), option("description"), option("label"), option("file"),
    option("owner", default="application"),
)  # fmt: skip
LABEL = option("label")
TOOLS = {
    "secret-add": Tool(secret_add, UPSERT, "[key[#base64|#file]=value...]", "Add a new secret."),
    "secret-set": Tool(
        secret_set, UPSERT, "<ID> [key[#base64]=value...]", "Update an existing secret."
    ),
    "secret-get": Tool(
        secret_get,
        (*FORMAT_YAML, LABEL, switch("peek"), switch("refresh")),
        "<ID> [key[#base64]]",
        "Get the content of a secret.",
    ),
    "secret-grant": Tool(
        secret_grant, (option("unit"), RELATION), "<ID>", "Grant access to a secret."
    ),
    "secret-revoke": Tool(
        secret_revoke,
        (option("app", "application"), option("unit"), RELATION),
        "<ID>",
        "Revoke access to a secret.",
    ),
    "secret-remove": Tool(
        secret_remove, (option("revision"),), "<ID>", "Remove an existing secret."
    ),
    "secret-info-get": Tool(
        secret_info_get, (*FORMAT_YAML, LABEL), "<ID>", "Get a secret's metadata info."
    ),
    "secret-ids": Tool(secret_ids, FORMAT_SMART, "", "Print secret IDs."),
}
