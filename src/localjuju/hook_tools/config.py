"""config-get, unit-get, resource-get, juju-log, juju-reboot, what is said of payloads and metrics."""

import yaml

from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_list, go_quote
from localjuju.hook_tools.call import FORMAT_OLD, Call, Tool
from localjuju.hook_tools.flags import FORMAT_SMART, check_empty, key_values, option, switch

PAYLOAD_STATES = ["running", "starting", "stopped", "stopping"]

LOG_LEVELS = {
    "TRACE": "TRACE", "DEBUG": "DEBUG", "INFO": "INFO", "WARNING": "WARNING", "WARN": "WARNING",
    "ERROR": "ERROR", "CRITICAL": "CRITICAL", "UNSPECIFIED": "UNSPECIFIED",
}  # fmt: skip


def config_get(call: Call) -> str:
    """Print one option or all."""
    key = call.words[0] if call.words else ""
    if key and call.has("all"):
        raise UsageError(f"cannot use argument --all together with key {go_quote(key)}")
    check_empty(call.words[1:])
    settings = call.context.settings()
    if key:
        return call.render(settings.get(key))
    if call.has("all"):
        return call.render(dict(settings))
    return call.render({name: value for name, value in settings.items() if value is not None})


def application_version_set(call: Call) -> str:
    """Record the workload's version at once."""
    if not call.words:
        raise UsageError("no version specified")
    check_empty(call.words[1:])
    with call.context.book.change():
        call.context.unit.version = call.words[0]
        call.context.app.version = call.words[0]
    return ""


def unit_get(call: Call) -> str:
    """Print this unit's address."""
    if not call.words:
        raise UsageError("no setting specified")
    if call.words[0] not in {"private-address", "public-address"}:
        raise UsageError(f"unknown setting {go_quote(call.words[0])}")
    check_empty(call.words[1:])
    return call.render(call.context.address())


def credential_get(call: Call) -> str:
    """Print the cloud credential of a trusted application."""
    check_empty(call.words)
    if not call.context.app.trust:
        raise JujuError("cannot access cloud credentials: permission denied")
    return call.render({"type": "localhost", "name": "localhost", "region": "localhost"})


def resource_get(call: Call) -> str:
    """Print the path of a resource's file, without a newline."""
    if not call.words:
        raise UsageError("missing required resource name")
    check_empty(call.words[1:])
    if call.context.fetch_resource is None:
        raise JujuError("could not download resource: not available")
    try:
        return call.context.fetch_resource(call.words[0])
    except JujuError as error:
        raise JujuError(f"could not download resource: {error}") from None


def juju_log(call: Call) -> str:
    """Write to the model's log."""
    if not call.words:
        raise UsageError("no message specified")
    call.note_old_format()
    context = call.context
    logger = f"unit.{context.unit_name}.juju-log"
    text = call.text("log-level")
    level = "DEBUG" if call.has("debug") else LOG_LEVELS.get((text or "INFO").upper(), "")
    if not level:
        context.log("WARNING", logger, f"Specified log level of {go_quote(text)} is not valid")
        level = "INFO"
    prefix = ""
    relation = context.hook_relation()
    if relation is not None:
        prefix = f"{context.endpoint(relation)}:{relation.number}: "
    context.log(level, logger, prefix + " ".join(call.words))
    return ""


def juju_reboot(call: Call) -> str:
    """Ask for a reboot after this hook, or now."""
    check_empty(call.words)
    if call.context.kind == "action":
        raise JujuError("juju-reboot is not supported when running an action.")
    call.context.reboot = "now" if call.has("now") else "after"
    return ""


def payload_register(call: Call) -> str:
    """Accept a payload of Juju 3 that the charm declares; nothing here shows payloads."""
    if len(call.words) < 3:
        raise UsageError("missing required arguments")
    kind, name, *_ = call.words
    declared = yaml.safe_load(call.read("metadata.yaml")) or {}
    payloads = declared.get("payloads") or {}
    if name not in payloads:
        raise JujuError(f"payload {go_quote(name)} not found in metadata.yaml")
    expected = str((payloads[name] or {}).get("type", ""))
    if kind != expected:
        raise JujuError(
            f"incorrect type {go_quote(kind)} for payload {go_quote(name)}, "
            f"expected {go_quote(expected)}"
        )
    return ""


def payload_unregister(call: Call) -> str:
    """Accept the end of a payload."""
    if len(call.words) < 2:
        raise UsageError("missing required arguments")
    check_empty(call.words[2:])
    return ""


def payload_status_set(call: Call) -> str:
    """Accept the status of a payload."""
    if len(call.words) < 3:
        raise UsageError("missing required arguments")
    check_empty(call.words[3:])
    status = call.words[2]
    if status not in PAYLOAD_STATES:
        raise JujuError(
            f"status {go_quote(status)} not supported; expected one of {go_list(PAYLOAD_STATES)}"
        )
    return ""


def add_metric(call: Call) -> str:
    """Refuse metrics as Juju does outside collect-metrics, which this model never runs."""
    if not call.words:
        raise UsageError("no metrics specified")
    try:
        metrics = key_values(call.words, empty=False)
    except UsageError as error:
        raise UsageError(f"invalid metrics: {error}") from None
    try:
        key_values(call.text("labels").split(","), empty=False)
    except UsageError as error:
        raise UsageError(f"invalid labels: {error}") from None
    for name in metrics:
        if name.startswith("juju-"):
            raise JujuError(f"{name} uses a reserved prefix")
        raise JujuError("cannot record metric: metrics not allowed in this context")
    return ""


TOOLS = {
    "config-get": Tool(
        config_get,
        (*FORMAT_SMART, switch("a", "all", usage="print all keys")),
        "[<key>]",
        "Print application configuration.",
    ),
    "application-version-set": Tool(
        application_version_set,
        (),
        "<new-version>",
        "Specify which version of the application is deployed.",
    ),
    "unit-get": Tool(
        unit_get, FORMAT_SMART, "<setting>", "Print public-address or private-address."
    ),
    "credential-get": Tool(credential_get, FORMAT_SMART, "", "Access cloud credentials."),
    "resource-get": Tool(
        resource_get, (), "<resource name>", "Get the path to the locally cached resource file."
    ),
    "juju-log": Tool(
        juju_log,
        (
            switch("debug", usage="log at debug level"),
            option("l", "log-level", default="INFO", usage="Send log message at the given level"),
            FORMAT_OLD,
        ),
        "<message>",
        "Write a message to the juju log.",
    ),
    "juju-reboot": Tool(
        juju_reboot,
        (switch("now", usage="reboot immediately, killing the invoking process"),),
        "",
        "Reboot the host machine.",
    ),
    "payload-register": Tool(
        payload_register,
        (),
        "<type> <class> <id> [tags...]",
        "Register a charm payload with Juju.",
        reads=lambda _: ["metadata.yaml"],
        absolute=True,
    ),
    "payload-unregister": Tool(payload_unregister, (), "<class> <id>", "Stop tracking a payload."),
    "payload-status-set": Tool(
        payload_status_set, (), "<class> <id> <status>", "Update the status of a payload."
    ),
    "add-metric": Tool(
        add_metric,
        (option("l", "labels", usage="labels to be associated with metric values"),),
        "key1=value1 [key2=value2 ...]",
        "Add metrics.",
    ),
}
