"""The unit agent: compares, runs one operation, commits, and sleeps until something differs.

Every operation has three parts: prepare writes down what is about to run, execute runs it with
no lock held, commit writes down what became of it. An agent that starts over finds the written
state: a queued hook is run, one that was running counts as failed and is retried.
"""

import random
import shutil
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from localjuju import charm_package, leadership, observe, paths, secrets, status_rules
from localjuju.book import Book
from localjuju.debug_log import ModelLog
from localjuju.entities import Status, Unit
from localjuju.errors import JujuError, UnitGone
from localjuju.hook_context import HookContext, MemberCache
from localjuju.hook_server import HookServer
from localjuju.hook_tools import TOOLS, Answer
from localjuju.juju_exec import PLAIN_PATH, Commands, ignore_output, parse_commands
from localjuju.keeper import MachineKeeper
from localjuju.operations import HookWork, TaskWork, follow_implicit
from localjuju.resolver import next_operation
from localjuju.resolver.state import (
    PENDING,
    QUEUED,
    Adopt,
    Deploy,
    Hook,
    Operation,
    RunCommands,
    RunHook,
    RunTask,
    SkipHook,
    Terminate,
)
from localjuju.runner import Run
from localjuju.volumes import Volumes

RETRY_FIRST_SECONDS = 5.0
RETRY_MAX_SECONDS = 300.0
RETRY_KEY = "localjuju-retry-seconds"
CLIENT = Path(__file__).with_name("hook_client.py")


class Host(Protocol):
    """What an agent asks of the model that it lives in."""

    @property
    def gateway(self) -> str:
        """Return the address that charms see as the controller's."""

    def hook_times(self, unit: str, hook: str, seconds: float, code: int) -> None:
        """Note how long a run took."""

    def unmount(self, identifier: str) -> None:
        """Begin to unmount a storage that its unit has let go."""

    def bury(self, unit_name: str) -> None:
        """Take a dead unit and what only it used out of the model."""


