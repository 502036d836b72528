"""Prepare, execute and commit of hooks, actions and commands."""

import base64
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localjuju import deployment, hook_env, paths, secrets, storage
from localjuju.entities import Membership, Records, Resource, Status, Task, Unit
from localjuju.errors import JujuError, UnitGone
from localjuju.flush import flush, network_settings
from localjuju.hook_context import HookContext
from localjuju.hook_tools import Answer
from localjuju.resolver import committed
from localjuju.resolver.state import ALIVE, PENDING, QUEUED, Hook, LocalState
from localjuju.runner import Outcome, Run
from localjuju.status_rules import set_agent, set_workload

if TYPE_CHECKING:
    from localjuju.agent import UnitAgent

BEFORE = {
    "install": "installing charm software",
    "stop": "stopping charm software",
    "remove": "cleaning up prior to charm deletion",
}


def make_context(agent: "UnitAgent", kind: str, label: str, **more: Any) -> HookContext:
    """Make the context of one run; call with the lock held.

    Raises:
        UnitGone: the unit was removed by force while the run was prepared.
    """
    unit_name = agent.unit.name
    number = agent.chooser.getrandbits(62)

    def log(level: str, logger: str, text: str) -> None:
        agent.note(level, logger, text)

    return HookContext(
        agent.book,
        unit_name,
        f"{unit_name}-{label}-{number}",
        kind,
        log,
        cache=agent.cache,
        chooser=agent.chooser,
        fetch_resource=lambda name: fetch_resource(agent, name),
        **more,
    )


def fetch_resource(agent: "UnitAgent", name: str) -> str:
    """Put the attached revision of a resource into the machine; return its path there."""
    import shutil  # noqa: PLC0415

    unit = agent.unit
    charm = agent.book.records.charm_of(unit.app)
    declared = (charm.metadata.get("resources") or {}).get(name)
    resource: Resource | None = agent.book.records.applications[unit.app].resources.get(name)
    if declared is None or resource is None:
        raise JujuError(f"resource#{unit.app}/{name} not found")
    filename = str(declared.get("filename") or resource.filename)
    inside = f"/{paths.AGENTS}/{paths.unit_tag(unit.name)}/resources/{name}/{filename}"
    target = agent.in_machine(inside)
    stamp = target.with_name(f".{filename}.fingerprint")
    fresh = target.exists() and stamp.exists() and stamp.read_text() == resource.fingerprint
    if not fresh:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{filename}.new")
        shutil.copyfile(resource.path, beside)
        beside.replace(target)
        stamp.write_text(resource.fingerprint)
    return inside


def execute(
    agent: "UnitAgent",
    context: HookContext,
    command: list[str],
    sink: Callable[[str, str], None],
    timeout: float | None = None,
) -> Outcome:
    """Run a command in the context, with hook tools, in the charm's directory."""
    agent.current = Run(agent.keeper.container, agent.run_name())
    agent.context = context
    if context.task is not None and context.task.status == "aborting":
        agent.current.kill()  # it was cancelled before there was anything to kill
    try:
        with agent.book.read():
            environment = hook_env.build(context, agent.host.gateway)
        folder = paths.charm_directory(agent.unit_name)
        return agent.current.execute(command, environment, folder, sink, timeout)
    finally:
        agent.context = None
        agent.current = None


def program(agent: "UnitAgent", kind: str, name: str) -> list[str] | None:
    """Return what runs a hook or an action of the charm, or None."""
    charm = paths.charm_directory(agent.unit_name)
    for relative in ("dispatch", f"{kind}/{name}"):
        file = agent.in_machine(f"{charm}/{relative}")
        if file.is_symlink() or (file.exists() and file.stat().st_mode & 0o111):
            return [f"{charm}/{relative}"]
    return None


