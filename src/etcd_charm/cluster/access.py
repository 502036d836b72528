"""Who may do what in the cluster: users by the common name of their certificate, and their roles.

The Juju leader keeps users, roles and the switch as they should be, and records what it did; equal
texts mean that nothing is to be done. Users come before the switch, so that nobody who has a
certificate is shut out when auth goes on in a running cluster.

Plain http has no certificates. So auth goes off before the first member speaks it, and comes on
again when the last one speaks TLS.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from etcd_charm.cluster.facts import Access, Facts, UserSpec
from etcd_charm.cluster.steps import KeepAccess

ROOT: Final = "root"
ALL_KEYS: Final = "all-keys"
"""The role that reads and writes every key."""
OFF: Final = "off"


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """What the leader does about access in this hook, and what it records if that succeeds."""

    step: KeepAccess | None = None
    record: str | None = None


def describe_access(access: Access) -> str:
    """Return the text that stands for users, roles and the switch."""
    if not access.is_enabled:
        return OFF
    users = ",".join(f"{user.name}={user.role}" for user in sorted(access.users, key=_by_name))
    return f"on {users} without {','.join(sorted(access.gone))}"


def _by_name(user: UserSpec) -> str:
    return user.name


def is_on(record: str) -> bool:
    """Whether a record says that auth is on."""
    return record.startswith("on ")


def is_user(record: str, name: str) -> bool:
    """Whether somebody of that name is let in: as a user, or because there are none."""
    if not is_on(record):
        return True
    users = record.removeprefix("on ").partition(" without ")[0]
    return name in {user.partition("=")[0] for user in users.split(",")}


def choose_access(facts: Facts) -> Access:
    """Return what should be: auth only where every member speaks TLS to clients."""
    view = facts.view
    urls = [url for member in view.members for url in member.client_urls] if view else []
    has_tls = bool(urls) and all(url.startswith("https://") for url in urls)
    is_enabled = facts.settings.auth_enabled and facts.settings.tls and has_tls
    return Access(is_enabled, facts.users, facts.users_gone)


def decide_access(facts: Facts) -> AccessDecision:
    """Return the step of the Juju leader, if what is recorded is not what should be."""
    if not facts.is_leader or facts.view is None or not facts.view.has_quorum:
        return AccessDecision()
    access = choose_access(facts)
    wanted = describe_access(access)
    if wanted == (facts.access or OFF):
        return AccessDecision()
    if not access.is_enabled and facts.settings.auth_enabled and facts.settings.tls:
        return AccessDecision()  # on its way to TLS: nothing to take back, nothing to give yet
    return AccessDecision(KeepAccess(access), wanted)


def must_wait_for_access(facts: Facts) -> bool:
    """Whether no member may restart yet, because plain http would meet users."""
    return not facts.settings.tls and is_on(facts.access)


def list_users(
    consumers: Iterable[str], issued: Iterable[tuple[str, str]]
) -> tuple[UserSpec, ...]:
    """Return the users of related applications and of the certificates that were handed out."""
    users = {name: UserSpec(name, ALL_KEYS) for name in consumers}
    users.update({name: UserSpec(name, role or ALL_KEYS) for name, role in issued})
    return tuple(users[name] for name in sorted(users))
