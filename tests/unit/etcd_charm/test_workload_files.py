"""Files on a machine, in a directory that stands for it: keys, configuration, engine, memory."""

import datetime as dt
import os
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from etcd_charm.cluster.errors import NeedsOperator
from etcd_charm.cluster.facts import DataState
from etcd_charm.cluster.settings import Settings
from etcd_charm.workload import config_files, install
from etcd_charm.workload.certificates import (
    is_usable,
    issue_leaf,
    make_authority,
    read_common_name,
)
from etcd_charm.workload.engine import Addresses, Authorities, Wanted
from etcd_charm.workload.engine_raftkv import RaftkvEngine
from etcd_charm.workload.key_files import KeyFiles
from etcd_charm.workload.memory import FirstStart, MemoryFile
from etcd_charm.workload.paths import Paths
from etcd_charm.workload.storage import DataDirectory

ROOT = Path(__file__).resolve().parents[3]
NOW = dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    planes = (make_authority(f"etcd {plane}", NOW) for plane in ("peer", "client", "server"))
    return Authorities(*planes)


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # files belong to whoever runs the tests
    return Paths(charm=ROOT, root=tmp_path)


def make_wanted(authorities: Authorities, **changes) -> Wanted:
    fields = {
        "unit": "etcd/0",
        "member_name": "etcd0",
        "token": "token",
        "settings": Settings(),
        "addresses": Addresses("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1"),
        "peer_url": "https://10.0.0.1:2380",
        "client_url": "https://10.0.0.1:2379",
        "authorities": authorities,
        "server_bundle": authorities.server.certificate,
    }
    return Wanted(**{**fields, **changes})


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_private_and_stay_while_they_fit(paths, authorities):
    keys = KeyFiles(paths)
    keys.write(make_wanted(authorities), NOW)
    before = (paths.tls / "peer.crt").read_bytes()
    authorities_before = keys.hash_authorities()
    assert {mode_of(path) for path in paths.tls.glob("*.key")} == {0o640}
    assert mode_of(paths.admin) == 0o700
    assert mode_of(paths.admin / "root.key") == 0o600
    assert read_common_name((paths.admin / "root.crt").read_text()) == "root"
    assert read_common_name((paths.tls / "peer.crt").read_text()) == "etcd0"
    keys.write(make_wanted(authorities), NOW + dt.timedelta(days=100))
    assert (paths.tls / "peer.crt").read_bytes() == before
    keys.write(make_wanted(authorities), NOW + dt.timedelta(days=320))
    assert (paths.tls / "peer.crt").read_bytes() != before, "renewed before the end"
    assert keys.hash_authorities() == authorities_before, "no engine restarts for a new leaf"
    assert keys.read_days_left(NOW + dt.timedelta(days=320)) == 365


def test_the_listener_trusts_the_client_authority_and_never_the_server_authority(
    paths, authorities
):
    KeyFiles(paths).write(make_wanted(authorities), NOW)
    assert (paths.tls / "client-ca.crt").read_text() == authorities.client.certificate
    assert (paths.tls / "peer-ca.crt").read_text() == authorities.peer.certificate


def test_a_leaf_is_judged_by_signer_names_and_time(authorities):
    leaf = issue_leaf(authorities.peer, "etcd0", ["10.0.0.1", "etcd0"], NOW, serves=True)
    ca = authorities.peer.certificate
    assert is_usable(leaf, ca, "etcd0", ["etcd0", "10.0.0.1"], NOW)
    assert not is_usable(leaf, ca, "etcd0", ["etcd0", "10.0.0.2"], NOW)
    assert not is_usable(leaf, ca, "etcd1", ["etcd0", "10.0.0.1"], NOW)
    assert not is_usable(leaf, authorities.client.certificate, "etcd0", ["etcd0", "10.0.0.1"], NOW)
    late = NOW + dt.timedelta(days=306)
    assert not is_usable(leaf, ca, "etcd0", ["etcd0", "10.0.0.1"], late)


def test_the_configuration_is_what_the_engine_reads(paths, authorities):
    first = FirstStart("etcd0=https://10.0.0.1:2380", "new")
    files = config_files.render_files(
        paths,
        RaftkvEngine(paths),
        make_wanted(authorities),
        Path("/srv/x"),
        config_files.StartMode(first),
    )
    config = yaml.safe_load(files.config)
    assert config["name"] == "etcd0"
    assert config["initial-cluster-state"] == "new"
    assert config["listen-client-urls"] == "https://0.0.0.0:2379"
    assert config["client-transport-security"]["client-cert-auth"] is True
    assert config["client-transport-security"]["trusted-ca-file"].endswith("client-ca.crt")
    assert config["quota-backend-bytes"] == 2 << 30
    assert config["strict-reconfig-check"] is True
    assert "ReadWritePaths=/srv/x" in files.unit_file
    assert "PRIVATE" not in files.config + files.environment + files.unit_file


