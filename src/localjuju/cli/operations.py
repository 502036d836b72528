"""Operations and tasks that were asked for: list, show, cancel; and the actions of a charm."""

from typing import Any

from localjuju import deployment
from localjuju.cli.actions import describe, find_task
from localjuju.cli.grammar import FORMAT_YAML, arguments, commas, number
from localjuju.cli.rendering import emit, table
from localjuju.cli.session import Session
from localjuju.entities import Operation, Records, Task
from localjuju.errors import JujuError
from localjuju.formats import go_quote, to_yaml
from localjuju.hook_tools.flags import Arguments, option, switch
from localjuju.rendering import go_time, plain_time
from localjuju.secrets import parse_duration

OPERATIONS_MAX = 50
TASKS_MAX = 5


def show_operation(session: Session) -> int:
    """Show an operation with its tasks."""
    flags = (*FORMAT_YAML, option("wait"), switch("utc"), switch("watch"))
    args = arguments(session, flags, least=1, most=1, missing="no operation ID specified")
    book = session.book()
    operation = book.records.operations.get(args.positional[0])
    if operation is None:
        raise JujuError(f"operation {go_quote(args.positional[0])} not found")
    tasks = [book.records.tasks[number] for number in operation.tasks]
    if args.text("wait"):
        session.wait(
            book, lambda: all(t.is_done for t in tasks), parse_duration(args.text("wait"))
        )
    emit(session, args, _operation(operation, tasks, utc=args.has("utc")), ordered=True)
    return 0


def _operation(operation: Operation, tasks: list[Task], *, utc: bool) -> dict[str, Any]:
    """Return an operation as Juju's ``operationInfo`` has it, fields in its order."""
    first = tasks[0]
    shown: dict[str, Any] = {"summary": operation.summary, "status": _operation_status(tasks)}
    shown["action"] = {"name": first.name or "juju-exec", "parameters": _parameters(first)}
    timing = {"enqueued": operation.enqueued, **_span(tasks)}
    shown["timing"] = {key: go_time(when, utc=utc) for key, when in timing.items() if when}
    shown["tasks"] = {}
    for task in tasks:
        told = describe(task, utc=utc)
        fields = ("status", "timing", "log", "message", "results")
        entry = {"host": task.receiver, **{name: told[name] for name in fields if name in told}}
        order = ("enqueued", "started", "completed")
        entry["timing"] = {
            name: entry["timing"][name] for name in order if name in entry["timing"]
        }
        if "results" in entry:
            entry["results"] = dict(sorted(entry["results"].items()))
        shown["tasks"][task.id] = entry
    return shown


def _parameters(task: Task) -> dict[str, Any]:
    return {"command": task.command, "timeout": 0} if task.command else dict(task.params)


def _span(tasks: list[Task]) -> dict[str, float]:
    """Return when the first task was started and, if all have ended, when the last one was."""
    started = [task.started for task in tasks if task.started]
    done = all(task.is_done for task in tasks)
    return {
        "started": min(started, default=0.0),
        "completed": max(task.completed for task in tasks) if done else 0.0,
    }


def _operation_status(tasks: list[Task]) -> str:
    found = {task.status for task in tasks}
    for name in ("running", "pending", "failed", "aborted", "cancelled", "error"):
        if name in found:
            return name
    return "completed"


def operations(session: Session) -> int:
    """List operations."""
    flags = (option("format", default="plain"), option("o", "output"), option("apps"),
             option("applications"), option("units"), option("machines"), option("actions"),
             option("status"), option("limit"), option("offset"), switch("utc"))  # fmt: skip
    args = arguments(session, flags)
    utc, limit, offset = args.has("utc"), number(args, "limit"), number(args, "offset")
    with session.book().read() as records:
        found = []
        for operation in sorted(records.operations.values(), key=lambda item: int(item.id)):
            tasks = [records.tasks[number] for number in operation.tasks]
            if _is_wanted(records, args, tasks):
                found.append((operation, tasks))
    shown = found[offset : offset + (limit or OPERATIONS_MAX)]
    more = len(found) > offset + len(shown)
    if not shown:
        session.err("no matching operations\n")
    elif args.text("format") != "plain":
        listed = {o.id: _operation(o, tasks, utc=utc) for o, tasks in shown}
        emit(session, args, listed, ordered=True)
    else:
        if offset or more:
            session.out(f"Displaying operation results {offset + 1} to {offset + len(shown)}.\n")
        if more:
            step = limit or OPERATIONS_MAX
            session.out(
                f"Run the command again with --offset={offset + step} --limit={step} "
                "to see the next batch.\n\n"
            )
        session.out(table(_rows(shown, utc=utc), right={0}))
    return 0


