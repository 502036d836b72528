"""A model for the operator's verbs: jubilant against whichever `juju` is in PATH.

The charms are the packed ones in `dist` (`./run pack`). One model serves a whole module: the
tests of a module tell one story, in order.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jubilant
import pytest

ROOT = Path(__file__).resolve().parents[3]
ETCD = ROOT / "dist/etcd.charm"
EASYRSA = ROOT / "dist/easyrsa.charm"
CONSUMER = ROOT / "dist/etcd-consumer.charm"
AUTHORITY = ROOT / "dist/csr-authority.charm"
BUNDLE = ROOT / "dist/raftkv-engine.tar.gz"
TIMEOUT_S = 600.0
"""On a machine that does other things as well; where it is idle nothing takes a quarter of it."""


class Model(jubilant.Juju):
    """What cannot come right is not waited for: a machine that does not start ends a wait."""

    def wait(
        self,
        ready: Callable[[jubilant.Status], bool],
        *,
        error: Callable[[jubilant.Status], bool] | None = None,
        delay: float = 1.0,
        timeout: float | None = None,
        successes: int = 3,
    ) -> jubilant.Status:
        """Wait as jubilant does. Raises jubilant.WaitError for a machine without hope as well."""

        def is_without_hope(status: jubilant.Status) -> bool:
            machines = status.machines.values()
            failed = any("error" in machine.machine_status.current for machine in machines)
            return failed or (error is not None and error(status))

        return super().wait(
            ready, error=is_without_hope, delay=delay, timeout=timeout, successes=successes
        )


@contextmanager
def open_model() -> Iterator[jubilant.Juju]:
    """A model of its own, gone at the end; its log is printed."""
    if shutil.which("juju") is None:
        pytest.skip("no juju in PATH")
    for charm in (ETCD, EASYRSA, CONSUMER, AUTHORITY, BUNDLE):
        if not charm.is_file():
            pytest.fail(f"{charm} is missing: ./run pack")
    model = Model(wait_timeout=TIMEOUT_S)
    name = f"test-{secrets.token_hex(4)}"
    model.add_model(name)
    try:
        yield model
        print(model.debug_log(limit=400))
    finally:
        model.destroy_model(name, destroy_storage=True, force=True)


@pytest.fixture(scope="module")
def juju() -> Iterator[jubilant.Juju]:
    with open_model() as model:
        yield model