def test_after_the_first_start_the_configuration_can_found_nothing(paths, authorities):
    files = config_files.render_files(
        paths, RaftkvEngine(paths), make_wanted(authorities), Path("/srv/x"), config_files.STEADY
    )
    config = yaml.safe_load(files.config)
    assert config["initial-cluster-state"] == "existing"


@pytest.mark.parametrize(
    ("bind", "everywhere", "listeners"),
    [
        ("10.0.0.1", True, "https://0.0.0.0:1"),
        ("10.0.0.1", False, "https://10.0.0.1:1,https://127.0.0.1:1"),
        ("fd00::1", True, "https://[::]:1"),
        ("fd00::1", False, "https://[fd00::1]:1,https://127.0.0.1:1"),
    ],
)
def test_listeners(bind, everywhere, listeners):
    assert config_files.list_listeners(bind, 1, everywhere=everywhere, loopback=True) == listeners


def test_data_is_told_apart_by_its_cluster(paths):
    memory = MemoryFile(paths.memory)
    data = DataDirectory(paths, memory)
    assert data.read_state("token", None) is DataState.NEW
    directory = data.create("token", None)
    assert data.read_state("token", None) is DataState.NEW
    (directory / "wal").touch()
    assert data.read_state("token", None) is DataState.OURS
    assert data.read_state("other", None) is DataState.FOREIGN
    assert data.read_state("", None) is DataState.FOREIGN
    assert paths.data.resolve() == directory.resolve()
    (directory / "member").mkdir()
    (directory / "member" / "diverged").write_text("7\n")
    assert data.read_state("token", None) is DataState.DIVERGED
    assert data.read_state("other", None) is DataState.FOREIGN
    aside = data.set_aside()
    assert (aside / "wal").exists(), "nothing is deleted"
    assert data.read_state("token", None) is DataState.NEW


def test_storage_attached_later_does_not_hide_the_data(paths, tmp_path):
    data = DataDirectory(paths, MemoryFile(paths.memory))
    (data.create("token", None) / "wal").touch()
    late = tmp_path / "storage"
    late.mkdir()
    assert data.read_state("token", late) is DataState.OURS


def test_data_moves_to_storage_that_comes_later_and_the_copy_stays_until_it_is_dropped(
    paths, tmp_path
):
    memory = MemoryFile(paths.memory)
    data = DataDirectory(paths, memory)
    directory = data.create("token", None)
    (directory / "wal").write_bytes(b"log")
    late = tmp_path / "storage"
    late.mkdir()
    assert data.find_target(late) == late
    data.check_target(late)
    data.move(late)
    assert (late / "data/wal").read_bytes() == b"log"
    assert data.read_state("token", late) is DataState.OURS
    assert data.find_target(late) is None
    assert paths.data.resolve() == late / "data"
    assert (directory / "wal").exists()
    data.drop_former()
    assert not directory.exists()
    assert memory.load().former_home == ""


def test_storage_that_holds_something_is_not_overwritten(paths, tmp_path):
    data = DataDirectory(paths, MemoryFile(paths.memory))
    (data.create("token", None) / "wal").touch()
    late = tmp_path / "storage"
    (late / "data").mkdir(parents=True)
    (late / "data/other").touch()
    with pytest.raises(NeedsOperator, match="holds data already"):
        data.check_target(late)


def test_an_empty_mount_point_is_not_an_empty_member(paths, tmp_path):
    storage = tmp_path / "storage"
    storage.mkdir()
    memory = MemoryFile(paths.memory)
    data = DataDirectory(paths, memory)
    (data.create("token", storage) / "wal").touch()
    memory.change(home_was_mount=True)
    assert data.read_state("token", storage) is DataState.UNMOUNTED


def test_storage_of_this_member_is_known_again_under_another_name(paths, tmp_path):
    first, second = tmp_path / "data-0", tmp_path / "data-1"
    first.mkdir()
    data = DataDirectory(paths, MemoryFile(paths.memory))
    (data.create("token", first) / "wal").touch()
    first.rename(second)
    assert data.read_state("token", None) is DataState.DETACHED
    assert data.read_state("token", second) is DataState.OURS
    assert paths.data.resolve() == second / "data"