def _rows(shown: list[tuple[Operation, list[Task]]], *, utc: bool) -> list[list[str]]:
    rows = [["ID", "Status", "Started", "Finished", "Task IDs", "Summary"]]
    for operation, tasks in shown:
        span = _span(tasks)
        numbers = ",".join(operation.tasks[:TASKS_MAX]) + "..." * (len(tasks) > TASKS_MAX)
        rows.append([
            operation.id, _operation_status(tasks), plain_time(span["started"], utc=utc),
            plain_time(span["completed"], utc=utc), numbers, operation.summary,
        ])  # fmt: skip
    return rows


def _is_wanted(records: Records, args: Arguments, tasks: list[Task]) -> bool:
    """Say whether an operation fits every filter: one value of each that was given."""
    receivers = {task.receiver for task in tasks}
    units = [records.units[name] for name in receivers if name in records.units]
    known = {
        "apps": {name.partition("/")[0] for name in receivers},
        "applications": {name.partition("/")[0] for name in receivers},
        "units": receivers,
        "machines": {unit.machine for unit in units},
        "actions": {task.name or "juju-exec" for task in tasks},
        "status": {_operation_status(tasks)},
    }
    wanted = {name: set(commas(args.repeated.get(name, []))) for name in known}
    return all(not values or values & known[name] for name, values in wanted.items())


def cancel_task(session: Session) -> int:
    """Cancel pending tasks; running ones are aborted."""
    args = arguments(session, FORMAT_YAML, least=1, missing="no task IDs specified")
    host = session.host()
    cancelled, failed = [], []
    for text in args.positional:
        try:
            task = find_task(host.book.records, text)
        except JujuError as error:
            failed.append(f"task: {text}, error: {error}\n")
            continue
        with host.book.change():
            if task.status == "pending":
                task.status, task.completed = "cancelled", host.book.now()
            elif task.status == "running":
                task.status = "aborting"
            # Told is what this command did: its agent may be done with it a moment later.
            status, completed = task.status, task.completed
        agent = host.agents.get(task.receiver)
        run = agent.current if agent is not None else None
        if status == "aborting" and run is not None:
            run.kill()
        when = plain_time(completed, utc=True).replace("T", " ") or "n/a"
        cancelled.append({
            "action": task.name or "juju-exec", "completed at": when, "id": task.id,
            "status": status, "unit": task.receiver,
        })  # fmt: skip
    if cancelled:
        emit(session, args, {"actions": cancelled})
    if failed:
        session.err("WARNING The following tasks could not be canceled:\n" + "".join(failed))
    return 0


def list_actions(session: Session) -> int:
    """List the actions of an application."""
    flags = (option("format", default="default"), option("o", "output"), switch("schema"))
    args = arguments(session, flags, least=1, most=1, missing="no application name specified")
    with session.book().read() as records:
        app = deployment.find_application(records, args.positional[0])
        actions = {
            name: body
            for name, body in records.charms[app.charm].actions.items()
            if isinstance(body, dict)
        }
    if args.has("schema") and args.text("format") == "default":
        args.values["format"] = "yaml"
    if args.text("format") in {"json", "yaml"}:
        emit(session, args, actions)
        return 0
    rows = [["Action", "Description"]]
    for name, body in sorted(actions.items()):
        rows.append([name, str(body.get("description", "")).strip().partition("\n")[0]])
    session.out(table(rows))
    return 0


def show_action(session: Session) -> int:
    """Describe one action of an application."""
    args = arguments(session, least=2, most=2, missing="no application name specified")
    name, wanted = args.positional
    with session.book().read() as records:
        app = deployment.find_application(records, name)
        found = records.charms[app.charm].actions.get(wanted)
    if found is None:
        raise JujuError(f"unknown action {go_quote(wanted)}")
    session.out(str(found.get("description") or "No description") + "\n")
    params = found.get("params") or {}
    if params:
        session.out("\nArguments\n" + to_yaml(params) + "\n")
    return 0


COMMANDS = {
    "show-operation": show_operation,
    "operations": operations,
    "list-operations": operations,
    "cancel-task": cancel_task,
    "cancel-action": cancel_task,
    "actions": list_actions,
    "show-action": show_action,
    "list-actions": list_actions,
}
