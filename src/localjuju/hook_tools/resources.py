"""Ports, network, storage and the charm's server-side state."""

from localjuju import storage as storage_rules
from localjuju.entities import Unit
from localjuju.errors import JujuError, UsageError
from localjuju.flush import check_overlap
from localjuju.formats import Ordered, go_quote
from localjuju.hook_tools.call import FORMAT_OLD, RELATION, Call, Tool
from localjuju.hook_tools.flags import FORMAT_SMART, check_empty, key_values, option, switch
from localjuju.network import mac_for
from localjuju.ports import parse_range

STATE_KEY_MAX = 256
STATE_VALUE_MAX = 64 << 10


def open_port(call: Call) -> str:
    """Ask for a port range to be opened when the hook succeeds."""
    text = _port(call)
    others = [
        unit for unit in call.context.records.units.values()
        if unit.machine == call.context.unit.machine and unit.name != call.context.unit_name
    ]  # fmt: skip
    for endpoint in _endpoints(call):
        check_overlap(others, text, endpoint, call.context.unit_name)
        _check_own(call, text)
        _move(call.context.pending.opened, call.context.pending.closed, endpoint, text)
    return ""


def close_port(call: Call) -> str:
    """Ask for a port range to be closed when the hook succeeds."""
    text = _port(call)
    for endpoint in _endpoints(call):
        _move(call.context.pending.closed, call.context.pending.opened, endpoint, text)
    return ""


def _port(call: Call) -> str:
    if not call.words:
        raise UsageError("no port or range specified")
    text = str(parse_range(call.words[0]))
    check_empty(call.words[1:])
    call.note_old_format()
    return text


def _endpoints(call: Call) -> list[str]:
    text = call.text("endpoints")
    return [word.strip() for word in text.split(",")] if text else [""]


def _check_own(call: Call, text: str) -> None:
    """Refuse a range that overlaps another, unequal one of this unit."""
    wanted = parse_range(text)
    unit = call.context.unit
    opened = [*unit.ports.items(), *call.context.pending.opened.items()]
    closed = {item for ranges in call.context.pending.closed.values() for item in ranges}
    for endpoint, ranges in opened:
        for taken in map(parse_range, ranges):
            if taken != wanted and str(taken) not in closed and wanted.overlaps(taken):
                raise JujuError(
                    f'cannot open {wanted} (unit "{unit.name}"): port range conflicts with '
                    f'{taken} (unit "{unit.name}"{_in_endpoint(endpoint)})'
                )


def _in_endpoint(endpoint: str) -> str:
    return f', endpoint "{endpoint}"' if endpoint else ""


def _move(to: dict[str, list[str]], away: dict[str, list[str]], endpoint: str, text: str) -> None:
    if text in away.get(endpoint, []):
        away[endpoint].remove(text)
    if text not in to.setdefault(endpoint, []):
        to[endpoint].append(text)


def opened_ports(call: Call) -> str:
    """List what is open, as committed."""
    check_empty(call.words)
    unit: Unit = call.context.unit
    by_range: dict[str, list[str]] = {}
    for endpoint, ranges in unit.ports.items():
        for text in ranges:
            by_range.setdefault(text, []).append(endpoint or "*")
    lines = []
    for text in sorted(by_range, key=parse_range):
        names = ["*"] if "*" in by_range[text] else sorted(by_range[text])
        lines.append(f"{text} ({', '.join(names)})" if call.has("endpoints") else text)
    return call.render(lines)


def network_get(call: Call) -> str:
    """Print addresses for a binding."""
    relation = call.relation()
    if not call.words:
        raise UsageError("no arguments specified")
    name = call.words[0]
    if not name:
        raise UsageError("no binding name specified")
    check_empty(call.words[1:])
    del relation  # one network: every relation has the addresses of its binding
    if name not in call.context.bindings():
        raise JujuError(f"no network config found for binding {go_quote(name)}")
    address = call.context.address()
    egress = [f"{address}/32"]
    single = {"bind-address": address, "ingress-address": address, "egress-subnets": egress}
    chosen = [key for key in single if call.has(key)]
    if call.has("primary-address"):
        if chosen:
            raise JujuError("--primary-address must be the only flag specified")
        return call.render(address)
    if not chosen:
        return call.render(_whole_network(address, egress, json=call.text("format") == "json"))
    if len(chosen) == 1:
        return call.render(single[chosen[0]])
    return call.render({key: single[key] for key in chosen})


def _whole_network(address: str, egress: list[str], *, json: bool) -> Ordered:
    subnet = address.rpartition(".")[0] + ".0/24"
    entry = Ordered(hostname="", value=address, cidr=subnet)
    mac = mac_for(address)
    bind = Ordered({"mac-address": mac, "interface-name": "eth0", "addresses": [entry]})
    if not json:
        entry["address"] = address
        bind["macaddress"] = mac
        bind["interfacename"] = "eth0"
    return Ordered(
        {"bind-addresses": [bind], "egress-subnets": egress, "ingress-addresses": [address]}
    )