def test_what_a_newer_charm_remembered_does_not_hinder_the_way_back(paths):
    memory = MemoryFile(paths.memory)
    memory.change(founded_token="t")
    text = paths.memory.read_text().replace("{", '{"from_the_future": 1,', 1)
    paths.memory.write_text(text)
    assert memory.load().founded_token == "t"


def test_storage_that_goes_is_seen(paths, tmp_path):
    storage = tmp_path / "storage"
    storage.mkdir()
    data = DataDirectory(paths, MemoryFile(paths.memory))
    (data.create("token", storage) / "wal").touch()
    assert data.read_state("token", storage) is DataState.OURS
    assert data.read_state("token", None) is DataState.DETACHED


def test_memory_survives_and_is_private(paths):
    memory = MemoryFile(paths.memory)
    memory.change(first_start=FirstStart("a=b", "new"), founded_token="t")
    again = MemoryFile(paths.memory).load()
    assert again.first_start == FirstStart("a=b", "new")
    assert again.founded_token == "t"
    assert mode_of(paths.memory) == 0o600


def fits(*names: str) -> list[str]:
    return install.choose_wheels(["raftkv-0.1.0-py3-none-any.whl", *names])


def test_wheels_are_chosen_by_their_tags(monkeypatch):
    monkeypatch.setattr(install.sys, "version_info", (3, 11, 2))
    monkeypatch.setattr(install.platform, "machine", lambda: "x86_64")
    right = "lmdb-3.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    assert right in fits(right, "lmdb-3.0-cp312-cp312-manylinux2014_x86_64.whl")
    assert fits("x-1-cp39-abi3-manylinux_2_28_x86_64.whl")
    with pytest.raises(NeedsOperator, match="lmdb"):
        fits("lmdb-3.0-cp311-cp311-manylinux2014_aarch64.whl")
    with pytest.raises(NeedsOperator, match="raftkv"):
        install.choose_wheels([])


def test_an_engine_is_installed_without_network_and_switched_by_a_link(paths, tmp_path):
    charm = tmp_path / "charm"
    wheelhouse = charm / "engine"
    wheelhouse.mkdir(parents=True)

    def put_wheel(version: str) -> None:
        for old in wheelhouse.glob("*.whl"):
            old.unlink()
        wheel = wheelhouse / f"raftkv-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("raftkv/__init__.py", "")
            archive.writestr("raftkv/__main__.py", "def main():\n    print('hello')\n")
            points = "[console_scripts]\nraftkvd = raftkv.__main__:main\n"
            archive.writestr(f"raftkv-{version}.dist-info/entry_points.txt", points)

    put_wheel("0.1.0")
    machine = Paths(charm=charm, root=paths.root)
    empty = tmp_path / "placeholder"
    empty.touch()
    assert install.install_engine(machine, empty) == "0.1.0"
    first = machine.engine.resolve()
    assert install.host.run_program([str(machine.commands / "raftkvd")]) == "hello\n"
    assert install.install_engine(machine, None) == "0.1.0"
    assert machine.engine.resolve() == first
    put_wheel("0.2.0")
    assert install.install_engine(machine, None) == "0.2.0"
    assert machine.engine.resolve() != first
    assert first.is_dir(), "the version before stays"


def test_an_attached_bundle_wins_over_the_wheels_of_the_charm(paths, tmp_path):
    wheel = tmp_path / "raftkv-0.9.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("raftkv/__init__.py", "")
    bundle = tmp_path / "bundle.tar.gz"
    with tarfile.open(bundle, "w:gz") as archive:
        archive.add(wheel, arcname=f"some/folder/{wheel.name}")
    machine = Paths(charm=tmp_path / "no-charm", root=paths.root)
    assert install.install_engine(machine, bundle) == "0.9.0"
    assert machine.engine.resolve().name.startswith("bundle-")


def test_a_clean_end_of_the_engine_wakes_the_charm_and_a_crash_does_not(paths, authorities):
    files = config_files.render_files(
        paths, RaftkvEngine(paths), make_wanted(authorities), Path("/srv/x"), config_files.STEADY
    )
    assert "hooks/cluster_wake" in files.wake
    assert f"ExecStopPost=+-{paths.wake}" in files.unit_file
    crashed = {"SERVICE_RESULT": "exit-code", "PATH": "/nonexistent"}
    done = subprocess.run(["/bin/sh", "-c", files.wake], env=crashed, check=False)
    assert done.returncode == 0, "it ends before it would start anything"
