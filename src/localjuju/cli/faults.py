"""Faults on purpose: ``localjuju fault crash|freeze|thaw|partition|heal|start UNIT``."""

from collections.abc import Callable

from localjuju import deployment, leadership
from localjuju.cli.grammar import arguments
from localjuju.cli.session import Session
from localjuju.entities import Machine, Records
from localjuju.errors import JujuError, UsageError
from localjuju.model_host import ModelHost

START_SECONDS = 60.0


def fault(session: Session) -> int:
    """Make a machine fail, or mend it: crash freeze thaw partition heal start, then a unit."""
    args = arguments(session, (), least=2, missing="expected a fault and a unit or machine")
    verb, *targets = args.positional
    if verb not in VERBS:
        raise UsageError(f"unknown fault {verb!r}: know {', '.join(VERBS)}")
    host = session.host()
    for target in targets:
        with host.book.read() as records:
            number = deployment.find_unit(records, target).machine if "/" in target else target
            if number not in records.machines:
                raise JujuError(f"machine {number} not found")
        VERBS[verb](session, host, number)
    return 0


def _change(
    host: ModelHost, number: str, change: Callable[[Machine, Records, float], None]
) -> None:
    with host.book.change() as records:
        change(records.machines[number], records, host.book.now())


def _crash(session: Session, host: ModelHost, number: str) -> None:
    """Cut the power: init dies without notice."""

    def note(machine: Machine, records: Records, now: float) -> None:
        machine.wanted = False
        leadership.lose_contact(records, number, now)

    _change(host, number, note)
    host.keepers[number].container.crash()
    session.wait(
        host.book,
        lambda: host.book.records.machines[number].agent.current == "down",
        START_SECONDS,
    )


def _start(session: Session, host: ModelHost, number: str) -> None:
    """Switch a crashed machine on."""

    def note(machine: Machine, records: Records, now: float) -> None:
        del records, now
        machine.wanted = True

    _change(host, number, note)

    def is_up() -> bool:
        machine = host.book.records.machines.get(number)
        return machine is None or not machine.wanted or machine.agent.current == "started"

    session.wait(host.book, is_up, START_SECONDS)
    with host.book.read() as records:
        if records.machines[number].agent.current != "started":
            raise JujuError(
                f"machine {number} did not start: {records.machines[number].status.message}"
            )


def _freeze(session: Session, host: ModelHost, number: str) -> None:
    """Stop every process where it is."""
    del session

    def note(machine: Machine, records: Records, now: float) -> None:
        machine.frozen = True
        leadership.lose_contact(records, number, now)

    host.keepers[number].container.freeze()
    _change(host, number, note)


def _thaw(session: Session, host: ModelHost, number: str) -> None:
    """Let the processes go on."""
    del session

    def note(machine: Machine, records: Records, now: float) -> None:
        machine.frozen = False
        leadership.regain_contact(records, number, now)

    host.keepers[number].container.thaw()
    _change(host, number, note)


def _partition(session: Session, host: ModelHost, number: str) -> None:
    """Pull the network plug."""

    def note(machine: Machine, records: Records, now: float) -> None:
        machine.partitioned = True
        leadership.lose_contact(records, number, now)

    _set_port(session, host, number, "down")
    _change(host, number, note)


def _heal(session: Session, host: ModelHost, number: str) -> None:
    """Put the network plug back."""

    def note(machine: Machine, records: Records, now: float) -> None:
        machine.partitioned = False
        leadership.regain_contact(records, number, now)

    _set_port(session, host, number, "up")
    _change(host, number, note)


def _set_port(session: Session, host: ModelHost, number: str, state: str) -> None:
    network = session.controller.network
    with host.book.read() as records:
        address = records.machines[number].address
    network.set_port(network.port_of(address), state)


VERBS = {
    "crash": _crash,
    "start": _start,
    "freeze": _freeze,
    "thaw": _thaw,
    "partition": _partition,
    "heal": _heal,
}


def retry_provisioning(session: Session) -> int:
    """Try again to start machines that could not be started."""
    args = arguments(session, (), least=1, missing="no machine specified")
    for number in args.positional:
        host = session.host()
        if number not in host.book.records.machines:
            raise JujuError(f"machine {number} not found")
        _start(session, host, number)
    return 0


COMMANDS = {"fault": fault, "retry-provisioning": retry_provisioning}