class HookWork:
    """One hook."""

    def __init__(self, agent: "UnitAgent", hook: Hook) -> None:
        self.agent = agent
        self.hook = hook

    def perform(self) -> None:
        """Prepare, execute and commit."""
        agent, hook = self.agent, self.hook
        self._prepare()
        with agent.book.read():
            context = make_context(agent, "hook", hook.name, hook=hook)
        command = program(agent, "hooks", hook.name)
        began = time.monotonic()
        if command is None:
            agent.note(
                "INFO", "juju.worker.uniter.operation", f'skipped "{hook.name}" hook (missing)'
            )
            outcome = Outcome(0)
        else:
            outcome = execute(agent, context, command, self._sink())
        agent.host.hook_times(agent.unit_name, hook.name, time.monotonic() - began, outcome.code)
        if context.reboot == "now" and not outcome.lost:
            self._repeat_after_boot()
        elif outcome.code == 0:
            self._succeed(context, ran=command is not None)
        else:
            self._fail(f"exit status {outcome.code}")

    def skip(self) -> None:
        """Commit without running, as ``resolved --no-retry`` asks."""
        with self.agent.book.change() as records:
            self._commit(records)
        self._after()

    def _sink(self) -> Callable[[str, str], None]:
        logger = f"unit.{self.agent.unit_name}.{self.hook.name}"
        levels = {"stdout": "DEBUG", "stderr": "WARNING"}
        return lambda stream, line: self.agent.note(levels[stream], logger, line)

    def _prepare(self) -> None:
        agent, hook = self.agent, self.hook
        now = agent.book.now()
        with agent.book.change() as records:
            unit = agent.unit
            unit.local = replace(unit.local, hook=hook, step=PENDING, failed=False)
            unit.resolved = ""
            if hook.kind == "relation-created":
                enter_scope(records, unit, str(hook.relation))
            if hook.kind in BEFORE and not (
                hook.kind == "install" and unit.workload.current != "waiting"
            ):
                set_workload(unit, Status("maintenance", BEFORE[hook.kind], now))
            if hook.kind != "update-status":
                remote = f" for {hook.remote_unit}" if hook.remote_unit else ""
                set_agent(unit, "executing", f"running {hook.name} hook{remote}", now)

    def _succeed(self, context: HookContext, *, ran: bool) -> None:
        agent = self.agent
        try:
            with agent.book.change() as records:
                flush(context)
                self._commit(records)
        except UnitGone:
            raise
        except JujuError as error:
            self._fail(str(error))
            return
        if ran:
            text = f'ran "{self.hook.name}" hook (via hook dispatching script: dispatch)'
            agent.note("INFO", "juju.worker.uniter.operation", text)
        self._after()
        if context.reboot == "after":
            reboot(self.agent)

    def _commit(self, records: Records) -> None:
        agent, hook = self.agent, self.hook
        unit = agent.unit
        unit.local = prune(committed(unit.local, hook), records)
        unit.retries, unit.retry_at, unit.resolved = 0, 0.0, ""
        now = agent.book.now()
        match hook.kind:
            case "start":
                unit.rebooted = False
                if unit.workload.message == BEFORE["install"]:
                    set_workload(unit, Status("unknown", "", now))
                agent.schedule_update_status(unit)
            case "update-status":
                agent.schedule_update_status(unit)
            case "relation-broken":
                leave_scope(records, unit, str(hook.relation))
            case "storage-detaching" if hook.storage in records.storage:
                storage.let_go(records.storage[hook.storage])
            case "secret-rotate" if hook.secret in records.secrets:
                secret = records.secrets[hook.secret]
                secret.next_rotate = now + secrets.ROTATION_SECONDS[secret.rotate]
            case "secret-expired" if hook.secret in records.secrets:
                revision = records.secrets[hook.secret].revisions.get(str(hook.secret_revision))
                if revision is not None:
                    revision.expire = 0.0
            case _:
                pass

    def _after(self) -> None:
        """Do to the machine what follows from a committed hook."""
        hook, agent = self.hook, self.agent
        if hook.kind != "storage-detaching":
            return
        agent.host.unmount(hook.storage)

    def _fail(self, reason: str) -> None:
        agent = self.agent
        with agent.book.change():
            agent.mark_failed(agent.unit)
        text = f'hook "{self.hook.name}" (via hook dispatching script: dispatch) failed: {reason}'
        agent.note("ERROR", "juju.worker.uniter.operation", text)

    def _repeat_after_boot(self) -> None:
        with self.agent.book.change():
            unit = self.agent.unit
            unit.local = replace(unit.local, step=QUEUED, failed=False)
        reboot(self.agent)


def reboot(agent: "UnitAgent") -> None:
    """Boot the machine again; its units wait until it is back."""
    with agent.book.change() as records:
        now = agent.book.now()
        set_agent(agent.unit, "rebooting", "", now)
        machine = records.machines.get(agent.unit.machine)
        if machine is not None:
            machine.agent = Status("rebooting", "", now)
    agent.keeper.reboot()


def prune(local: LocalState, records: Records) -> LocalState:
    """Forget relations that are no longer in the model."""
    kept = {key: seen for key, seen in local.relations.items() if key in records.relations}
    return replace(local, relations=kept)


def enter_scope(records: Records, unit: Unit, key: str) -> None:
    """Make the unit visible to its counterparts."""
    relation = records.relations.get(key)
    if relation is None:
        return
    address = records.machines[unit.machine].address
    member = relation.members.setdefault(unit.name, Membership(network_settings(address)))
    member.in_scope = True
    deployment.add_subordinate(records, relation, unit)


