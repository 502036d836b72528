"""The local model inside a container of its own: machines within a machine.

The container is systemd-nspawn on an overlay of this host, with a network of its own and all
capabilities, as a privileged container of a CI service has. Inside it the state directory lies on
an overlay, so machines live in a tmpfs.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from localjuju.machines.cgroups import hierarchies
from localjuju.machines.nspawn import missing_prerequisites

pytestmark = [pytest.mark.integration, pytest.mark.long]

REPOSITORY = Path(__file__).parents[3]
ROOM = Path(__file__).parent.relative_to(REPOSITORY)
SUITE = [str(ROOM / f"test_{name}.py") for name in ("model", "machines", "faults", "foreign")]

OUTER = r"""set -eu
folder=$1 repository=$2
shift 2
for group in $(cat "$folder/groups"); do echo $$ > "$group/cgroup.procs"; done
mount -t tmpfs nested "$folder/disk"
mkdir "$folder/disk/upper" "$folder/disk/work" "$folder/disk/root"
mount -t overlay nested "$folder/disk/root" \
    -o "lowerdir=/,upperdir=$folder/disk/upper,workdir=$folder/disk/work"
mount -t tmpfs nested /run
mkdir -p /run/systemd/nspawn
exec systemd-nspawn --quiet --register=no --keep-unit --as-pid2 --console=pipe \
    --directory="$folder/disk/root" --machine=nested --capability=all --private-network \
    --link-journal=no --bind-ro="$repository" --bind=/dev/loop-control "$@"
"""

INNER = r"""set -eu
cd "$1"
shift
for number in $(seq 0 63); do
    [ -e "/dev/loop$number" ] || mknod "/dev/loop$number" b 7 "$number"
done
ip link set lo up
grep cgroup /proc/self/mounts
exec "$@"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A directory, and a control group in each hierarchy for the container to see as its root."""
    problem = missing_prerequisites()
    if problem:
        pytest.skip(problem)
    (tmp_path / "disk").mkdir()
    groups = []
    for hierarchy in hierarchies():
        group = hierarchy / f"nested-{os.getpid()}"
        group.mkdir()
        groups.append(group)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (group / name).exists() and not (group / name).read_text().strip():
                (group / name).write_text((hierarchy / name).read_text())
    (tmp_path / "groups").write_text("\n".join(map(str, groups)))
    yield tmp_path
    for group in groups:
        for path, _, _ in os.walk(group, topdown=False):
            with suppress(FileNotFoundError):
                Path(path).rmdir()


@pytest.mark.parametrize(
    ("versions", "mounted"), [("1", "cgroup2 rw"), ("0", "name=systemd")], ids=["two", "one"]
)
def test_the_suite_within_a_container(folder: Path, versions: str, mounted: str) -> None:
    """With control groups of version 2 alone, and with version 1 of which one may be written."""
    command = [
        "unshare", "--mount", "--propagation", "private", "sh", "-c", OUTER, "sh",
        str(folder), str(REPOSITORY), "sh", "-c", INNER, "sh", str(REPOSITORY),
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long", *SUITE,
    ]  # fmt: skip
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": versions,
    }
    assert shutil.which("unshare")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=900, check=False, env=environment
    )
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert mounted in done.stdout
    assert " passed" in done.stdout
