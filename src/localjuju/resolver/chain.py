"""Which operation runs next: the whole scheduling rule of a unit agent.

The order is that of Juju's uniter (worker/uniter/resolver.go and the resolvers that it
combines): the first resolver that wants something wins.

    1 after a reboot: start              6 actions
    2 unfinished or forced charm change  7 commands of juju-exec
    3 relation-created                   8 storage
    4 leadership                         9 a queued or failed hook
    5 secrets                           10 dying: relations, stop, remove
                                           alive: install, upgrade, config, relations, status

Resolvers 3 to 5 wait until nothing is in progress, the charm is installed and the unit is not
dying. Actions also run while a hook is in error. Nothing here reads a clock or rolls dice.
"""

from collections.abc import Callable
from dataclasses import replace

from localjuju.resolver import relations, storage
from localjuju.resolver.state import (
    ALIVE,
    PENDING,
    QUEUED,
    Adopt,
    Deploy,
    Hook,
    LocalState,
    Operation,
    RemoteState,
    RunCommands,
    RunHook,
    RunTask,
    SkipHook,
    Terminate,
)

Resolver = Callable[[LocalState, RemoteState], Operation | None]


def next_operation(local: LocalState, remote: RemoteState) -> Operation | None:
    """Return what the unit does next, or None when local and remote agree."""
    if local.removed:
        return Terminate()
    if remote.life != ALIVE and not local.installed and local.hook is None:
        return Terminate()
    if remote.life != ALIVE and local.hook == Hook("install") and local.step == QUEUED:
        return Terminate()
    for resolve in CHAIN:
        operation = resolve(local, remote)
        if operation is not None:
            return operation
    return None


def _after_reboot(local: LocalState, remote: RemoteState) -> Operation | None:
    if remote.rebooted and local.started and local.idle and not local.stopped:
        return RunHook(Hook("start"))
    return None


def _charm_change(local: LocalState, remote: RemoteState) -> Operation | None:
    if not local.deployed:
        return Deploy(remote.charm, upgrade=False)
    if local.failed and remote.force_charm and remote.charm != local.deployed:
        return Deploy(remote.charm, upgrade=True)
    return None


def _is_settled(local: LocalState, remote: RemoteState) -> bool:
    return local.idle and local.installed and remote.life == ALIVE


def _relation_created(local: LocalState, remote: RemoteState) -> Operation | None:
    return relations.created(local, remote) if _is_settled(local, remote) else None


def _leadership(local: LocalState, remote: RemoteState) -> Operation | None:
    if local.leader and not remote.leader:
        return Adopt(replace(local, leader=False))
    if not _is_settled(local, remote):
        return None
    if remote.leader and not local.leader:
        return RunHook(Hook("leader-elected", version=remote.leader_settings))
    if not remote.leader and local.leader_settings != remote.leader_settings:
        return RunHook(Hook("leader-settings-changed", version=remote.leader_settings))
    return None


def _secrets(local: LocalState, remote: RemoteState) -> Operation | None:
    if not _is_settled(local, remote):
        return None
    for due in remote.secrets:
        if due.kind == "secret-changed" and local.secrets.get(due.secret, 0) >= due.revision:
            continue
        if due.kind == "secret-remove" and f"{due.secret}/{due.revision}" in local.obsolete:
            continue
        return RunHook(
            Hook(
                due.kind,
                secret=due.secret,
                secret_label=due.label,
                secret_revision=due.revision,
            )
        )
    return None


def _actions(local: LocalState, remote: RemoteState) -> Operation | None:
    if remote.actions and local.installed and (local.idle or local.failed):
        return RunTask(remote.actions[0])
    return None


def _commands(local: LocalState, remote: RemoteState) -> Operation | None:
    if remote.commands and local.deployed and (local.idle or local.failed):
        return RunCommands(remote.commands[0])
    return None


def _pending_hook(local: LocalState, remote: RemoteState) -> Operation | None:
    hook = local.hook
    if hook is None:
        return None
    if local.step == QUEUED:
        if hook.kind == "install" and storage.is_blocking_install(local, remote):
            return None
        return RunHook(_refreshed(hook, remote))
    assert local.step == PENDING
    if remote.resolved == "retry":
        return RunHook(_refreshed(hook, remote))
    if remote.resolved == "skip":
        return SkipHook(hook)
    return None


def _refreshed(hook: Hook, remote: RemoteState) -> Hook:
    """A hook that waited delivers the newest value: later changes are folded in."""
    if hook.kind == "config-changed":
        return replace(hook, fingerprint=remote.fingerprint)
    return hook


def _teardown(local: LocalState, remote: RemoteState) -> Operation | None:
    if not local.idle or remote.life == ALIVE:
        return None
    operation = relations.departing(local, remote)
    if operation is not None:
        return operation
    if not local.stopped:
        return RunHook(Hook("stop"))
    return RunHook(Hook("remove"))


def _steady(local: LocalState, remote: RemoteState) -> Operation | None:
    if not local.idle or remote.life != ALIVE:
        return None
    if not local.installed:
        return RunHook(Hook("install"))
    if local.deployed != remote.charm:
        return Deploy(remote.charm, upgrade=True)
    if local.resources != remote.resources:
        return RunHook(Hook("upgrade-charm", version=remote.resources))
    if local.fingerprint != remote.fingerprint:
        return RunHook(Hook("config-changed", fingerprint=remote.fingerprint))
    operation = relations.steady(local, remote)
    if operation is not None:
        return operation
    if remote.update_status_due and local.started:
        return RunHook(Hook("update-status"))
    return None


CHAIN: tuple[Resolver, ...] = (
    _after_reboot,
    _charm_change,
    _relation_created,
    _leadership,
    _secrets,
    _actions,
    _commands,
    storage.resolve,
    _pending_hook,
    _teardown,
    _steady,
)