def follow_implicit(records: Records, unit: Unit) -> None:
    """Enter and leave relations that the charm does not declare; it runs no hooks for them."""
    for relation in records.relations_of(unit.app):
        own = relation.end_of(unit.app)
        if own is None or not own.is_implicit:
            continue
        member = relation.members.get(unit.name)
        is_in = member is not None and member.in_scope
        wanted = relation.life == ALIVE == unit.life and not relation.suspended
        if wanted and not is_in and unit.local.installed:
            enter_scope(records, unit, str(relation.number))
        elif is_in and not wanted:
            leave_scope(records, unit, str(relation.number))


def leave_scope(records: Records, unit: Unit, key: str) -> None:
    """Take the unit out of the relation; the last one to leave ends a dying relation."""
    relation = records.relations.get(key)
    if relation is not None and unit.name in relation.members:
        relation.members[unit.name].in_scope = False
    deployment.sweep(records)
    unit.local = prune(unit.local, records)


class TaskWork:
    """One action, or commands given by ``juju exec`` or juju-exec."""

    def __init__(self, agent: "UnitAgent", task: str) -> None:
        self.agent = agent
        self.task_id = task

    def perform(self) -> None:
        """Run a queued task."""
        agent = self.agent
        with agent.book.change() as records:
            task = records.tasks[self.task_id]
            if task.status != "pending":
                return
            task.status, task.started = "running", agent.book.now()
            name = task.name or "juju-exec"
            set_agent(agent.unit, "executing", f"running action {name}", agent.book.now())
            kind = "exec" if task.command else "action"
            context = make_context(agent, kind, name, task=task)
        command = ["/bin/bash", "-c", task.command] if task.command else program(
            agent, "actions", task.name
        )  # fmt: skip
        if command is None:
            outcome = Outcome(1)
            message = f'action not implemented on unit "{agent.unit_name}"'
        else:
            sink = self._sink(task.name) if not task.command else _quiet
            began = time.monotonic()
            outcome = execute(agent, context, command, sink)
            seconds = time.monotonic() - began
            agent.host.hook_times(agent.unit_name, f"action {name}", seconds, outcome.code)
            message = outcome_message(outcome)
        finish_task(context, task, outcome, message)
        if context.reboot and not outcome.lost:
            reboot(agent)

    def _sink(self, name: str) -> Callable[[str, str], None]:
        logger = f"unit.{self.agent.unit_name}.{name}"
        levels = {"stdout": "DEBUG", "stderr": "WARNING"}
        return lambda stream, line: self.agent.note(levels[stream], logger, line)

    def run_script(self, script: str, relation: int | None, remote_unit: str) -> Answer:
        """Run commands of juju-exec, which came in on the machine."""
        agent = self.agent
        with agent.book.change():
            context = make_context(agent, "exec", "juju-exec")
            if relation is not None:
                found = context.find_relation(relation)
                if found is None:
                    return Answer(1, stderr=b"ERROR unknown relation id\n")
                context.relation = relation
                context.remote_unit = remote_unit
                context.remote_app = context.counterpart(found)
            set_agent(agent.unit, "executing", "running commands", agent.book.now())
        outcome = execute(agent, context, ["/bin/bash", "-c", script], _quiet)
        if outcome.code == 0:
            try:
                with agent.book.change():
                    flush(context)
                if context.reboot:
                    reboot(agent)
            except JujuError as error:
                return Answer(1, outcome.stdout, outcome.stderr + f"ERROR {error}\n".encode())
        return Answer(outcome.code, outcome.stdout, outcome.stderr)


def finish_task(context: HookContext, task: Task, outcome: Outcome, message: str) -> None:
    """Flush what an action asked for and record how it ended."""
    code, stderr = outcome.code, outcome.stderr
    failed = bool(message) or context.failure is not None
    message = message or context.failure or ""
    if not outcome.code:
        try:
            with context.book.change():
                flush(context)
        except JujuError as error:
            failed, code, message = True, 1, str(error)
            stderr += str(error).encode()
    with context.book.change():
        if task.is_done:  # its unit was removed meanwhile
            return
        results = dict(context.results)
        results["return-code"] = code
        _add_output(results, "stdout", outcome.stdout)
        _add_output(results, "stderr", stderr)
        task.results = results
        task.message = message
        if task.status == "running":
            task.status = "failed" if failed else "completed"
        elif task.status == "aborting":
            task.status = "aborted"
        task.completed = context.book.now()


def _quiet(stream: str, line: str) -> None:
    del stream, line


def outcome_message(outcome: Outcome) -> str:
    """Return what is said of a process that did not end well."""
    if outcome.lost:
        return "action terminated"
    return f"exit status {outcome.code}" if outcome.code else ""


def _add_output(results: dict[str, Any], name: str, data: bytes) -> None:
    if not data:
        return
    try:
        results[name] = data.decode()
    except UnicodeDecodeError:
        results[name] = base64.b64encode(data).decode()
        results[f"{name}-encoding"] = "base64"
