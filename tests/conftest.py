"""What this machine cannot run is skipped with the reason: machines without root, long tests.

A failure is shown when it happens: a run that is ended from outside has told why by then.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

from localjuju.machines.nspawn import missing_prerequisites

SHOWN_LINES = 30
"""Of a failure, at once: its end, where the exception stands."""

OWN_JUJU = Path(sys.executable).with_name("juju")


def _machines_problem() -> str:
    """Machines are this host's, unless a real Juju comes first in PATH."""
    found = shutil.which("juju")
    if found is not None and Path(found) != OWN_JUJU:
        return ""
    return missing_prerequisites()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    problem = _machines_problem()
    for item in items:
        if problem and item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.skip(reason=problem))
        if item.get_closest_marker("long") and not os.environ.get("RAFTKV_LONG"):
            item.add_marker(pytest.mark.skip(reason="only in ./run test-long"))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not config.option.verbose < 0:
        config.pluginmanager.register(_Failures(terminal))


class _Failures:
    """Shows the end of each failure when it happens; the whole comes when all tests have run."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.failed:
            return
        self._terminal.ensure_newline()
        self._terminal.write_line(f"{report.nodeid} failed ({report.when}):", red=True)
        for line in report.longreprtext.splitlines()[-SHOWN_LINES:]:
            self._terminal.write_line(f"    {line}")
