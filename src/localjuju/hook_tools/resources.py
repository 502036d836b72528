"""Ports, network, storage and the charm's server-side state."""

from localjuju.entities import Unit
from localjuju.errors import JujuError, UsageError
from localjuju.formats import Ordered, go_quote
from localjuju.hook_tools.call import FORMAT_OLD, RELATION, STORAGE, Call, Tool, file_of
from localjuju.hook_tools.flags import FORMAT_SMART, check_empty, key_values, option, switch
from localjuju.hook_tools.relation import settings_file
from localjuju.network import mac_for
from localjuju.ports import Grouped, PortRange, conflict, parse_range
from localjuju.storage import Directive, parse_constraints

STATE_KEY_MAX = 256
STATE_VALUE_MAX = 64 << 10


def open_port(call: Call) -> str:
    """Ask for a port range to be opened when the hook succeeds."""
    wanted = _port(call)
    pending = call.context.pending
    for endpoint in _endpoints(call):
        _forget(pending.closed, endpoint, wanted)
        if _is_new(call, "open", wanted, endpoint, pending.opened):
            pending.opened.setdefault(endpoint, []).append(str(wanted))
    return ""


def close_port(call: Call) -> str:
    """Ask for a port range to be closed when the hook succeeds."""
    wanted = _port(call)
    context, pending = call.context, call.context.pending
    for endpoint in _endpoints(call):
        _forget(pending.opened, endpoint, wanted)
        _is_new(call, "close", wanted, endpoint, pending.closed)
        anything = any(unit.ports for unit in (context.unit, *context.neighbours()))
        if anything and str(wanted) not in pending.closed.get(endpoint, []):
            pending.closed.setdefault(endpoint, []).append(str(wanted))
    return ""


def _port(call: Call) -> PortRange:
    if not call.words:
        raise UsageError("no port or range specified")
    wanted = parse_range(call.words[0])
    check_empty(call.words[1:])
    call.note_old_format()
    return wanted


def _endpoints(call: Call) -> list[str]:
    text = call.text("endpoints")
    return [word.strip() for word in text.split(",")] if text else [""]


def _forget(requests: Grouped, endpoint: str, wanted: PortRange) -> None:
    if str(wanted) in requests.get(endpoint, []):
        requests[endpoint].remove(str(wanted))


def _is_new(call: Call, verb: str, wanted: PortRange, endpoint: str, asked: Grouped) -> bool:
    """Refuse what overlaps; say whether the range is not recorded for the endpoint yet."""
    context = call.context
    taken = conflict(wanted, asked, endpoint=endpoint)
    owner, note = context.unit_name, " requested earlier"
    if taken is None:
        taken, note = conflict(wanted, context.unit.ports, endpoint=endpoint), ""
    for other in context.neighbours():
        if taken is None:
            taken, owner = conflict(wanted, other.ports, endpoint=None), other.name
    if taken:
        raise JujuError(
            f'cannot {verb} {wanted} (unit "{context.unit_name}"): port range conflicts with '
            f'{taken} (unit "{owner}"){note}'
        )
    return taken is None


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
    identifier = call.text("s") or (context.hook.storage if context.hook is not None else "")
    if not identifier:
        raise UsageError("no storage instance specified")
    check_empty(call.words[1:])
    item = context.records.storage[identifier]
    values = {"kind": item.kind, "location": item.location}
    if not call.words or not call.words[0]:
        return call.render(values)
    if call.words[0] not in values:
        raise JujuError(f"invalid storage attribute {go_quote(call.words[0])}")
    return call.render(values[call.words[0]])


def storage_add(call: Call) -> str:
    """Ask for more storage; what the charm does not allow makes the hook fail in the end."""
    if not call.words:
        raise UsageError("storage add requires a storage directive")
    wanted: dict[str, Directive] = {}
    for word in call.words:
        name, *directives = word.split("=")
        if len(directives) > 1 or not name:
            raise UsageError(f'expected "name=constraints" or "name", got {go_quote(word)}')
        if name in wanted:
            raise UsageError(f"storage {go_quote(name)} specified more than once")
        try:
            wanted[name] = parse_constraints(directives[0] if directives else "1")
        except JujuError as error:
            text = f"cannot parse constraints for storage {go_quote(name)}: {error}"
            raise UsageError(text) from None
    for name, directive in wanted.items():
        if directive.pool or directive.size_mib:
            raise UsageError(f"only count can be specified for {go_quote(name)}")
    pending = call.context.pending.storage
    for name, directive in wanted.items():
        pending[name] = pending.get(name, 0) + directive.instances
    return ""


