"""The timer of systemd that gives the charm a hook for a snapshot.

Every unit has it, and the one that leads when it fires takes the snapshot: so it goes on whoever
leads. The calendar is systemd's, and systemd judges it.
"""

import contextlib

from etcd_charm.cluster.errors import NeedsOperator
from etcd_charm.workload import host
from etcd_charm.workload.paths import Paths
from etcd_charm.workload.service import list_dispatch_command, reload_units

EVENT = "scheduled_snapshot"
"""Name of the charm's own event that the timer dispatches."""
SPREAD_S = 30
"""Timers of all models on a cloud that say `daily` need not fire in the same second."""


def keep_timer(paths: Paths, unit: str, calendar: str) -> None:
    """Make the timer what the option says; cheap when it is.

    Raises:
        NeedsOperator: systemd does not understand the calendar event.
    """
    name = f"etcd-snapshot-{unit.replace('/', '-')}"
    timer = paths.find_unit_file(name).with_suffix(".timer")
    service = timer.with_suffix(".service")
    if not calendar:
        if timer.exists():
            with contextlib.suppress(host.ProgramFailed):
                host.run_program(["systemctl", "disable", "--quiet", "--now", timer.name])
            timer.unlink()
            service.unlink(missing_ok=True)
            reload_units()
        return
    text = (
        f"[Unit]\nDescription=Snapshots of {unit}\n\n[Timer]\nOnCalendar={calendar}\n"
        f"RandomizedDelaySec={SPREAD_S}\n\n[Install]\nWantedBy=timers.target\n"
    )
    if timer.is_file() and timer.read_text() == text:
        return
    try:
        host.run_program(["systemd-analyze", "calendar", calendar])
    except host.ProgramFailed as error:
        raise NeedsOperator(f"wrong option snapshot-schedule: {error}") from error
    command = list_dispatch_command(unit, paths.charm, EVENT)
    words = " ".join(host.quote_for_systemd(word) for word in command)
    host.write_file(
        service,
        f"[Unit]\nDescription=A snapshot by {unit}\n\n[Service]\nType=oneshot\nExecStart={words}\n",
        mode=0o644,
    )
    host.write_file(timer, text, mode=0o644)
    reload_units()
    host.run_program(["systemctl", "enable", "--quiet", "--now", timer.name])
    host.run_program(["systemctl", "restart", timer.name])
