"""The engine's systemd service, and the timers that bring a waiting unit back.

Starting never blocks on systemd: a member that waits for its quorum does not report ready, and a
hook must not hang on it. A timer is started with `--no-block` and without a shared name: the hook
that it starts may itself set the next one.
"""

import contextlib
import os
import time
import uuid
from pathlib import Path

from etcd_charm.workload import host

START_WAIT_S = 30.0
"""Recovery of a large data directory takes longer; a timer looks again then."""
POLL_S = 0.2
BEHIND_ANOTHER_S = 30
"""Only counts if the wake before it was about to end; longer than a hook takes on a busy machine."""
WAKE_EVENT = "cluster_wake"
"""Name of the charm's own event that a timer dispatches."""


class Service:
    """One systemd service: the engine under its own name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_running(self) -> bool:
        """Whether the engine's process runs, ready or on its way."""
        return self._read_state() in ("active", "activating", "reloading")

    def is_ready(self) -> bool:
        """Whether the engine has told systemd that it serves clients."""
        return self._read_state() == "active"

    def read_start_progress(self) -> str:
        """Return what the engine says of a start that takes long; nothing once it is ready."""
        try:
            found = host.read_properties(self.name, "ActiveState", "StatusText")
        except host.ProgramFailed:
            return ""
        text = found.get("StatusText", "")
        return f"starting: {text}" if text and found.get("ActiveState") == "activating" else ""

    def _read_state(self) -> str:
        try:
            return host.read_properties(self.name, "ActiveState").get("ActiveState", "")
        except host.ProgramFailed:
            return ""

    def start(self) -> bool:
        """Start the engine; return whether it was ready within the bounded wait."""
        host.enable_service(self.name)
        with contextlib.suppress(host.ProgramFailed):
            host.run_program(["systemctl", "reset-failed", self.name])
        host.run_program(["systemctl", "start", "--no-block", self.name])
        return self.wait_ready(START_WAIT_S)

    def wait_ready(self, wait_s: float) -> bool:
        """Wait for the engine to be ready, or to have failed."""
        deadline_s = time.monotonic() + wait_s
        while time.monotonic() < deadline_s:
            state = self._read_state()
            if state == "active":
                return True
            if state == "failed":
                return False
            time.sleep(POLL_S)
        return False

    def stop(self) -> None:
        """Stop the engine and do not start it at boot."""
        if self.is_known():
            host.disable_service(self.name)
        if self.is_running():
            host.stop_service(self.name)

    def is_known(self) -> bool:
        """Whether systemd has a unit of this name."""
        state = host.read_properties(self.name, "LoadState").get("LoadState", "")
        return state not in ("", "not-found")

    def restart(self) -> bool:
        """Stop and start the engine; return whether it was ready within the bounded wait."""
        host.stop_service(self.name)
        return self.start()


def reload_units() -> None:
    """Make systemd read changed unit files."""
    host.run_program(["systemctl", "daemon-reload"])


def name_wake(unit: str, suffix: str) -> str:
    """Return the name of a transient systemd unit that wakes a Juju unit."""
    return f"etcd-wake-{unit.replace('/', '-')}-{suffix}"


def list_wake_command(unit: str, charm: Path) -> list[str]:
    """Return the command that gives a Juju unit a hook of its own."""
    return list_dispatch_command(unit, charm, WAKE_EVENT)


def list_dispatch_command(unit: str, charm: Path, event: str) -> list[str]:
    """Return the command that runs one of the charm's own events."""
    dispatch = f"JUJU_DISPATCH_PATH=hooks/{event} {charm}/dispatch"
    return ["/usr/bin/juju-exec", "-u", unit, dispatch]


def is_wake() -> bool:
    """Whether this very hook is a wake: its service runs until the hook has ended."""
    return os.environ.get("JUJU_DISPATCH_PATH", "").endswith(f"/{WAKE_EVENT}")


def count_fired_wakes(unit: str) -> int:
    """Return how many wakes of a unit wait for its agent, or run."""
    try:
        listed = host.run_program(
            [
                "systemctl",
                "list-units",
                "--plain",
                "--no-legend",
                "--state=active,activating",
                f"{name_wake(unit, '*')}.service",
            ]
        )
    except host.ProgramFailed:
        return 0
    return len(listed.splitlines())


def schedule_wake(unit: str, charm: Path, after_s: int) -> None:
    """Run a hook of this unit after a while, instead of any timer set before.

    An agent runs commands before hooks of relations. On a busy machine, where hooks take longer
    than timers, several wakes that take turns would keep the news of other units out for ever. So
    while one that has fired waits for the agent, the next is far off: that one sets it anew.
    """
    with contextlib.suppress(host.ProgramFailed):
        host.run_program(["systemctl", "stop", f"{name_wake(unit, '*')}.timer"])
    if count_fired_wakes(unit) > is_wake():
        after_s = max(after_s, BEHIND_ANOTHER_S)
    host.run_program(
        [
            "systemd-run",
            "--no-block",
            "--collect",
            "--quiet",
            f"--unit={name_wake(unit, uuid.uuid4().hex[:8])}",
            f"--on-active={max(1, after_s)}",
            "--timer-property=AccuracySec=200ms",
            *list_wake_command(unit, charm),
        ]
    )