class UnitAgent(threading.Thread):
    """One unit's thread."""

    def __init__(
        self,
        name: str,
        *,
        book: Book,
        keeper: MachineKeeper,
        log: ModelLog,
        volumes: Volumes,
        host: Host,
        chooser: random.Random,
    ) -> None:
        super().__init__(name=f"agent-{name}", daemon=True)
        self.unit_name = name
        self.book = book
        self.keeper = keeper
        self.log_file = log
        self.host = host
        self.chooser = chooser
        self.cache: MemberCache = {}
        self.current: Run | None = None
        self._volumes = volumes
        self._context: HookContext | None = None
        self._server: HookServer | None = None
        self._commands: dict[str, Commands] = {}
        self._runs = 0
        self._leaving = False

    # What hook_server asks of an agent.

    @property
    def context(self) -> HookContext | None:
        """Return the context of the run in progress."""
        return self._context

    @context.setter
    def context(self, context: HookContext | None) -> None:
        self._context = context

    def reboot_now(self, context: HookContext) -> None:
        """Kill the run in progress; its hook is run again after the boot."""
        if self.current is not None and context is self._context:
            self.current.kill()

    def run_commands(self, words: list[str], folder: str) -> Answer:  # noqa: ARG002
        """Queue commands of juju-exec and wait until they have run."""
        request, no_context = parse_commands(words, str(self._next_run()))
        if no_context:
            outcome = Run(self.keeper.container, self.run_name()).execute(
                ["/bin/bash", "-c", request.script], {"PATH": PLAIN_PATH}, "/", ignore_output
            )
            return Answer(outcome.code, outcome.stdout, outcome.stderr)
        with self.book.change():
            self._commands[request.identifier] = request
        while not request.done.wait(1.0):
            if self.book.closed or self.unit_name not in self.book.records.units:
                return Answer(1, stderr=b"ERROR unit is gone\n")
        return request.answer

    # The loop.

    @property
    def unit(self) -> Unit:
        """Return this unit's record; call with the lock held. Raises UnitGone."""
        unit = self.book.records.units.get(self.unit_name)
        if unit is None or self._leaving:  # a later unit may have the same name
            raise UnitGone(self.unit_name)
        return unit

    def leave(self) -> None:
        """End the thread; what runs goes on and is not committed."""
        self._leaving = True

    def abandon(self) -> None:
        """Kill what runs: its unit is no more."""
        run = self.current
        if run is not None:
            run.kill()

    def run(self) -> None:
        """Do what the resolver says until the unit is gone."""
        self._recover()
        while True:
            try:
                operation = self._wait_for_operation()
                if operation is None:
                    break
                self._perform(operation)
            except UnitGone:
                break
            except (JujuError, OSError) as error:
                if self._is_over():  # the machine's files went with the unit
                    break
                self._complain(str(error))
            except Exception:  # noqa: BLE001  # an agent outlives its operations
                self._complain(traceback.format_exc())
        if self._server is not None:
            self._server.close()

    def _complain(self, text: str) -> None:
        self.note("ERROR", "juju.worker.uniter", text)
        self.book.wait_for(self._is_over, RETRY_FIRST_SECONDS)

    def _is_over(self) -> bool:
        return self._leaving or self.book.closed or self.unit_name not in self.book.records.units

    def _recover(self) -> None:
        with self.book.change() as records:
            unit = records.units.get(self.unit_name)
            if unit is None or self._leaving:
                return
            for task in records.tasks.values():
                if task.receiver == self.unit_name and task.status == "running":
                    task.status, task.message = "failed", "action terminated"
                    task.completed = self.book.now()
            if unit.local.step == PENDING:
                unit.retries = 0  # a new agent begins to count anew
                self.mark_failed(unit)

    def _wait_for_operation(self) -> Operation | None:
        while True:
            with self.book.lock:
                if self._is_over():
                    return None
                if not self._is_reachable():
                    self.book.changed.wait()
                    continue
                missing = self._unprovisioned()
                if not missing and self._server is not None:
                    operation, wake = self._choose()
                    if operation is not None:
                        return operation
                    self._settle()
                    self.book.changed.wait(wake)
                    continue
            self._ensure_server()
            for identifier in missing:
                self._provision(identifier)

    def _is_reachable(self) -> bool:
        return (
            leadership.is_in_contact(self.book.records, self.unit)
            and self.keeper.container.is_up()
        )

    def _choose(self) -> tuple[Operation | None, float | None]:
        """Ask the resolver; also return how long to sleep if it wants nothing."""
        records, now, unit = self.book.records, self.book.now(), self.unit
        if unit.local.installed or unit.local.deployed or unit.life == "alive":
            app = records.applications[unit.app]
            if not leadership.leader_of(records, app, now):
                with self.book.change():
                    leadership.claim(records, unit, now)
        if any(end.is_implicit for r in records.relations_of(unit.app) for end in r.ends):
            with self.book.change():
                follow_implicit(records, unit)
        order = [str(relation.number) for relation in records.relations_of(unit.app)]
        self.chooser.shuffle(order)
        remote = observe.remote_state(
            records, unit, now, order=order, commands=list(self._commands)
        )
        operation = next_operation(unit.local, remote)
        moments = [
            unit.next_update_status if unit.local.started else 0.0,
            unit.retry_at if unit.local.failed else 0.0,
            leadership.next_expiry(records, unit, now),
            secrets.next_due(records, now),
        ]
        future = [moment - now for moment in moments if moment > now]
        return operation, min(future) if future else None

    def _settle(self) -> None:
        unit = self.unit
        if unit.agent.current != "idle":
            with self.book.change():
                status_rules.set_agent(unit, "idle", "", self.book.now())
                if not unit.next_update_status:
                    self.schedule_update_status(unit)

    def schedule_update_status(self, unit: Unit) -> None:
        """Draw the next update-status: the interval, give or take a fifth."""
        text = str(self.book.records.model.config.get("update-status-hook-interval", "5m"))
        seconds = secrets.parse_duration(text) or 300.0
        unit.next_update_status = self.book.now() + seconds * self.chooser.uniform(0.8, 1.2)

    # Operations.

    def _perform(self, operation: Operation) -> None:
        self._ensure_server()
        with self.keeper.hook_lock:
            match operation:
                case Deploy(charm, upgrade):
                    self._deploy(charm, upgrade=upgrade)
                case RunHook(hook):
                    HookWork(self, hook).perform()
                case SkipHook(hook):
                    HookWork(self, hook).skip()
                case RunTask(task):
                    TaskWork(self, task).perform()
                case RunCommands(identifier):
                    self._perform_commands(identifier)
                case Adopt(local):
                    with self.book.change():
                        self.unit.local = local
                case Terminate():
                    pass
        if isinstance(operation, Terminate):
            self.book.wait_for(lambda: self._is_over() or not self._has_subordinates(), None)
            if not self._is_over():
                self.host.bury(self.unit_name)

    def _has_subordinates(self) -> bool:
        """A unit stays until those that live beside it are gone."""
        return bool(self.book.records.subordinates_of(self.unit_name))

    def _deploy(self, key: str, *, upgrade: bool) -> None:
        with self.book.change() as records:
            charm = records.charms[key]
            previous = records.charms.get(self.unit.local.deployed)
            now = self.book.now()
            if not upgrade:
                status_rules.set_workload(self.unit, Status("waiting", "installing agent", now))
            status_rules.set_agent(self.unit, "executing", "", now)
        target = self.in_machine(paths.charm_directory(self.unit_name))
        charm_package.unpack(
            Path(charm.package), target, Path(previous.package) if previous else None
        )
        with self.book.change() as records:
            unit = self.unit
            app = records.applications[unit.app]
            local = replace(unit.local, deployed=key)
            if not local.failed:
                kind = "upgrade-charm" if upgrade else "install"
                hook = Hook(kind, version=app.resources_version if upgrade else 0)
                local = replace(local, hook=hook, step=QUEUED, resources=app.resources_version)
            unit.local = local
            if not upgrade:
                status_rules.set_workload(
                    unit, Status("waiting", "agent initialising", self.book.now())
                )

    def _perform_commands(self, identifier: str) -> None:
        request = self._commands[identifier]
        try:
            work = TaskWork(self, "")
            request.answer = work.run_script(request.script, request.relation, request.remote_unit)
        finally:
            with self.book.change():
                del self._commands[identifier]
            request.done.set()

    # Things that operations use.

    def mark_failed(self, unit: Unit) -> None:
        """Put the unit into hook error; the next try comes later each time."""
        unit.local = replace(unit.local, failed=True)
        unit.resolved = ""
        now = self.book.now()
        if self.book.records.model.config.get("automatically-retry-hooks", True):
            first = float(self.book.records.model.config.get(RETRY_KEY, RETRY_FIRST_SECONDS))
            wait = min(first * 2**unit.retries, RETRY_MAX_SECONDS)
            unit.retry_at = now + wait * self.chooser.uniform(0.9, 1.1)
            unit.retries += 1
        else:
            unit.retry_at = 0.0
        if unit.local.hook is not None:
            status_rules.note_failure(unit, unit.local.hook.name, now)
        status_rules.set_agent(unit, "idle", "", now)

    def in_machine(self, path: str) -> Path:
        """Return a path of the machine as the host sees it; for what no overlay covers."""
        return self.keeper.container.root / path.lstrip("/")

    def note(self, level: str, module: str, text: str) -> None:
        """Write to the model's log and to the unit's own."""
        tag = paths.unit_tag(self.unit_name)
        self.log_file.write(tag, level, module, text)
        try:
            with self.in_machine(f"{paths.LOGS}/{tag}.log").open("a", errors="replace") as file:
                moment = _clock()
                file.write(
                    "".join(f"{moment} {level} {module} {line}\n" for line in text.splitlines())
                )
        except FileNotFoundError:
            return

    def _next_run(self) -> int:
        self._runs += 1
        return self._runs

    def run_name(self) -> str:
        """Return a fresh name for a transient unit of the machine."""
        stamp = f"{self.chooser.getrandbits(32):08x}"
        return f"ljj-run-{paths.unit_tag(self.unit_name)[5:]}-{self._next_run()}-{stamp}"

    def _ensure_server(self) -> None:
        """Lay out the unit's directories and listen for its hook tools."""
        if self._server is not None:
            return
        tag = paths.unit_tag(self.unit_name)
        client = self.in_machine(paths.TOOL_CLIENT)
        client.parent.mkdir(parents=True, exist_ok=True)
        _place(client, lambda new: shutil.copyfile(CLIENT, new))
        tools = self.in_machine(f"{paths.TOOLS}/{tag}")
        tools.mkdir(parents=True, exist_ok=True)
        for name in TOOLS:
            link = tools / name
            if not link.is_symlink():
                _place(link, lambda new: new.symlink_to("../hook-tool"))
        live = self.keeper.container.live_root
        for name in ("juju-exec", "juju-run"):
            link = live / "usr/bin" / name
            if not link.is_symlink():
                _place(link, lambda new: new.symlink_to(paths.TOOL_CLIENT))
        self._server = HookServer(self.in_machine(f"{paths.AGENTS}/{tag}"), self)

    def _unprovisioned(self) -> list[str]:
        return [
            item.id
            for item in self.book.records.storage.values()
            if item.unit == self.unit_name
            and not item.provisioned
            and item.attachment_life == "alive"
        ]

    def _provision(self, identifier: str) -> None:
        with self.book.read() as records:
            item = records.storage.get(identifier)
        if item is None:
            return
        target = item.location
        if item.provider == "rootfs":
            self.keeper.container.call(["mkdir", "-p", target])
        else:
            source = self._volumes.provision(item)
            self.keeper.attach_storage(source, target)
        with self.book.change():
            item.provisioned = True


def _place(path: Path, make: Callable[[Path], object]) -> None:
    """Put a file in its place in one step: the machine's other units do the same."""
    new = path.with_name(f".{path.name}-{threading.get_ident()}")
    new.unlink(missing_ok=True)
    make(new)
    if not new.is_symlink():
        new.chmod(0o755)
    new.replace(path)


def _clock() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