def storage_list(call: Call) -> str:
    """List attached storage."""
    check_empty(call.words[1:])
    name = call.words[0] if call.words else ""
    ids = call.context.storage_ids()
    return call.render([item for item in ids if not name or item.partition("/")[0] == name])


def storage_get(call: Call) -> str:
    """Print kind and location of a storage."""
    context = call.context
    identifier = call.text("s")
    if "s" in call.arguments.given:
        if identifier not in context.records.storage or identifier not in context.storage_ids():
            raise UsageError(
                f"invalid value {go_quote(identifier)} for option -s: storage not found"
            )
    elif context.hook is not None:
        identifier = context.hook.storage
    if not identifier:
        raise UsageError("no storage instance specified")
    check_empty(call.words[1:])
    item = context.records.storage[identifier]
    values = {"kind": item.kind, "location": item.location}
    if not call.words:
        return call.render(values)
    if call.words[0] not in values:
        raise JujuError(f"invalid storage attribute {go_quote(call.words[0])}")
    return call.render(values[call.words[0]])


def storage_add(call: Call) -> str:
    """Ask for more storage when the hook succeeds."""
    if not call.words:
        raise UsageError("storage add requires a storage directive")
    wanted: dict[str, int] = {}
    for word in call.words:
        name, equals, directive = word.partition("=")
        if name in wanted:
            raise UsageError(f"storage {go_quote(name)} specified more than once")
        if equals and not directive:
            raise UsageError("storage constraints require at least one field to be specified")
        if equals and not directive.lstrip("-").isdigit():
            raise UsageError(f"only count can be specified for {go_quote(name)}")
        count = int(directive) if equals else 1
        if count <= 0:
            raise UsageError(
                f"cannot parse constraints for storage {go_quote(name)}: cannot parse count: "
                f'count must be greater than zero, got "{count}"'
            )
        wanted[name] = count
    context = call.context
    for name, count in wanted.items():
        store = storage_rules.declared(context.metadata, name)
        storage_rules.check_count(context.records, context.unit, name, store, count)
        context.pending.storage[name] = context.pending.storage.get(name, 0) + count
    return ""


def state_get(call: Call) -> str:
    """Print server-side charm state."""
    check_empty(call.words[1:])
    key = call.words[0] if call.words else ""
    state = call.context.charm_state()
    if not key or key == "-":
        return call.render(dict(state))
    if key not in state and call.has("strict"):
        raise JujuError(f"{go_quote(key)} not found")
    return call.render(state.get(key, ""))


def state_set(call: Call) -> str:
    """Write server-side charm state when the hook succeeds."""
    values = {k.strip(): v.strip() for k, v in key_values(call.words).items()}
    if call.text("file"):
        from localjuju.hook_tools.relation import _settings_file  # noqa: PLC0415

        values = {**_settings_file(call.read(call.text("file"))), **values}
    for key, value in values.items():
        if len(key.encode()) > STATE_KEY_MAX:
            raise JujuError(f"max key length of {STATE_KEY_MAX} exceeded")
        if len(value.encode()) > STATE_VALUE_MAX:
            raise JujuError(f"max value length of {STATE_VALUE_MAX} exceeded")
    call.context.writable_charm_state().update(values)
    return ""


def state_delete(call: Call) -> str:
    """Delete server-side charm state when the hook succeeds."""
    if not call.words:
        return ""
    check_empty(call.words[1:])
    call.context.writable_charm_state().pop(call.words[0], None)
    return ""


PORT_FLAGS = (FORMAT_OLD, option("endpoints"))
PORT_USAGE = "<port>[/<protocol>] or <from>-<to>[/<protocol>] or icmp"
TOOLS = {
    "open-port": Tool(open_port, PORT_FLAGS, PORT_USAGE, "Register a request to open a port or port range."),
    "close-port": Tool(close_port, PORT_FLAGS, PORT_USAGE, "Register a request to close a port or port range."),
    "opened-ports": Tool(
        opened_ports, (*FORMAT_SMART, switch("endpoints")), "", "List all ports or port ranges opened by the unit."
    ),
    "network-get": Tool(
        network_get,
        (*FORMAT_SMART, RELATION, switch("bind-address"), switch("ingress-address"),
         switch("egress-subnets"), switch("primary-address")),
        "<binding-name> [--ingress-address] [--bind-address] [--egress-subnets]",
        "Get network config.",
    ),
    "storage-list": Tool(storage_list, FORMAT_SMART, "[<storage-name>]", "List storage attached to the unit."),
    "storage-get": Tool(
        storage_get, (*FORMAT_SMART, option("s")), "[<key>]", "Print information for the storage instance."
    ),
    "storage-add": Tool(storage_add, (), "<charm storage name>[=count] ...", "Add storage instances."),
    "state-get": Tool(state_get, (*FORMAT_SMART, switch("strict")), "[<key>]", "Print server-side-state value."),
    "state-set": Tool(
        state_set, (option("file"),), "key=value [key=value ...]", "Set server-side-state values."
    ),
    "state-delete": Tool(state_delete, (), "<key>", "Delete server-side-state key value pairs."),
}  # fmt: skip
