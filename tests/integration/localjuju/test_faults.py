"""Each fault verb on a real machine: it bites, it is seen, and it can be undone."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import jubilant
import pytest

from tests.integration.localjuju.conftest import JUJU, pack
from tests.kit.waiting import wait_for

EAR = """import socket
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.bind(("", 900))
while True:
    with open("/var/tmp/heard", "a") as file:
        file.write(link.recv(99).decode() + chr(10))
"""
MOUTH = """import socket, sys
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.sendto(sys.argv[2].encode(), (sys.argv[1], 900))
"""

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def harbour(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[jubilant.Juju]:
    """Two units; the first one's storage is a file system of its own."""
    model = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=60)
    model.add_model("harbour", config={"localjuju-lease-seconds": 4})
    charm = pack("plain/charms/barge", tmp_path_factory.mktemp("charms"))
    model.deploy(charm, num_units=2, storage={"hold": "loop,16M"})
    model.wait(jubilant.all_agents_idle, delay=0.1)
    yield model
    with contextlib.suppress(jubilant.CLIError):
        model.destroy_model("harbour", destroy_storage=True, force=True)


def address_of(juju: jubilant.Juju, unit: str) -> str:
    return juju.status().apps["barge"].units[unit].public_address


def inside(juju: jubilant.Juju, unit: str, script: str) -> str:
    return juju.ssh(unit, "sudo", "sh", "-c", f"'{script}'").strip()


def do_or_skip(juju: jubilant.Juju, *words: str) -> None:
    """Make a machine fail; skip where this host has no means for it, as it says itself."""
    try:
        juju.cli("fault", *words)
    except jubilant.CLIError as error:
        pytest.skip(error.stderr)


def start_listener(juju: jubilant.Juju, unit: str, folder: Path) -> None:
    """Write down each datagram that comes."""
    for name, text in (("ear.py", EAR), ("mouth.py", MOUTH)):
        (folder / name).write_text(text)
        juju.scp(folder / name, f"{unit}:/var/tmp/{name}")
    inside(juju, unit, "systemd-run --quiet --unit=ear python3 /var/tmp/ear.py")


def say(juju: jubilant.Juju, unit: str, address: str, text: str) -> None:
    inside(juju, unit, f"python3 /var/tmp/mouth.py {address} {text}")


def heard(juju: jubilant.Juju, unit: str) -> list[str]:
    return inside(juju, unit, "cat /var/tmp/heard || :").splitlines()


@pytest.mark.parametrize("way", ["in", "out"])
def test_packets_are_lost_one_way_only(harbour: jubilant.Juju, way: str, tmp_path: Path) -> None:
    deaf, other = "barge/0", "barge/1"
    addresses = {unit: address_of(harbour, unit) for unit in (deaf, other)}
    for unit in (deaf, other):
        inside(harbour, unit, "systemctl stop ear || :; rm -f /var/tmp/heard")
        start_listener(harbour, unit, tmp_path)
    for unit, peer in ((deaf, other), (other, deaf)):
        while "ready" not in heard(harbour, peer):
            say(harbour, unit, addresses[peer], "ready")
            time.sleep(0.05)
    harbour.cli("fault", "partition", deaf, f"--{way}")
    cut_off, hearing = (deaf, other) if way == "in" else (other, deaf)
    say(harbour, hearing, addresses[cut_off], "lost")
    say(harbour, cut_off, addresses[hearing], "arrives")
    wait_for(lambda: "arrives" in heard(harbour, hearing), 10, "the other way is open")
    assert "lost" not in heard(harbour, cut_off)
    assert harbour.status().apps["barge"].units[deaf].juju_status.current == "lost"
    harbour.cli("fault", "heal", deaf)
    for unit, peer in ((deaf, other), (other, deaf)):
        while "healed" not in heard(harbour, peer):
            say(harbour, unit, addresses[peer], "healed")
            time.sleep(0.05)
    harbour.wait(jubilant.all_agents_idle, delay=0.1)


def test_a_partition_cuts_off_and_heals(harbour: jubilant.Juju) -> None:
    address = address_of(harbour, "barge/0")
    harbour.cli("fault", "partition", "barge/0")
    with socket.socket() as link:
        link.settimeout(0.5)
        with pytest.raises(OSError, match=r"timed out|No route|unreachable"):
            link.connect((address, 9))
    harbour.cli("fault", "heal", "barge/0")
    with socket.socket() as link, pytest.raises(ConnectionRefusedError):
        link.settimeout(5)
        link.connect((address, 9))


