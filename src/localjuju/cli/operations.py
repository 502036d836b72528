"""Operations and tasks that were asked for: list, show, cancel; and the actions of a charm."""

from typing import Any

from localjuju import deployment
from localjuju.cli.actions import describe, find_task
from localjuju.cli.grammar import FORMAT_YAML, arguments, commas
from localjuju.cli.rendering import emit, iso, table
from localjuju.cli.session import Session
from localjuju.entities import Operation, Task
from localjuju.errors import JujuError
from localjuju.formats import go_quote, to_yaml
from localjuju.hook_tools.flags import option, switch
from localjuju.secrets import parse_duration


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
    emit(session, args, _operation(operation, tasks))
    return 0


def _operation(operation: Operation, tasks: list[Task]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "summary": operation.summary,
        "status": _operation_status(tasks),
        "action": {"name": tasks[0].name or "juju-exec", "parameters": tasks[0].params},
        "timing": {"enqueued": iso(operation.enqueued)},
        "tasks": {},
    }
    started = [task.started for task in tasks if task.started]
    if started:
        shown["timing"]["started"] = iso(min(started))
    if all(task.is_done for task in tasks):
        shown["timing"]["completed"] = iso(max(task.completed for task in tasks))
    for task in tasks:
        entry = describe(task)
        entry["host"] = entry.pop("unit")
        shown["tasks"][entry.pop("id")] = entry
    return shown


def _operation_status(tasks: list[Task]) -> str:
    found = {task.status for task in tasks}
    for name in ("running", "pending", "failed", "aborted", "cancelled", "error"):
        if name in found:
            return name
    return "completed"


def operations(session: Session) -> int:
    """List operations."""
    flags = (*FORMAT_YAML, option("apps"), option("units"), option("machines"), option("actions"),
             option("status"), option("limit"), option("offset"), switch("utc"))  # fmt: skip
    args = arguments(session, flags)
    records = session.book().records
    wanted = set(commas(args.repeated.get("units", [])))
    rows, listed = [["ID", "Status", "Started", "Finished", "Task IDs", "Summary"]], {}
    for operation in sorted(records.operations.values(), key=lambda item: int(item.id)):
        tasks = [records.tasks[number] for number in operation.tasks]
        if wanted and not wanted & {task.receiver for task in tasks}:
            continue
        done = all(task.is_done for task in tasks)
        rows.append([
            operation.id, _operation_status(tasks),
            iso(tasks[0].started)[:19] if tasks[0].started else "",
            iso(max(t.completed for t in tasks))[:19] if done else "",
            ",".join(operation.tasks), operation.summary,
        ])  # fmt: skip
        listed[operation.id] = _operation(operation, tasks)
    if "format" in args.given:
        emit(session, args, listed)
    else:
        session.out(table(rows, right={0}) if len(rows) > 1 else "no matching operations\n")
    return 0


def cancel_task(session: Session) -> int:
    """Cancel pending tasks; running ones are aborted."""
    args = arguments(session, FORMAT_YAML, least=1, missing="no task IDs specified")
    host = session.host()
    for text in args.positional:
        task = find_task(host.book.records, text)
        with host.book.change():
            if task.status == "pending":
                task.status, task.completed = "cancelled", host.book.now()
            elif task.status == "running":
                task.status = "aborting"
        agent = host.agents.get(task.receiver)
        if task.status == "aborting" and agent is not None and agent.current is not None:
            agent.current.kill()
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
