"""A model for the operator's verbs: jubilant against whichever `juju` is in PATH.

The charms are the packed ones in `dist` (`./run pack`). One model serves a whole module: the
tests of a module tell one story, in order.
"""

import shutil
from collections.abc import Iterator
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


@contextmanager
def open_model() -> Iterator[jubilant.Juju]:
    """A model of its own, gone at the end; its log is printed."""
    if shutil.which("juju") is None:
        pytest.skip("no juju in PATH")
    for charm in (ETCD, EASYRSA, CONSUMER, AUTHORITY, BUNDLE):
        if not charm.is_file():
            pytest.fail(f"{charm} is missing: ./run pack")
    with jubilant.temp_model() as model:
        model.wait_timeout = TIMEOUT_S
        yield model
        print(model.debug_log(limit=400))


@pytest.fixture(scope="module")
def juju() -> Iterator[jubilant.Juju]:
    with open_model() as model:
        yield model
