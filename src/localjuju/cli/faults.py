"""Faults on purpose: ``localjuju fault crash|freeze|partition|disk-full|slow-disk|clock UNIT``.

``start`` undoes a crash, ``thaw`` a freeze, ``heal`` all the others.
"""

from collections.abc import Callable
from pathlib import Path

from localjuju import deployment, leadership
from localjuju.cli.grammar import arguments
from localjuju.cli.session import Session
from localjuju.entities import Machine, Records, Storage
from localjuju.errors import JujuError, UsageError
from localjuju.hook_tools.flags import Arguments, option, switch
from localjuju.keeper import MachineKeeper
from localjuju.machines import clocks, disks
from localjuju.model_host import ModelHost

START_SECONDS = 60.0


Verb = Callable[[Session, ModelHost, str, Arguments], None]


def fault(session: Session) -> int:
    """Make a machine fail, or mend it.

    juju fault crash UNIT…                     cut the power; start switches it on again
    juju fault freeze UNIT…                    stop all processes; thaw lets them go on
    juju fault partition UNIT… [--in|--out]    pull the network plug, or lose packets one way
    juju fault disk-full UNIT…                 fill the unit's storage (loop or tmpfs)
    juju fault slow-disk UNIT… [--iops=5]      so many reads and writes a second
    juju fault clock UNIT… --by=+5m            a wrong clock for what starts from now on
    juju fault heal UNIT…                      network, disks and clock as they should be
    """
    flags = (switch("in"), switch("out"), option("iops", default="5"), option("by"))
    args = arguments(session, flags, least=2, missing="expected a fault and a unit or machine")
    verb, *targets = args.positional
    if verb not in VERBS:
        raise UsageError(f"unknown fault {verb!r}: know {', '.join(VERBS)}")
    host = session.host()
    for target in targets:
        with host.book.read() as records:
            number = deployment.find_unit(records, target).machine if "/" in target else target
            if number not in records.machines:
                raise JujuError(f"machine {number} not found")
        VERBS[verb](session, host, number, args)
    return 0


def _running(host: ModelHost, number: str) -> MachineKeeper:
    keeper = host.keepers[number]
    if not keeper.container.is_up():
        raise JujuError(f"machine {number} is down")
    return keeper


def _change(
    host: ModelHost, number: str, change: Callable[[Machine, Records, float], None]
) -> None:
    with host.book.change() as records:
        change(records.machines[number], records, host.book.now())


def _crash(session: Session, host: ModelHost, number: str, args: Arguments) -> None:
    """Cut the power: init dies without notice."""
    del args

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


def _start(session: Session, host: ModelHost, number: str, args: Arguments) -> None:
    """Switch a crashed machine on."""
    del args

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


def _freeze(session: Session, host: ModelHost, number: str, args: Arguments) -> None:
    """Stop every process where it is."""
    del session, args

    def note(machine: Machine, records: Records, now: float) -> None:
        machine.frozen = True
        leadership.lose_contact(records, number, now)

    host.keepers[number].container.freeze()
    _change(host, number, note)


def _thaw(session: Session, host: ModelHost, number: str, args: Arguments) -> None:
    """Let the processes go on."""
    del session, args

    def note(machine: Machine, records: Records, now: float) -> None:
        machine.frozen = False
        leadership.regain_contact(records, number, now)

    host.keepers[number].container.thaw()
    _change(host, number, note)


def _partition(session: Session, host: ModelHost, number: str, args: Arguments) -> None:
    """Pull the network plug, or lose what goes in or out."""

    def note(machine: Machine, records: Records, now: float) -> None:
        machine.partitioned = True
        leadership.lose_contact(records, number, now)

    way = "both" if args.has("in") == args.has("out") else "in" if args.has("in") else "out"
    pid = _running(host, number).container.pid
    session.controller.network.cut(_port(session, host, number), pid, way)
    _change(host, number, note)


def _heal(session: Session, host: ModelHost, number: str, args: Arguments) -> None:
    """Mend network, disks and clock."""
    del args

    def note(machine: Machine, records: Records, now: float) -> None:
        machine.partitioned = False
        leadership.regain_contact(records, number, now)

    container = _running(host, number).container
    session.controller.network.heal(_port(session, host, number), container.pid)
    for _, place in _disks(host, number):
        disks.empty(place)
    disks.lift(container.tag, container.name)
    clocks.right(container.live_root, container.call)
    _change(host, number, note)


def _port(session: Session, host: ModelHost, number: str) -> str:
    with host.book.read() as records:
        return session.controller.network.port_of(records.machines[number].address)


def _disks(host: ModelHost, number: str) -> list[tuple[Storage, Path]]:
    """Return the storage of a machine that has a file system to itself."""
    return [
        (item, place)
        for item, place in _storage(host, number)
        if item.provider in {"loop", "tmpfs"}
    ]


def _storage(host: ModelHost, number: str) -> list[tuple[Storage, Path]]:
    with host.book.read() as records:
        units = {unit.name for unit in records.units.values() if unit.machine == number}
        items = [s for s in records.storage.values() if s.unit in units and s.provisioned]
    return [
        (item, Path(host.volumes.provision(item))) for item in items if item.provider != "rootfs"
    ]


def _disk_full(session: Session, host: ModelHost, number: str, args: Arguments) -> None:
    """Leave nothing free on the storage."""
    del session, args
    found = _disks(host, number)
    if not found:
        raise JujuError(
            f"machine {number} has no storage with a file system of its own: "
            "deploy with --storage NAME=loop,64M (its other files lie on this host's disk)"
        )
    for _, place in found:
        disks.fill(place)


def _slow_disk(session: Session, host: ModelHost, number: str, args: Arguments) -> None:
    """Let the machine start few reads and writes a second."""
    del session
    count = args.text("iops")
    if not count.isdecimal() or not int(count):
        raise UsageError(f'invalid value "{count}" for option --iops: a number above 0')
    container = _running(host, number).container
    places = [place for _, place in _storage(host, number)] or [container.directory]
    disks.throttle(container.tag, container.name, places, int(count))


def _clock(session: Session, host: ModelHost, number: str, args: Arguments) -> None:
    """Shift the clock of what starts from now on."""
    del session
    if not args.text("by"):
        raise UsageError("by how much: --by=+5m, --by=-1h, --by='+0 x1.5'")
    container = _running(host, number).container
    clocks.shift(container.live_root, container.call, args.text("by"))


VERBS: dict[str, Verb] = {
    "crash": _crash,
    "start": _start,
    "freeze": _freeze,
    "thaw": _thaw,
    "partition": _partition,
    "disk-full": _disk_full,
    "slow-disk": _slow_disk,
    "clock": _clock,
    "heal": _heal,
}


def retry_provisioning(session: Session) -> int:
    """Try again to start machines that could not be started."""
    args = arguments(session, (), least=1, missing="no machine specified")
    for number in args.positional:
        host = session.host()
        if number not in host.book.records.machines:
            raise JujuError(f"machine {number} not found")
        _start(session, host, number, args)
    return 0


COMMANDS = {"fault": fault, "retry-provisioning": retry_provisioning}