def test_a_full_disk_takes_nothing_until_it_is_healed(harbour: jubilant.Juju) -> None:
    write = (
        "dd if=/dev/zero of=/var/lib/juju/storage/hold/0/file bs=64k count=1 conv=fsync 2>&1 || :"
    )
    assert "No space" not in inside(harbour, "barge/0", write)
    inside(harbour, "barge/0", "rm /var/lib/juju/storage/hold/0/file")
    harbour.cli("fault", "disk-full", "barge/0")
    assert "No space left on device" in inside(harbour, "barge/0", write)
    assert "No space" not in inside(harbour, "barge/1", write)
    harbour.cli("fault", "heal", "barge/0")
    assert "No space" not in inside(harbour, "barge/0", write)


def test_a_full_disk_needs_a_disk_of_its_own(harbour: jubilant.Juju) -> None:
    with pytest.raises(jubilant.CLIError) as refusal:
        harbour.cli("fault", "disk-full", "barge/9")
    assert 'unit "barge/9" not found' in refusal.value.stderr


def test_a_slow_disk_syncs_slowly(harbour: jubilant.Juju) -> None:
    write = "dd if=/dev/zero of=/var/lib/juju/storage/hold/0/slow bs=4k count=8 oflag=dsync 2>/dev/null"

    def seconds() -> float:
        began = time.monotonic()
        inside(harbour, "barge/0", write)
        return time.monotonic() - began

    assert seconds() < 1
    do_or_skip(harbour, "slow-disk", "barge/0", "--iops=4")
    assert seconds() > 1.5
    harbour.cli("fault", "heal", "barge/0")
    assert seconds() < 1


def test_a_clock_that_is_wrong(harbour: jubilant.Juju) -> None:
    def ahead(unit: str) -> float:
        told = inside(harbour, unit, "systemd-run --quiet --pipe --wait date +%s")
        return float(told) - time.time()

    with pytest.raises(jubilant.CLIError) as refusal:
        harbour.cli("fault", "clock", "barge/0", "--by=soon")
    assert "say +5m" in refusal.value.stderr
    do_or_skip(harbour, "clock", "barge/0", "--by=+1h")
    assert 3590 < ahead("barge/0") < 3610
    assert abs(ahead("barge/1")) < 5
    hook = harbour.exec("date +%s", unit="barge/0").stdout
    assert 3590 < float(hook) - time.time() < 3610
    harbour.cli("fault", "clock", "barge/0", "--by=-1h")
    assert -3610 < ahead("barge/0") < -3590
    harbour.cli("fault", "heal", "barge/0")
    assert abs(ahead("barge/0")) < 5


def test_a_frozen_machine_stands_still(harbour: jubilant.Juju) -> None:
    do_or_skip(harbour, "freeze", "barge/1")
    assert harbour.status().apps["barge"].units["barge/1"].juju_status.current == "lost"
    harbour.cli("config", "barge", "speed=7")
    before = harbour.cli("debug-log", "--replay", "--include", "unit-barge-1")
    harbour.cli("fault", "thaw", "barge/1")
    harbour.wait(
        lambda _: harbour.cli("debug-log", "--replay", "--include", "unit-barge-1") != before,
        delay=0.1,
    )
    harbour.wait(jubilant.all_agents_idle, delay=0.1)


def test_a_crash_is_a_power_cut(harbour: jubilant.Juju) -> None:
    before = inside(harbour, "barge/1", "cut -d. -f1 /proc/uptime; stat -c %Y /proc/1")
    harbour.cli("fault", "crash", "barge/1")
    status = harbour.status()
    assert status.apps["barge"].units["barge/1"].juju_status.current == "lost"
    assert status.machines["1"].juju_status.current == "down"
    with pytest.raises(jubilant.CLIError):
        harbour.ssh("barge/1", "true")
    with pytest.raises(jubilant.CLIError) as refusal:
        harbour.cli("fault", "clock", "barge/1", "--by=+1h")
    assert "machine 1 is down" in refusal.value.stderr
    harbour.cli("fault", "start", "barge/1")
    harbour.wait(jubilant.all_agents_idle, delay=0.1)
    assert inside(harbour, "barge/1", "cut -d. -f1 /proc/uptime; stat -c %Y /proc/1") != before
