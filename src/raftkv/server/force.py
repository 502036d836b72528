"""``--force-new-cluster``: the last way out when a quorum is lost for good."""

from __future__ import annotations

import http.client
import logging
import ssl
from typing import Final

from raftkv.replica.forcing import NotForceableError, force_alone, read_membership
from raftkv.server.data_dir import Opened
from raftkv.server.flags import ConfigError
from raftkv.server.join import fetch_members
from raftkv.values import Member

_LOG: Final = logging.getLogger("raftkv")


def force(opened: Opened, context: ssl.SSLContext | None) -> None:
    """Make the opened member the only one of its cluster; nothing to do when it is.

    Asked of a member whose cluster lives, it would split the cluster in two: so it is refused
    while a majority of the voters answers. Who is merely stopped cannot be seen: that the others
    are gone for good is the operator's word.

    Raises:
        ConfigError: a majority answers, or this member was removed.
    """
    boot = opened.boot
    membership = read_membership(boot)
    others = [m for m in membership.members.values() if m.member_id != opened.member_id]
    answering = [m for m in others if not m.is_learner and _answers(m, context)]
    if 2 * (len(answering) + 1) > len(membership.voters) > 1:
        names = ", ".join(f"{m.member_id:x} {m.name}" for m in answering)
        raise ConfigError(
            f"--force-new-cluster: {names or 'this member'} and this member are a majority of "
            f"{len(membership.voters)}: the cluster is not lost, start it without this flag",
        )
    try:
        forced = force_alone(boot)
    except NotForceableError as error:
        raise ConfigError(f"--force-new-cluster: {error}: start another member with it") from None
    if forced is None:
        _LOG.info("--force-new-cluster: this member is alone already")
        return
    opened.wal.write([forced])
    opened.wal.sync()
    opened.boot = forced.boot
    names = ", ".join(f"{member.member_id:x} {member.name}" for member in forced.removed)
    _LOG.warning("--force-new-cluster: removed %s; take the flag away now", names)


def _answers(member: Member, context: ssl.SSLContext | None) -> bool:
    for url in member.peer_urls:
        try:
            fetch_members(url, context)
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            continue
        return True
    return False
