"""Storage attachments: attached before install and whenever idle, detaching first of all.

A storage that dies before its -attached ran is dropped without a hook.
"""

from dataclasses import replace

from localjuju.resolver.state import (
    ALIVE,
    QUEUED,
    Adopt,
    Hook,
    LocalState,
    Operation,
    RemoteState,
    RunHook,
)


def resolve(local: LocalState, remote: RemoteState) -> Operation | None:
    """Return the next storage hook."""
    before_install = (
        local.hook is not None and local.hook.kind == "install" and local.step == QUEUED
    )
    if not (local.idle or before_install):
        return None
    gone = [name for name in local.storage if name not in remote.storage]
    if gone:
        kept = tuple(name for name in local.storage if name not in gone)
        return Adopt(replace(local, storage=kept))
    for name in sorted(remote.storage):
        attachment = remote.storage[name]
        dying = attachment.life != ALIVE or remote.life != ALIVE
        if dying and name in local.storage:
            return RunHook(Hook("storage-detaching", storage=name))
        if not dying and attachment.provisioned and name not in local.storage:
            return RunHook(Hook("storage-attached", storage=name))
    return None


def is_blocking_install(local: LocalState, remote: RemoteState) -> bool:
    """Say whether install has to wait for a storage that is not there yet."""
    return any(
        name not in local.storage and attachment.life == ALIVE
        for name, attachment in remote.storage.items()
    )
