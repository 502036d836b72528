"""Forth to another revision of the charm and back to the former one, under continuous writes.

The former revision is this charm with another engine digest, so that its engine is another
program to Juju and to systemd; `FORMER_CHARM` names a really older one.
"""

import os
import zipfile
from pathlib import Path

import jubilant
import pytest

from tests.integration.etcd.conftest import ETCD, open_model
from tests.integration.etcd.stories import Keys, is_healthy, list_endpoints, wait_healthy
from tests.integration.etcd.test_engine_etcd import find_program
from tests.kit.writer import ContinuousWriter

pytestmark = [pytest.mark.integration, pytest.mark.long]

DIGEST = "engine/digest"


@pytest.fixture(scope="module")
def former(tmp_path_factory) -> Path:
    given = os.environ.get("FORMER_CHARM")
    if given:
        return Path(given)
    target = tmp_path_factory.mktemp("former") / "etcd.charm"
    with zipfile.ZipFile(ETCD) as source, zipfile.ZipFile(target, "w") as altered:
        for entry in source.infolist():
            content = source.read(entry)
            altered.writestr(entry, b"of-before\n" if entry.filename == DIGEST else content)
    return target


@pytest.mark.parametrize("engine", ["raftkv", "etcd"])
def test_the_charm_goes_forth_and_back_member_by_member(former, tmp_path, engine):
    resources = None
    if engine == "etcd":
        resources = {name: str(find_program(name)) for name in ("etcd", "etcdctl")}
    with open_model() as juju:
        juju.deploy(former, "etcd", num_units=3, config={"engine": engine}, resources=resources)
        wait_healthy(juju, 3)
        keys = Keys(juju, tmp_path)
        writer = ContinuousWriter(list_endpoints(juju.status()), keys.tls, 0.02)
        writer.start()
        writer.wait_acknowledged(20, timeout_s=30)
        for name, charm in (("forth", ETCD), ("back", former)):
            seen, failed = len(writer.acknowledged), writer.failures_count
            before = read_programs(juju)
            juju.refresh("etcd", path=charm)

            def is_over(
                status: jubilant.Status, before: dict[str, str] = before, charm: Path = charm
            ) -> bool:
                present = read_programs(juju)
                is_new = engine == "etcd" or all(present[unit] != before[unit] for unit in before)
                return (
                    is_new
                    and is_healthy(status, 3)
                    and jubilant.all_agents_idle(status, "etcd")
                    and read_digests(juju) == {read_digest(charm)}
                )

            juju.wait(is_over, error=jubilant.any_error, successes=1)
            writer.wait_acknowledged(20, timeout_s=30)
            print(
                f"{engine}, {name}: longest pause {writer.longest_pause_s(seen):.2f} s, "
                f"{writer.failures_count - failed} failed"
            )
        writer.stop()
        for endpoint in list_endpoints(juju.status()):
            assert writer.lost([endpoint], keys.tls) == []


def read_programs(juju) -> dict[str, str]:
    """What the members were started with, by unit."""
    look = (
        "for service in raftkvd etcd-member; do "
        "pid=$(systemctl show -p MainPID --value $service); "
        "[ $pid = 0 ] || tr '\\0' ' ' </proc/$pid/cmdline; done"
    )
    return {unit: juju.exec(look, unit=unit).stdout for unit in juju.status().apps["etcd"].units}


def read_digest(charm: Path) -> str:
    with zipfile.ZipFile(charm) as archive:
        return archive.read(DIGEST).decode().strip()


def read_digests(juju) -> set[str]:
    """The digests in the units' charm directories."""
    units = juju.status().apps["etcd"].units
    return {juju.exec(f"cat $CHARM_DIR/{DIGEST}", unit=unit).stdout.strip() for unit in units}
