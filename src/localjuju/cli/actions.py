"""run, exec, operations and tasks; also the older run-action, action do and action fetch."""

from typing import Any

from localjuju import deployment, schema
from localjuju.book import Book
from localjuju.cli.grammar import FORMAT_YAML, arguments, commas, parse_yaml, read_file
from localjuju.cli.rendering import emit, iso
from localjuju.cli.session import Session
from localjuju.entities import Operation, Records, Task
from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote, to_yaml
from localjuju.hook_tools.action import _put
from localjuju.hook_tools.flags import Arguments, option, switch
from localjuju.rendering import go_time
from localjuju.secrets import parse_duration

RUN_FLAGS = (
    option("format", default="plain"), option("o", "output"), option("params"), option("wait"),
    switch("background"), switch("string-args"), option("max-wait"), switch("utc"),
)  # fmt: skip
EXEC_FLAGS = (
    option("format", default="plain"), option("o", "output"), option("u", "unit"), option("machine"),
    option("a", "app", "application"), switch("all"), option("wait"), switch("background"),
    switch("parallel"), option("execution-group"), switch("operator"), option("timeout"), switch("utc"),
)  # fmt: skip
DEFAULT_WAIT_SECONDS = 60.0


def _params(session: Session, args: Arguments, words: list[str]) -> dict[str, Any]:
    """Merge the file of ``--params`` and ``key.key=value`` words, whose values are YAML."""
    params: dict[str, Any] = {}
    name = args.text("params")
    if name:
        loaded = parse_yaml(session.ask_stdin() if name == "-" else read_file(session, name))
        if loaded is not None and not isinstance(loaded, dict):
            raise JujuError("params must contain a YAML map with string keys")
        params.update(loaded or {})
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"argument {go_quote(word)} must be of the form key.key.key...=value")
        parsed = value if args.has("string-args") else parse_yaml(value)
        _put(params, key.split("."), parsed)
    return params


def enqueue(
    records: Records, book: Book, units: list[str], name: str, params: dict[str, Any], command: str
) -> Operation:
    """Queue one task for each unit."""
    receivers = []
    for text in units:
        unit = deployment.find_unit(records, text)
        if not command:
            charm = records.charm_of(unit.app)
            action = charm.actions.get(name)
            if action is None:
                raise JujuError(
                    f"action {go_quote(name)} not defined on unit {go_quote(unit.name)} (not found)"
                )
            params = schema.fill_and_check(action, params)
        receivers.append(unit.name)
    now = book.now()
    what = command or name
    operation = Operation(
        str(records.model.take_number("task", 1)),
        f"{what} run on {','.join('unit-' + r.replace('/', '-') for r in receivers)}",
        [],
        now,
    )
    for receiver in receivers:
        number = str(records.model.take_number("task", 1))
        task_name = "" if command else name
        records.tasks[number] = Task(
            number, operation.id, receiver, task_name, params, command, enqueued=now
        )
        operation.tasks.append(number)
    records.operations[operation.id] = operation
    return operation


def run_action(session: Session) -> int:
    """Run an action on units and wait for the results."""
    args = arguments(session, RUN_FLAGS, least=1, missing="no unit specified")
    units = [word for word in args.positional if "/" in word and "=" not in word]
    rest = [word for word in args.positional if word not in units]
    units = args.positional[: len(units)]
    if not rest or not units:
        raise UsageError("no action specified" if units else "no unit specified")
    params = _params(session, args, rest[1:])
    book = session.book()
    try:
        with book.change() as records:
            operation = enqueue(records, book, units, rest[0], params, "")
    except JujuError as error:
        text = str(error)
        suffix = "" if "(not found)" in text or "not found" not in text else " (not found)"
        raise type(error)(text + suffix) from None
    return _wait_and_show(session, args, book, operation)


