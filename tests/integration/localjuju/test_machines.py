"""Real machines: busy mounts, reboots, neighbours, a full disk below the state; nothing stays behind."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jubilant
import pytest

from localjuju.machines.nspawn import missing_prerequisites
from localjuju.paths import state_tag
from tests.integration.localjuju.conftest import JUJU, pack
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.integration

MACHINES = 5
START_S = 5.0 if os.environ.get("RAFTKV_LONG") else 60.0
HOOKS = "/var/lib/juju/agents/unit-barge-{}/events"


@pytest.fixture(scope="module")
def charm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack("plain/charms/barge", tmp_path_factory.mktemp("charms"))


@pytest.fixture(scope="module")
def canal(state: Path, charm: Path) -> Iterator[jubilant.Juju]:
    """Two units with storage."""
    model = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=60)
    model.add_model("canal", config={"localjuju-busy-seconds": 3600})
    model.deploy(charm, num_units=2, storage={"hold": "loop,16M"})
    model.wait(jubilant.all_agents_idle, delay=0.1)
    yield model
    with contextlib.suppress(jubilant.CLIError):
        model.destroy_model("canal", destroy_storage=True, force=True)


def events(juju: jubilant.Juju, number: int) -> list[str]:
    text = juju.ssh(f"barge/{number}", "sudo", "cat", HOOKS.format(number))
    return [line.split()[0] for line in text.splitlines()]


def root(juju: jubilant.Juju, unit: str, script: str) -> str:
    return juju.ssh(unit, "sudo", "sh", "-c", f"'{script}'").strip()


def test_a_mount_in_use_is_seen_and_let_go_when_it_is_free(canal: jubilant.Juju) -> None:
    busy = "cd /var/lib/juju/storage/hold/0 && systemd-run -q --unit=sitter --same-dir sleep 999"
    root(canal, "barge/0", busy)
    canal.cli("detach-storage", "hold/0")
    canal.wait(lambda _: "busy" in canal.cli("status", "--storage"), delay=0.1)
    item = json.loads(canal.cli("storage", "--format", "json"))["storage"]["hold/0"]
    assert item["status"]["current"] == "detaching"
    assert "busy" in item["status"]["message"]
    canal.cli("config", "barge", "speed=8")
    canal.wait(lambda _: events(canal, 0)[-1] == "config-changed", delay=0.1)
    assert events(canal, 0)[-2] == "hold-storage-detaching"
    assert "hold/0" in root(canal, "barge/0", "mount")
    root(canal, "barge/0", "systemctl stop sitter")
    canal.wait(
        lambda status: status.storage.storage["hold/0"].status.current == "detached", delay=0.1
    )
    assert "hold/0" not in root(canal, "barge/0", "mount")


def test_storage_goes_to_another_unit_with_its_content(canal: jubilant.Juju) -> None:
    canal.cli("add-storage", "barge/1", "hold=tmpfs,8M")
    canal.wait(lambda _: events(canal, 1)[-1] == "hold-storage-attached", delay=0.1)
    root(canal, "barge/1", "echo oats > /var/lib/juju/storage/hold/1/cargo")
    canal.cli("detach-storage", "hold/1")
    canal.wait(
        lambda status: status.storage.storage["hold/1"].status.current == "detached", delay=0.1
    )
    canal.cli("attach-storage", "barge/0", "hold/1")
    canal.wait(lambda _: events(canal, 0)[-1] == "hold-storage-attached", delay=0.1)
    assert root(canal, "barge/0", "cat /var/lib/juju/storage/hold/1/cargo") == "oats"
    canal.cli("remove-storage", "--force", "hold/1")
    canal.wait(lambda status: "hold/1" not in status.storage.storage, delay=0.1)
    assert events(canal, 0)[-1] == "hold-storage-detaching"


@pytest.mark.parametrize("flag", ["", "--now"])
def test_a_reboot_out_of_a_hook(canal: jubilant.Juju, flag: str) -> None:
    boots = root(canal, "barge/1", "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1")
    before = events(canal, 1)
    once = "$CHARM_DIR/../rebooted" + flag
    order = (
        f'if [ "$name" = config-changed -a ! -e "{once}" -a "$JUJU_UNIT_NAME" = barge/1 ]; '
        f'then touch "{once}"; juju-reboot {flag}; echo passed > "$CHARM_DIR/../passed{flag}"; fi'
    )
    canal.config("barge", {"order": order})
    runs = 2 if flag else 1  # --now kills the hook, which is run again; otherwise it has counted
    canal.wait(
        lambda status: (
            status.machines["1"].juju_status.current == "started"
            and status.apps["barge"].units["barge/1"].juju_status.current == "idle"
            and sorted(events(canal, 1)[len(before) :]) == ["config-changed"] * runs + ["start"]
        ),
        delay=0.1,
    )
    assert boots != root(
        canal, "barge/1", "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1"
    )
    passed = root(
        canal, "barge/1", f"ls /var/lib/juju/agents/unit-barge-1 | grep -c passed{flag}$ || :"
    )
    assert passed == ("0" if flag else "1")
    canal.config("barge", {"order": ""})
    canal.wait(jubilant.all_agents_idle, delay=0.1)


@pytest.mark.long
def test_a_service_that_hangs_at_boot_keeps_nobody_from_working(canal: jubilant.Juju) -> None:
    """A minute is waited for it."""
    unit = "[Service]\\nType=oneshot\\nTimeoutStartSec=infinity\\nExecStart=/bin/sleep infinity"
    folder = "/etc/systemd/system"
    root(canal, "barge/1", f'printf "{unit}\\n" > {folder}/mud.service')
    root(canal, "barge/1", f"ln -s ../mud.service {folder}/multi-user.target.wants")
    before = len(events(canal, 1))
    canal.cli("exec", "--unit", "barge/1", "--", "juju-reboot")
    canal.wait(lambda status: status.machines["1"].juju_status.current == "down", delay=0.1)
    canal.wait(
        lambda status: status.machines["1"].juju_status.current == "started",
        delay=0.5,
        timeout=120,
    )
    log = canal.cli("debug-log", "--limit", "50")
    assert "its start-up has not finished" in log
    assert "mud.service start running" in log
    canal.wait(lambda _: "start" in events(canal, 1)[before:], delay=0.1)
    root(canal, "barge/1", f"rm {folder}/multi-user.target.wants/mud.service; systemctl kill mud")


def test_ports_exposure_and_credentials(canal: jubilant.Juju) -> None:
    canal.exec("open-port 8081/tcp; open-port 90-92/udp --endpoints pier", unit="barge/0")
    app = canal.status().apps["barge"]
    assert sorted(app.units["barge/0"].open_ports) == ["8081/tcp", "90-92/udp"]
    assert not app.exposed
    canal.cli("expose", "barge", "--endpoints", "pier", "--to-cidrs", "10.0.0.0/8")
    assert canal.status().apps["barge"].exposed
    shown = json.loads(canal.cli("show-application", "barge", "--format", "json"))["barge"]
    assert shown["exposed-endpoints"] == {"pier": {"expose-to-cidrs": ["10.0.0.0/8"]}}
    canal.cli("unexpose", "barge")
    opened = canal.exec("opened-ports --endpoints", unit="barge/0").stdout
    assert opened == "8081/tcp (*)\n90-92/udp (pier)\n"
    canal.exec("close-port 8081/tcp; close-port 90-92/udp --endpoints pier", unit="barge/0")
    assert canal.status().apps["barge"].units["barge/0"].open_ports == []
    with pytest.raises(jubilant.TaskError) as refusal:
        canal.exec("credential-get", unit="barge/0")
    assert "cannot access cloud credentials" in refusal.value.task.stderr
    canal.trust("barge")
    canal.wait(jubilant.all_agents_idle, delay=0.1)
    assert "type: " in canal.exec("credential-get", unit="barge/0").stdout
    canal.trust("barge", remove=True)
    canal.wait(jubilant.all_agents_idle, delay=0.1)


def test_two_units_share_a_machine_and_two_models_do_not(
    canal: jubilant.Juju, charm: Path
) -> None:
    canal.cli("add-unit", "barge", "--to", "1")
    canal.wait(lambda status: "barge/2" in status.apps["barge"].units, delay=0.1)
    canal.wait(jubilant.all_agents_idle, delay=0.1)
    assert canal.ssh("barge/2", "hostname") == canal.ssh("barge/1", "hostname")
    other = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=60)
    other.add_model("lock")
    other.deploy(charm)
    other.wait(jubilant.all_agents_idle, delay=0.1)
    assert other.ssh("barge/0", "hostname").strip() == "juju-lock-0"
    assert canal.ssh("barge/0", "hostname").strip() == "juju-canal-0"
    other.destroy_model("lock", destroy_storage=True, force=True)
    assert canal.ssh("barge/0", "hostname").strip() == "juju-canal-0"


@contextlib.contextmanager
def mounted(size_mib: int) -> Iterator[Path]:
    """A small file system."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        image = place / "image"
        image.touch()
        os.truncate(image, size_mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
        (place / "disk").mkdir()
        subprocess.run(["mount", "-o", "loop", image, place / "disk"], check=True)
        try:
            yield place / "disk"
        finally:

            def unmount() -> bool:
                done = subprocess.run(["umount", place / "disk"], check=False)
                return done.returncode == 0

            wait_for(unmount, 20, "the daemon has gone")


def traces(state: Path) -> list[str]:
    """Return everything on this host that has to do with a state directory."""
    tag = state_tag(state)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            groups = (folder / "cgroup").read_text()
            mounts = (folder / "mountinfo").read_text()
            words = (folder / "cmdline").read_text()
            if f"ljj{tag}" in groups or str(state) in mounts or str(state) in words:
                found.append(f"process {folder.name}: {words}")
    for command in (["ip", "link"], ["ip", "route", "show", "table", "all"], ["losetup", "-a"]):
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found += [line for line in text.splitlines() if f"ljj{tag}" in line or str(state) in line]
    found += map(str, Path("/sys/fs/cgroup").glob(f"**/ljj{tag}*"))
    found += map(str, Path("/run/netns").glob("*"))
    return found


@pytest.mark.parametrize("death", ["orderly", "daemon killed"])
def test_nothing_is_left_behind(
    tmp_path: Path, charm: Path, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    problem = missing_prerequisites()
    if problem:
        pytest.skip(problem)
    state = tmp_path / "state"
    monkeypatch.setenv("LOCALJUJU_DATA", str(state))
    spaces = len(list_of_namespaces(state))
    routes = subnet_routes()
    juju = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=60)
    juju.add_model("trace")
    juju.deploy(charm, num_units=2, storage={"hold": "loop,16M"})
    juju.wait(jubilant.all_agents_idle, delay=0.1)
    assert len(traces(state)) > 10
    with contextlib.suppress(jubilant.CLIError):  # where there is neither "blkio" nor "io"
        juju.cli("fault", "slow-disk", "barge/0")
    juju.cli("fault", "disk-full", "barge/0")
    juju.cli("fault", "partition", "barge/0", "--out")
    with contextlib.suppress(jubilant.CLIError):  # where there is neither "freezer" nor version 2
        juju.cli("fault", "freeze", "barge/1")
    pid = int((state / "daemon.lock").read_text())
    if death != "orderly":
        os.kill(pid, signal.SIGKILL)
    juju.destroy_model("trace", destroy_storage=True, force=True)
    wait_for(lambda: not state.exists(), 20, "the daemon has gone")
    wait_for(lambda: not traces(state), 20, "its processes have gone")
    assert len(list_of_namespaces(state)) == spaces
    assert subnet_routes() == routes


def list_of_namespaces(state: Path) -> set[str]:
    """Return the namespaces of processes whose root or mounts lie in a state directory."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(state) in (folder / "mountinfo").read_text():
                found |= {str(link.readlink()) for link in (folder / "ns").iterdir()}
    return found


def subnet_routes() -> set[str]:
    text = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    return {line for line in text.splitlines() if "unreachable" in line}


def test_a_full_disk_below_the_state_loses_nothing(
    charm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = missing_prerequisites()
    if problem:
        pytest.skip(problem)
    with mounted(96) as disk:
        monkeypatch.setenv("LOCALJUJU_DATA", str(disk / "state"))
        juju = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=60)
        juju.add_model("full")
        juju.deploy(charm)
        juju.wait(jubilant.all_agents_idle, delay=0.1)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        with pytest.raises(jubilant.CLIError) as refusal:
            for speed in range(4, 900):
                juju.config("barge", {"speed": speed})
        assert "cannot write the model's journal: No space left on device" in refusal.value.stderr
        shown = juju.config("barge")["speed"]
        assert juju.status().apps["barge"].units["barge/0"].workload_status.current
        filler.unlink()
        os.kill(int((disk / "state/daemon.lock").read_text()), signal.SIGKILL)
        assert juju.config("barge")["speed"] == shown
        juju.config("barge", {"speed": 999})
        juju.wait(lambda _: events(juju, 0)[-1] == "config-changed", delay=0.1)
        juju.wait(jubilant.all_agents_idle, delay=0.1)
        juju.destroy_model("full", destroy_storage=True, force=True)


ONLY_VERSION_TWO = """
set -eu
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
juju add-model two
juju deploy "$CHARM" -n 2
juju wait-for application barge --query='status=="unknown"' --timeout 60s
until juju status --format json | grep -q '"start"\\|"idle"'; do sleep 0.1; done
juju ssh barge/0 cat /proc/self/cgroup
juju fault freeze barge/1
grep -q "frozen 1" /sys/fs/cgroup/ljj*/juju-two-1/box/cgroup.events
juju fault thaw barge/1
juju ssh barge/0 systemctl is-system-running
juju destroy-model two --no-prompt --force
! ls -d /sys/fs/cgroup/ljj*/juju-two-*
"""


def test_version_two_of_control_groups_is_enough(
    charm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same host without the hierarchies of version 1, in a mount namespace of its own."""
    problem = missing_prerequisites()
    if problem:
        pytest.skip(problem)
    monkeypatch.setenv("LOCALJUJU_DATA", str(tmp_path / "state"))
    monkeypatch.setenv("CHARM", str(charm))
    monkeypatch.setenv("PATH", f"{JUJU.parent}:{os.environ['PATH']}")
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ONLY_VERSION_TWO]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0::/" in done.stdout
    assert "running" in done.stdout


