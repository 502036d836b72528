"""The engine `etcd`: what may be attached, what is refused, and what is said then."""

import io
import os
import platform
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from ops import testing

from etcd_charm.cluster.errors import NeedsOperator
from etcd_charm.cluster.settings import Settings
from etcd_charm.workload import config_files
from etcd_charm.workload.engine import RestoreOrder, Supplies
from etcd_charm.workload.engine_etcd import (
    EtcdEngine,
    check_machine,
    parse_version,
    unpack_programs,
)
from etcd_charm.workload.paths import Paths
from tests.unit.etcd_charm.test_reconcile_hooks import change
from tests.unit.etcd_charm.test_workload_files import ROOT, authorities, make_wanted, paths

__all__ = ["authorities", "paths"]

OTHER = 183 if platform.machine() != "aarch64" else 62


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little")


def pack(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"etcd-v3.5.0-linux-amd64/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_a_program_for_another_machine_is_refused_by_name(tmp_path):
    program = tmp_path / "etcd"
    program.write_bytes(elf(OTHER))
    with pytest.raises(NeedsOperator, match=f"this machine is {platform.machine()}"):
        check_machine(program, "etcd")


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", elf(62)[:19]])
def test_what_is_no_program_is_refused(tmp_path, content):
    program = tmp_path / "etcd"
    program.write_bytes(content)
    with pytest.raises(NeedsOperator, match="neither a program nor an archive"):
        check_machine(program, "etcd")


def test_a_release_archive_gives_its_programs_and_nothing_else(tmp_path):
    true = Path(shutil.which("true") or "").read_bytes()
    source = pack(tmp_path / "release.tar.gz", etcd=true, etcdctl=true, README=b"read me")
    target = tmp_path / "bin"
    target.mkdir()
    unpack_programs(source, "etcd", target)
    assert sorted(path.name for path in target.iterdir()) == ["etcd", "etcdctl"]
    assert os.access(target / "etcd", os.X_OK)


def test_a_missing_companion_is_asked_for_with_the_command(paths, tmp_path):
    program = tmp_path / "etcd"
    shutil.copyfile(shutil.which("true") or "", program)
    supplies = Supplies("store", {"etcd": program})
    with pytest.raises(NeedsOperator, match=r"juju attach-resource store etcdctl=\./etcdctl"):
        EtcdEngine(paths).install(supplies)


def test_programs_that_are_not_etcd_are_refused(paths, tmp_path):
    files = {}
    for name in ("etcd", "etcdctl"):
        files[name] = tmp_path / name
        shutil.copyfile(shutil.which("true") or "", files[name])
    with pytest.raises(NeedsOperator, match="version"):
        EtcdEngine(paths).install(Supplies("etcd", files))


def test_its_configuration_switches_off_what_cannot_work(paths, authorities):
    engine = EtcdEngine(Paths(charm=ROOT, root=paths.root))
    files = config_files.render_files(
        paths, engine, make_wanted(authorities), Path("/srv/x"), config_files.STEADY
    )
    config = yaml.safe_load(files.config)
    assert config["enable-grpc-gateway"] is False
    assert config["enable-v2"] is False, "it would know nothing of v3's users"
    assert config["ClientTLSInfo"]["CRLFile"].endswith("client.crl")
    assert config["client-transport-security"]["client-cert-auth"] is True
    assert "ExecStart=/" in files.unit_file
    assert "/bin/etcd --config-file" in files.unit_file


@pytest.mark.parametrize(
    ("settings", "serves_v2"),
    [
        (Settings(), False),
        (Settings(enable_v2=True), True),
        (Settings(auth_enabled=False), True),
        (Settings(tls=False), True),
    ],
)
def test_its_v2_and_users_exclude_each_other_unless_asked_for(paths, settings, serves_v2):
    assert EtcdEngine(paths).list_options(settings)["enable-v2"] is serves_v2


@pytest.mark.parametrize(
    ("text", "version"), [("3.4.23", (3, 4)), ("3.6.0-rc.1", (3, 6)), ("x", (0, 0))]
)
def test_versions(text, version):
    assert parse_version(text) == version


def test_a_restore_asks_for_higher_revisions_where_the_tool_can():
    order = RestoreOrder(Path("db"), "etcd0", "https://a:2380", "t", Path("new"), 7)
    assert order.list_arguments()[-3:] == ["--bump-revision", "7", "--mark-compacted"]
    assert "--bump-revision" not in order.list_arguments(can_bump=False)


def test_a_unit_without_an_etcd_says_what_to_type(bench):
    b = bench()
    b.engine.lacks = "no etcd on this machine: run juju attach-resource etcd etcd=./etcd"
    state = testing.State(config={"engine": "etcd"}, relations={testing.PeerRelation("cluster")})
    state = b.run(b.context.on.install(), state)
    assert state.unit_status == testing.BlockedStatus(b.engine.lacks)


def test_the_engine_cannot_be_changed_once_there_is_a_cluster(bench):
    b = bench()
    state = b.found()
    state = b.run(b.context.on.config_changed(), change(state, config={"engine": "etcd"}))
    assert "founded with 'raftkv'" in state.unit_status.message
    assert b.engine.engine == "raftkv"
    assert b.engine.is_running


def test_a_cluster_of_etcd_is_founded_with_the_engine_in_the_claim(bench):
    b = bench()
    state = b.found(config={"engine": "etcd"})
    assert b.engine.engine == "etcd"
    claim = dict(state.get_relations("cluster")[0].local_app_data)["claim"]
    assert '"engine": "etcd"' in claim