def execute(session: Session) -> int:
    """Run commands on units, in a hook context."""
    words = session.words
    command: list[str] = []
    if "--" in words:
        position = words.index("--")
        command, session.words = words[position + 1 :], words[:position]
    args = arguments(session, EXEC_FLAGS)
    command = args.positional + command
    if not command:
        raise UsageError("no commands specified")
    import shlex  # noqa: PLC0415

    script = command[0] if len(command) == 1 else shlex.join(command)
    book = session.book()
    with book.change() as records:
        units = _targets(records, args)
        if not units:
            raise JujuError("no units to run on")
        operation = enqueue(records, book, units, "", {}, script)
    return _wait_and_show(session, args, book, operation)


def _targets(records: Records, args: Arguments) -> list[str]:
    units = commas(args.repeated.get("unit", []))
    for app in commas(args.repeated.get("application", [])):
        units += [
            unit.name for unit in records.units_of(deployment.find_application(records, app).name)
        ]
    for number in commas(args.repeated.get("machine", [])):
        on_machine = [unit.name for unit in records.units.values() if unit.machine == number]
        if not on_machine:
            raise JujuError(f"machine {number} has no unit to run on (not found)")
        units += on_machine[:1]
    if args.has("all"):
        units = sorted(records.units)
    if not units:
        raise UsageError(
            "You must specify a target, either through --all, --machine, --application or --unit"
        )
    return units


def _wait_and_show(session: Session, args: Arguments, book: Book, operation: Operation) -> int:
    count = len(operation.tasks)
    session.err(f"Running operation {operation.id} with {count} task{'s' if count > 1 else ''}\n")
    for number in operation.tasks:
        session.err(
            f"  - task {number} on unit-{book.records.tasks[number].receiver.replace('/', '-')}\n"
        )
    session.err("\n")
    if args.has("background"):
        session.err(f"Check operation status with 'juju show-operation {operation.id}'\n")
        session.err(f"Check task status with 'juju show-task {operation.tasks[0]}'\n")
        return 0
    tasks = [book.records.tasks[number] for number in operation.tasks]
    seconds = _wait_seconds(args)
    if not session.wait(book, lambda: all(task.is_done for task in tasks), seconds):
        session.err(f"ERROR timed out waiting for results from: {_unit_list(tasks)}\n")
        _show_results(session, args, [task for task in tasks if task.is_done])
        return 1
    return _show_results(session, args, tasks)


def _unit_list(tasks: list[Task]) -> str:
    return ", ".join(f"unit {task.receiver}" for task in tasks if not task.is_done)


def _wait_seconds(args: Arguments) -> float | None:
    text = args.text("wait") or args.text("max-wait") or args.text("timeout")
    if not text:
        return DEFAULT_WAIT_SECONDS
    seconds = parse_duration(text)
    if seconds is None:
        raise UsageError(f'invalid value "{text}" for option --wait: parse error')
    return seconds


def describe(task: Task, *, utc: bool = False) -> dict[str, Any]:
    """Return a task as ``juju run --format json`` shows it (juju: cmd/juju/action/common.go)."""
    shown: dict[str, Any] = {"id": task.id, "status": task.status, "unit": task.receiver}
    if task.results:
        shown["results"] = dict(task.results)
    if task.message:
        shown["message"] = task.message
    if task.log:
        shown["log"] = [f"{go_time(stamp, utc=utc)} {text}" for stamp, text in task.log]
    timing = {"enqueued": task.enqueued, "started": task.started, "completed": task.completed}
    shown["timing"] = {key: go_time(value, utc=utc) for key, value in timing.items() if value}
    return shown