def seconds_for_machines(name: str) -> float:
    juju = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=60)
    juju.add_model(name)
    began = time.monotonic()
    juju.cli("add-machine", "-n", str(MACHINES))
    juju.wait(
        lambda status: (
            len(status.machines) == MACHINES
            and all(m.juju_status.current == "started" for m in status.machines.values())
        ),
        delay=0.05,
        successes=1,
    )
    took = time.monotonic() - began
    juju.destroy_model(name, destroy_storage=True, force=True)
    return took


def test_five_machines_start_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In five seconds, which is asked for where nothing else runs: in ``./run test-long``."""
    problem = missing_prerequisites()
    if problem:
        pytest.skip(problem)
    monkeypatch.setenv("LOCALJUJU_DATA", str(tmp_path / "state"))
    took_s = seconds_for_machines("five")
    print(f"five machines: {took_s:.2f} s")
    assert took_s < START_S


@pytest.mark.long
def test_machines_on_a_tree_of_debootstrap(
    charm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base that owes nothing to this host; it is made once and serves every machine."""
    problem = missing_prerequisites()
    if problem or shutil.which("debootstrap") is None:
        pytest.skip(problem or "no debootstrap: apt install debootstrap")
    state = tmp_path / "state"
    monkeypatch.setenv("LOCALJUJU_DATA", str(state))
    juju = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=600)
    juju.add_model("clean", config={"localjuju-machine-base": "debian@12"})
    juju.deploy(charm, storage={"hold": "loop,16M"})
    juju.wait(jubilant.all_agents_idle, delay=0.5)
    tree = state / "bases/debian-12"
    made = (tree / "usr/bin/python3").stat().st_ctime_ns
    began = time.monotonic()
    juju.add_unit("barge")
    juju.wait(lambda status: len(status.apps["barge"].units) == 2, delay=0.1)
    juju.wait(jubilant.all_agents_idle, delay=0.1)
    print(f"another unit on the base that exists: {time.monotonic() - began:.1f} s")
    assert (tree / "usr/bin/python3").stat().st_ctime_ns == made
    shown = juju.status().machines["0"].base
    assert shown is not None
    assert (shown.name, shown.channel) == ("debian", "12")
    for unit in ("barge/0", "barge/1"):
        assert 'VERSION_ID="12"' in juju.ssh(unit, "cat", "/etc/os-release")
        assert juju.ssh(unit, "systemctl", "is-system-running").strip() == "running"
        assert "git" not in juju.ssh(unit, "ls", "/usr/bin").split()
    events = "/var/lib/juju/agents/unit-barge-0/events"
    assert "config-changed" in juju.ssh("barge/0", "sudo", "cat", events)
    juju.cli("model-config", "localjuju-machine-base=debian@1")
    juju.add_unit("barge")
    juju.wait(lambda status: "2" in status.machines, delay=0.1)
    juju.wait(
        lambda status: "no base debian@1" in status.machines["2"].machine_status.message, delay=0.1
    )
    juju.destroy_model("clean", destroy_storage=True, force=True)
