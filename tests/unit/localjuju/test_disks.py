"""Limits of slow disks in the files of either version of control groups."""

import os
from pathlib import Path

import pytest

from localjuju.errors import JujuError
from localjuju.machines import cgroups, disks

VERSION_ONE = ("blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device")


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The group of machine ``m`` in the only hierarchy, and a disk below every directory."""
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [tmp_path / "groups"])
    number = tmp_path.stat().st_dev
    device = tmp_path / "devices" / f"{os.major(number)}:{os.minor(number)}"
    device.mkdir(parents=True)
    (device / "dev").write_text("253:16\n")
    monkeypatch.setattr(disks, "BLOCK_DEVICES", tmp_path / "devices")
    group = tmp_path / "groups/ljjt/m/box"
    group.mkdir(parents=True)
    return group


def test_version_two_has_one_file(box: Path, tmp_path: Path) -> None:
    (box / "io.max").touch()
    disks.throttle("t", "m", [tmp_path, tmp_path], 4)
    assert (box / "io.max").read_text() == "253:16 riops=4 wiops=4"
    disks.lift("t", "m")
    assert (box / "io.max").read_text() == "253:16 riops=max wiops=max"


def test_version_one_has_two_in_every_group(box: Path, tmp_path: Path) -> None:
    inner = box / "payload/system.slice"
    inner.mkdir(parents=True)
    for group in (box, inner):
        for name in VERSION_ONE:
            (group / name).touch()
    disks.throttle("t", "m", [tmp_path], 7)
    files = [group / name for group in (box, inner) for name in VERSION_ONE]
    assert [file.read_text() for file in files] == ["253:16 7"] * 4
    disks.lift("t", "m")
    assert [file.read_text() for file in files] == ["253:16 0"] * 4


def test_where_there_is_no_controller_for_disks(box: Path, tmp_path: Path) -> None:
    del box
    with pytest.raises(JujuError, match="no control groups for disks"):
        disks.throttle("t", "m", [tmp_path], 4)


def test_memory_has_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "BLOCK_DEVICES", tmp_path)
    with pytest.raises(JujuError, match="no disk lies behind"):
        disks.throttle("t", "m", [tmp_path], 4)


def test_freezing_needs_a_group_that_can(box: Path) -> None:
    with pytest.raises(JujuError, match="neither freezer nor version 2"):
        cgroups.set_frozen("t", "m", frozen=True)
    cgroups.set_frozen("t", "m", frozen=False)
    (box / "cgroup.freeze").touch()
    cgroups.set_frozen("t", "m", frozen=True)
    assert (box / "cgroup.freeze").read_text() == "1"
    (box / "freezer.state").touch()
    cgroups.set_frozen("t", "m", frozen=True)
    assert (box / "freezer.state").read_text() == "FROZEN"