def state_get(call: Call) -> str:
    """Print server-side charm state."""
    check_empty(call.words[1:])
    key = call.words[0] if call.words else ""
    state = call.context.charm_state()
    if not key or key == "-":
        # Where there is no state Juju renders a map that is nil: null in JSON, {} in YAML.
        return call.render(state if state or call.text("format") != "json" else None)
    if key not in state and call.has("strict"):
        raise JujuError(f"{go_quote(key)} not found")
    return call.render(state.get(key, ""))


def state_set(call: Call) -> str:
    """Write server-side charm state when the hook succeeds."""
    values = key_values(call.words)
    if call.text("file"):
        values = {**settings_file(call.read(call.text("file"))), **values}
    for key, value in values.items():
        if len(key.encode()) > STATE_KEY_MAX:
            raise JujuError(f"max allowed key length ({STATE_KEY_MAX}) exceeded")
        if len(value.encode()) > STATE_VALUE_MAX:
            raise JujuError(f"max allowed value length ({STATE_VALUE_MAX}) exceeded")
    call.context.writable_charm_state().update(values)
    return ""


def state_delete(call: Call) -> str:
    """Delete server-side charm state when the hook succeeds."""
    if not call.words:
        return ""
    check_empty(call.words[1:])
    if call.words[0]:
        call.context.writable_charm_state().pop(call.words[0], None)
    return ""


PORT_FLAGS = (
    FORMAT_OLD,
    option(
        "endpoints",
        usage="a comma-delimited list of application endpoints to target with this operation",
    ),
)
PORT_USAGE = "<port>[/<protocol>] or <from>-<to>[/<protocol>] or icmp"
TOOLS = {
    "open-port": Tool(
        open_port, PORT_FLAGS, PORT_USAGE, "Register a request to open a port or port range."
    ),
    "close-port": Tool(
        close_port, PORT_FLAGS, PORT_USAGE, "Register a request to close a port or port range."
    ),
    "opened-ports": Tool(
        opened_ports,
        (
            *FORMAT_SMART,
            switch(
                "endpoints",
                usage="display the list of target application endpoints for each port range",
            ),
        ),
        "",
        "List all ports or port ranges opened by the unit.",
    ),
    "network-get": Tool(
        network_get,
        (
            *FORMAT_SMART,
            RELATION,
            switch(
                "bind-address",
                usage="get the address for the binding on which the unit should listen",
            ),
            switch("ingress-address", usage="get the ingress address for the binding"),
            switch("egress-subnets", usage="get the egress subnets for the binding"),
            switch(
                "primary-address", usage="(deprecated) get the primary address for the binding"
            ),
        ),
        "<binding-name> [--ingress-address] [--bind-address] [--egress-subnets]",
        "Get network config.",
    ),
    "storage-list": Tool(
        storage_list, FORMAT_SMART, "[<storage-name>]", "List storage attached to the unit."
    ),
    "storage-get": Tool(
        storage_get,
        (*FORMAT_SMART, STORAGE),
        "[<key>]",
        "Print information for the storage instance with the specified ID.",
    ),
    "storage-add": Tool(
        storage_add, (), "<charm storage name>[=count] ...", "Add storage instances."
    ),
    "state-get": Tool(
        state_get,
        (
            *FORMAT_SMART,
            switch("strict", usage="Return an error if the requested key does not exist"),
        ),
        "[<key>]",
        "Print server-side-state value.",
    ),
    "state-set": Tool(
        state_set,
        (option("file", usage="file containing key-value pairs", plain=True),),
        "key=value [key=value ...]",
        "Set server-side-state values.",
        reads=file_of,
        absolute=True,
    ),
    "state-delete": Tool(state_delete, (), "<key>", "Delete server-side-state key value pairs."),
}