def _show_results(session: Session, args: Arguments, tasks: list[Task]) -> int:
    if args.text("format") in {"json", "yaml"}:
        utc = args.has("utc")
        emit(session, args, {task.receiver: describe(task, utc=utc) for task in tasks})
    else:
        for task in tasks:
            _show_plain(session, task, many=len(tasks) > 1)
    failed = [task for task in tasks if task.results.get("return-code", 0) != 0 or (
        task.status in {"failed", "aborted", "cancelled", "error"} and "return-code" not in task.results
    )]  # fmt: skip
    if failed:
        plural = "s" if len(failed) > 1 else ""
        lines = "".join(
            f' - id "{task.id}" with return code {task.results.get("return-code", 1)}\n'
            for task in failed
        )
        session.err(f"ERROR the following task{plural} failed:\n{lines}\n")
        session.err(f"use 'juju show-task' to inspect the failure{plural}\n")
        return 1
    return 0


def _show_plain(session: Session, task: Task, *, many: bool) -> None:
    """Print results for people: the log, what the action set, then its output."""
    for stamp, text in task.log:
        session.out(f"{iso(stamp)[11:19]} {text}\n")
    results = dict(task.results)
    stdout, stderr = results.pop("stdout", ""), results.pop("stderr", "")
    code = results.pop("return-code", 0)
    if task.status == "failed" and task.message and not code:
        session.out(f"Action id {task.id} failed: {task.message}\n")
    if many:
        session.out(f"{task.receiver}:\n")
    if results:
        session.out(to_yaml(results) + "\n")
    if stdout:
        session.out(
            ("\n" if results else "") + str(stdout) + ("" if str(stdout).endswith("\n") else "\n")
        )
    if stderr:
        session.err(str(stderr) + ("" if str(stderr).endswith("\n") else "\n"))


def old_run_action(session: Session) -> int:
    """Queue an action (older spelling); --wait waits for it."""
    flags = (*RUN_FLAGS[:-1],)
    words = ["--wait=1h" if word == "--wait" else word for word in session.words]
    session.words = words
    args = arguments(session, flags, least=2, missing="no unit or action specified")
    unit, name, *rest = args.positional
    params = _params(session, args, rest)
    book = session.book()
    with book.change() as records:
        operation = enqueue(records, book, [unit], name, params, "")
    task = book.records.tasks[operation.tasks[0]]
    if not args.text("wait"):
        session.out(f'Action queued with id: "{task.id}"\n')
        return 0
    session.wait(book, lambda: task.is_done, _wait_seconds(args))
    key = "unit-" + task.receiver.replace("/", "-")
    shown = {key: {"UnitId": task.receiver, **describe(task)}}
    if args.text("format") == "plain":
        args.values["format"] = "yaml"
    emit(session, args, shown)
    return 0


def show_output(session: Session) -> int:
    """Show the results of a task."""
    flags = (*FORMAT_YAML, option("wait"), switch("utc"))
    args = arguments(session, flags, least=1, most=1, missing="no task ID specified")
    book = session.book()
    task = find_task(book.records, args.positional[0])
    seconds = parse_duration(args.text("wait")) if args.text("wait") else 0.0
    session.wait(book, lambda: task.is_done, seconds)
    with book.read():
        shown = describe(task, utc=args.has("utc"))
    emit(session, args, shown)
    return 0


def find_task(records: Records, text: str) -> Task:
    """Return a task by its number, or the first one of an operation."""
    number = text.strip('"')
    if number in records.tasks:
        return records.tasks[number]
    if number in records.operations:
        return records.tasks[records.operations[number].tasks[0]]
    raise JujuError(f"task {go_quote(number)} not found")


def old_action(session: Session) -> int:
    """The oldest spelling: action do UNIT NAME, action fetch ID."""
    if not session.words:
        raise UsageError("expected do, fetch, status or defined")
    verb, *session.words = session.words
    verbs = {
        "do": old_run_action,
        "fetch": show_output,
        "status": show_output,
    }
    if verb not in verbs:
        raise UsageError(f"unrecognized command: juju action {verb}")
    return verbs[verb](session)


COMMANDS = {
    "run": run_action,
    "run-action": old_run_action,
    "exec": execute,
    "show-task": show_output,
    "show-action-output": show_output,
    "show-action-status": show_output,
    "action": old_action,
}
