"""Runs the cases of a file against the hook tools: the real client, socket and server, no machine."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from localjuju import hook_client, hook_env, observe, paths
from localjuju.entities import Task, Unit
from localjuju.errors import JujuError
from localjuju.flush import flush
from localjuju.hook_context import HookContext
from localjuju.hook_server import HookServer
from localjuju.hook_tools import Answer
from localjuju.operations import enter_scope, finish_task, outcome_message
from localjuju.resolver import committed, next_operation
from localjuju.resolver.state import QUEUED, Adopt, Hook, LocalState, RunHook
from localjuju.runner import Outcome
from tests.conformance.hooktools import world as worlds

SYSTEM_PYTHON = "/usr/bin/python3"
HOOKS_MAX = 60


def load(path: Path) -> list[dict[str, Any]]:
    """Return the cases of a file with worlds and defaults filled in."""
    text = yaml.safe_load(path.read_text())
    shared = text.get("worlds_from")
    known = load_worlds(path.with_name(shared)) if shared else text["worlds"]
    defaults = text.get("defaults") or {}
    cases = []
    for case in text["cases"]:
        base = known[case.get("world", defaults.get("world"))]
        case["world"] = worlds.merge(base, case.get("with") or {})
        case["context"] = {**(defaults.get("context") or {}), **(case.get("context") or {})}
        cases.append(case)
    return cases


def load_worlds(path: Path) -> dict[str, Any]:
    """Return the worlds of another case file."""
    worlds: dict[str, Any] = yaml.safe_load(path.read_text())["worlds"]
    return worlds


class Sandbox:
    """One case's model, its socket and its working directory."""

    def __init__(self, folder: Path, world: dict[str, Any], context: dict[str, Any]) -> None:
        self.world = world
        self.folder = folder
        self.book = worlds.build(world, context)
        self.context: HookContext | None = None
        self.task: Task | None = None
        self.log: list[tuple[str, str, str]] = []
        self.tools = folder / "tools"
        self.work = folder / "work"
        self.tools.mkdir()
        self.work.mkdir()
        self.server = HookServer(folder / "agent", self)
        self._serial = 0

    def close(self) -> None:
        self.server.close()

    def run_commands(self, words: list[str], folder: str) -> Answer:
        del words, folder
        raise NotImplementedError

    def reboot_now(self, context: HookContext) -> None:
        del context

    def enter(self, unit: str, described: dict[str, Any]) -> HookContext:
        """Make a new context."""
        self._serial += 1
        kind = described.get("kind", "hook")
        hook = _hook(described, self.book.records.units[unit]) if kind == "hook" else None
        task = None
        if kind == "action":
            name = described["action"]
            task = Task("2", "1", unit, name, params=dict(described.get("params") or {}))
            task.status = "running"
            self.book.records.tasks["2"] = task
            self.task = task
        relation = described.get("relation") if hook is None else None
        self.context = HookContext(
            self.book,
            unit,
            f"{unit}-{hook.name if hook else kind}-{self._serial}",
            kind,
            lambda *entry: self.log.append(entry),
            hook=hook,
            task=task,
            relation=relation,
            remote_unit=described.get("remote_unit", "") if relation is not None else "",
            remote_app=_remote_app(described) if relation is not None else "",
            chooser=random.Random(7),
            fetch_resource=lambda name: self._resource(unit, name),
        )
        return self.context

    def _resource(self, unit: str, name: str) -> str:
        resource = self.book.records.applications[unit.partition("/")[0]].resources.get(name)
        if resource is None:
            raise JujuError(f"resource#{unit.partition('/')[0]}/{name} not found")
        tag = paths.unit_tag(unit)
        return f"/var/lib/juju/agents/{tag}/resources/{name}/{resource.filename}"

    def run(self, step: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
        """Run one tool as a charm would."""
        assert self.context is not None
        tool, *words = [str(word) for word in step["run"]]
        link = self.tools / tool
        if not link.is_symlink():
            link.symlink_to(hook_client.__file__)
        for name, text in (step.get("cwd_file") or {}).items():
            (self.work / name).write_text(text)
        with self.book.read():
            environment = hook_env.build(self.context, "10.9.0.1")
        environment["JUJU_AGENT_SOCKET_ADDRESS"] = str(self.folder / "agent/agent.socket")
        for name, value in (step.get("env") or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = str(value)
        python = SYSTEM_PYTHON if Path(SYSTEM_PYTHON).exists() else sys.executable
        return subprocess.run(
            [python, "-I", "-S", str(link), *words],
            input=str(step.get("stdin", "")).encode(),
            capture_output=True,
            env=environment,
            cwd=self.work,
            check=False,
            timeout=20,
        )

    def finish(self, described: dict[str, Any], result: str) -> None:
        """End the run as a dispatch that succeeded or failed."""
        context = self.context
        assert context is not None
        if context.kind == "action":
            code = int(described.get("exit", 0 if result == "ok" else 1))
            outcome = Outcome(code, str(described.get("prints", "")).encode())
            assert context.task is not None
            finish_task(context, context.task, outcome, outcome_message(outcome))
            return
        if result != "ok":
            return
        with self.book.change():
            flush(context)
            if context.hook is not None:
                unit = context.unit
                unit.local = committed(unit.local, context.hook)

    def settle(self) -> None:
        """Bring all units to rest, so that only what a case does makes hooks."""
        for unit in self.book.records.units.values():
            self.drain(unit.name)

    def drain(self, name: str) -> list[str]:
        """Deliver hooks to a unit until it is at rest; return their names."""
        records = self.book.records
        delivered: list[str] = []
        while len(delivered) < HOOKS_MAX:
            unit = records.units[name]
            order = [str(relation.number) for relation in records.relations_of(unit.app)]
            remote = observe.remote_state(records, unit, self.book.now(), order=order)
            operation = next_operation(unit.local, remote)
            if isinstance(operation, Adopt):
                unit.local = operation.local
            elif isinstance(operation, RunHook):
                delivered.append(operation.hook.name)
                if operation.hook.kind == "relation-created":
                    enter_scope(records, unit, str(operation.hook.relation))
                unit.local = committed(unit.local, operation.hook)
            else:
                return delivered
        raise AssertionError(f"{name} does not come to rest: {delivered[-5:]}")

    def requeue(self, unit_name: str) -> None:
        """Queue the interrupted hook again, as juju-reboot --now does."""
        context = self.context
        unit = self.book.records.units[unit_name]
        assert context is not None
        values = {**vars(unit.local), "hook": context.hook, "step": QUEUED}
        unit.local = LocalState(**values)


def _hook(described: dict[str, Any], unit: Unit) -> Hook:
    name = described["hook"]
    relation = described.get("relation")
    storage = described.get("storage", "")
    endpoint, kind = "", name
    if relation is not None:
        endpoint, _, rest = name.rpartition("-relation-")
        kind = f"relation-{rest}"
    elif storage:
        kind = "storage-" + name.rpartition("-storage-")[2]
    del unit
    remote_unit = described.get("remote_unit", "")
    return Hook(
        kind,
        relation=relation,
        endpoint=endpoint,
        remote_unit=remote_unit,
        remote_app=_remote_app(described),
        departing_unit=described.get("departing_unit", ""),
        storage=storage,
        secret=str(described.get("secret", "")).removeprefix("secret:"),
        secret_label=described.get("secret_label", ""),
        secret_revision=int(described.get("secret_revision", 0)),
        version=2 if relation is not None else 0,
    )


def _remote_app(described: dict[str, Any]) -> str:
    unit = str(described.get("remote_unit", ""))
    return str(described.get("remote_app", unit.partition("/")[0]))


def run_case(case: dict[str, Any], folder: Path) -> list[str]:
    """Run a case; return what was not as expected."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    described = case["context"]
    sandbox = Sandbox(folder, case["world"], described)
    try:
        if any("hooks" in check for check in case.get("after") or []):
            sandbox.settle()
        return list(_problems(case, sandbox, described))
    finally:
        sandbox.close()


def _problems(case: dict[str, Any], sandbox: Sandbox, described: dict[str, Any]) -> Iterator[str]:
    unit = case["world"]["unit"]
    sandbox.enter(unit, described)
    interrupted = False
    for number, step in enumerate(case.get("steps") or [], start=1):
        done = sandbox.run(step)
        if step.get("interrupted"):
            interrupted = True
            sandbox.requeue(unit)
            continue
        for problem in compare(step, done, sandbox.work):
            yield f"step {number} {step['run']}: {problem}"
    if "finish" in case and not interrupted:
        try:
            sandbox.finish(described, case["finish"])
        except JujuError as error:
            if not case.get("flush_refused"):
                yield f"flush refused: {error}"
        else:
            if case.get("flush_refused"):
                yield "flush was not refused"
    for number, check in enumerate(case.get("after") or [], start=1):
        for problem in _after(check, sandbox, unit, case["world"]["app"]):
            yield f"after {number}: {problem}"


def _after(check: dict[str, Any], sandbox: Sandbox, unit: str, app: str) -> Iterator[str]:
    if "run" in check:
        context = {"kind": "hook", "hook": "update-status", **(check.get("context") or {})}
        sandbox.enter(check.get("as", unit), context)
        yield from compare(check, sandbox.run(check), sandbox.work)
    elif "state" in check:
        state = worlds.snapshot(sandbox.book.records, app, unit, sandbox.task)
        value = _lookup(state, check["state"])
        if "equals" in check and value != check["equals"]:
            yield f"{check['state']} is {value!r}, not {check['equals']!r}"
        if "matches" in check and not re.fullmatch(check["matches"], str(value), re.DOTALL):
            yield f"{check['state']} is {value!r}, does not match {check['matches']!r}"
    elif "log" in check:
        lines = [f"{level} {text}" for level, _, text in sandbox.log]
        if lines != check["log"]:
            yield f"log {lines}, not {check['log']}"
    elif "hooks" in check:
        delivered = sandbox.drain(check["hooks"])
        if "equals" in check and delivered != check["equals"]:
            yield f"hooks {delivered}, not {check['equals']}"
        for name in check.get("contains") or []:
            if name not in delivered:
                yield f"hooks {delivered} lack {name}"
        for name in check.get("lacks") or []:
            if name in delivered:
                yield f"hooks {delivered} contain {name}"
    else:
        yield f"unknown check {check}"


def _lookup(state: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(state, dict):
            return None
        state = state.get(part)
    return state


def compare(
    step: dict[str, Any], done: subprocess.CompletedProcess[bytes], work: Path
) -> Iterator[str]:
    """Compare what a tool did with what a step expects."""
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    expected_code = step.get("exit", 0)
    if done.returncode != expected_code:
        yield f"exit {done.returncode}, not {expected_code}; stderr {stderr!r}"
    exact = not {"stdout_match", "stdout_json", "stdout_sorted"} & set(step)
    if exact and stdout != step.get("stdout", ""):
        yield f"stdout {stdout!r}, not {step.get('stdout', '')!r}"
    if "stdout_match" in step and not re.fullmatch(step["stdout_match"], stdout, re.DOTALL):
        yield f"stdout {stdout!r} does not match {step['stdout_match']!r}"
    if "stdout_json" in step and not _same(step["stdout_json"], json.loads(stdout)):
        yield f"stdout {stdout!r}, not {step['stdout_json']!r}"
    if "stdout_sorted" in step:
        lines = step["stdout_sorted"]
        lines = lines.splitlines() if isinstance(lines, str) else lines
        if sorted(stdout.splitlines()) != sorted(lines):
            yield f"stdout lines {stdout!r}, not {lines!r}"
    if "stderr_match" in step:
        if not re.fullmatch(step["stderr_match"], stderr, re.DOTALL):
            yield f"stderr {stderr!r} does not match {step['stderr_match']!r}"
    elif stderr != step.get("stderr", ""):
        yield f"stderr {stderr!r}, not {step.get('stderr', '')!r}"
    for name, text in (step.get("file") or {}).items():
        file = work / name
        found = file.read_text() if file.exists() else None
        if found != text:
            yield f"file {name} holds {found!r}, not {text!r}"


def _same(expected: Any, found: Any) -> bool:
    if expected == "<any>":
        return True
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(
            _same(v, found[k]) for k, v in expected.items()
        )
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_same, expected, found))
    return bool(expected == found)


def main() -> int:
    """Run case files given on the command line and list what failed."""
    failures = total = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:]:
            for case in load(Path(name)):
                total += 1
                problems = run_case(case, Path(folder) / "case")
                failures += bool(problems)
                for problem in problems:
                    print(f"{case['id']} ({case.get('about', '')}): {problem}")
    print(f"{total - failures} of {total} cases hold")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ.setdefault("LANG", "C.UTF-8")
    sys.exit(main())
