"""What is kept and shown again, without effect on machines that have no cloud: constraints, keys."""

import base64
import hashlib

from localjuju.cli.grammar import FORMAT_YAML, arguments, pairs
from localjuju.cli.rendering import emit
from localjuju.cli.session import Session
from localjuju.errors import JujuError
from localjuju.formats import go_quote
from localjuju.hook_tools.flags import switch

KNOWN = {
    "allocate-public-ip", "arch", "container", "cores", "cpu-cores", "cpu-power", "image-id",
    "instance-role", "instance-type", "mem", "root-disk", "root-disk-source", "spaces", "tags",
    "virt-type", "zones",
}  # fmt: skip


def model_constraints(session: Session) -> int:
    """Show the model's constraints."""
    args = arguments(session, FORMAT_YAML)
    with session.book().read() as records:
        kept = dict(sorted(records.model.constraints.items()))
    if args.text("format") == "json" or args.text("output"):
        emit(session, args, kept)
    elif kept:
        session.out(" ".join(f"{key}={value}" for key, value in kept.items()) + "\n")
    return 0


def set_model_constraints(session: Session) -> int:
    """Keep the model's constraints."""
    args = arguments(session)
    wanted = pairs(args.positional)
    for key in wanted:
        if key not in KNOWN:
            raise JujuError(f"unknown constraint {go_quote(key)}")
    with session.book().change() as records:
        records.model.constraints = {key: value for key, value in wanted.items() if value}
    return 0


def _fingerprint(key: str) -> str:
    """Return the MD5 fingerprint by which Juju shows a key."""
    try:
        digest = hashlib.md5(base64.b64decode(key.split()[1]), usedforsecurity=False).hexdigest()
    except (IndexError, ValueError):
        raise JujuError(f"invalid ssh key: {key}") from None
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def _shown(key: str) -> str:
    comment = key.split(None, 2)[2:]
    return " ".join([_fingerprint(key), *(f"({text})" for text in comment)])


def ssh_keys(session: Session) -> int:
    """List the ssh keys of the model."""
    args = arguments(session, (switch("full"),))
    with session.book().read() as records:
        keys = list(records.model.ssh_keys)
    if not keys:
        session.err("No keys to display.\n")
        return 0
    session.out("Keys used in model: admin/" + session.host().book.records.model.name + "\n")
    session.out("".join((key if args.has("full") else _shown(key)) + "\n" for key in keys))
    return 0


def add_ssh_key(session: Session) -> int:
    """Keep ssh keys; logins need none here."""
    args = arguments(session, least=1, missing="no ssh key specified")
    with session.book().change() as records:
        for key in args.positional:
            print_of_key = _fingerprint(key)
            if print_of_key in {_fingerprint(other) for other in records.model.ssh_keys}:
                raise JujuError(f"cannot add key {go_quote(key)}: duplicate ssh key: {key}")
            records.model.ssh_keys.append(key)
    return 0


def remove_ssh_key(session: Session) -> int:
    """Forget ssh keys, by fingerprint or comment."""
    args = arguments(session, least=1, missing="no ssh key specified")
    with session.book().change() as records:
        for wanted in args.positional:
            kept = [
                key
                for key in records.model.ssh_keys
                if wanted not in {_fingerprint(key), *key.split(None, 2)[2:]}
            ]
            if len(kept) == len(records.model.ssh_keys):
                raise JujuError(
                    f"cannot remove key id {go_quote(wanted)}: invalid ssh key: {wanted}"
                )
            records.model.ssh_keys = kept
    return 0


COMMANDS = {
    "model-constraints": model_constraints,
    "constraints": model_constraints,
    "set-model-constraints": set_model_constraints,
    "ssh-keys": ssh_keys,
    "list-ssh-keys": ssh_keys,
    "add-ssh-key": add_ssh_key,
    "remove-ssh-key": remove_ssh_key,
}
