"""What an operator reads: tables as Juju prints them, and the older spellings of commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from localjuju.rendering import ago, mebibytes
from tests.kit.plain_model import Lab

BARGE = Path(__file__).parent / "charms/barge"
ORDER = (
    "[ $name != start ] || { open-port 80/tcp; status-set active ok; "
    "secret-add --label key abc=def > /dev/null; }"
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab("deploy", lab.pack(BARGE), "--storage", "hold=rootfs,1G", "--config", f"order={ORDER}")
        lab.settle()
        lab("run", "barge/0", "turn", "side=port")
        lab.settle()
        yield lab


def shape(text: str) -> list[str]:
    """Return lines with what differs from run to run replaced."""
    text = re.sub(r"\d\d:\d\d:\d\d[+-]\d\d:\d\d", "CLOCK", text)
    text = re.sub(r"\d\d \w\w\w \d{4} \d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", "MOMENT", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\b10\.\d+\.\d+\.\d+", "ADDRESS", text)
    text = re.sub(r"\b[0-9a-v]{20}\b", "SECRET", text)
    return [re.sub(r" {2,}", "  ", line) for line in text.splitlines()]


TABLES = {
    "status --relations --storage": """
        Model  Controller  Cloud/Region  Version  SLA  Timestamp
        lab  localjuju  localhost/localhost  3.6.9  unsupported  CLOCK

        App  Version  Status  Scale  Charm  Channel  Rev  Exposed  Message
        barge  active  1  barge  0  no  ok

        Unit  Workload  Agent  Machine  Public address  Ports  Message
        barge/0*  active  idle  0  ADDRESS  80/tcp  ok

        Machine  State  Address  Inst id  Base  AZ  Message
        0  started  ADDRESS  juju-lab-0  BASE  Running

        Integration provider  Requirer  Interface  Type  Message
        barge:crew  barge:crew  barge_crew  peer

        Storage Unit  Storage ID  Type  Pool  Mountpoint  Size  Status  Message
        barge/0  hold/0  filesystem  rootfs  /var/lib/juju/storage/hold/0  1.0 GiB  attached
    """,
    "machines": """
        Machine  State  Address  Inst id  Base  AZ  Message
        0  started  ADDRESS  juju-lab-0  BASE  Running
    """,
    "storage": """
        Unit  Storage ID  Type  Pool  Size  Status  Message
        barge/0  hold/0  filesystem  rootfs  1.0 GiB  attached
    """,
    "storage-pools": """
        Name  Provider  Attributes
        loop  loop
        rootfs  rootfs
        tmpfs  tmpfs
    """,
    "operations": """
        ID  Status  Started  Finished  Task IDs  Summary
         1  completed  TIME  TIME  2  turn run on unit-barge-0
    """,
    "secrets": """
        ID  Name  Owner  Rotation  Revision  Last updated
        SECRET  key  barge  never  1  AGO
    """,
    "resources barge": """
        Resource  Supplied by  Revision
        map  charmstore  0
    """,
    "actions barge": """
        Action  Description
        turn  Turns.
        wait  Waits for ever.
    """,
    "show-status-log barge/0 -n 2 --type workload": """
        Time  Type  Status  Message
        MOMENT  workload  maintenance  installing charm software
        MOMENT  workload  active  ok
    """,
    "models": """
        Controller: localjuju

        Model  Cloud/Region  Type  Status  Machines  Units  Access  Last connection
        lab*  localhost/localhost  localhost  available  1  1  admin  just now
    """,
    "switch": """
        localjuju:admin/lab
    """,
    "whoami": """
        Controller:  localjuju
        Model:  lab
        User:  admin
    """,
    "show-action barge turn": """
        Turns.

        Arguments
        degrees:
          default: 90
          maximum: 360
          minimum: 0
          type: integer
        side:
          enum:
          - port
          - starboard
          type: string
    """,
}


@pytest.mark.parametrize("words", TABLES)
def test_tables(lab: Lab, words: str) -> None:
    text = re.sub(r"\b(debian|ubuntu)@[\d.]+", "BASE", lab(*words.split()))
    text = (
        re.sub(r"(just now|\d+ \w+ ago)$", "AGO", text, flags=re.MULTILINE)
        if words == "secrets"
        else text
    )
    expected = [line[8:] for line in TABLES[words].strip("\n").splitlines()][:-1]
    indented = words.startswith("show-action")
    found = text.splitlines() if indented else shape(text)
    if not indented:
        expected = [re.sub(r" {2,}", "  ", line) for line in expected]
    assert found == expected


@pytest.mark.parametrize(("older", "newer"), [
    ("list-actions barge", "actions barge"),
    ("list-storage", "storage"),
    ("list-storage-pools", "storage-pools"),
    ("list-operations", "operations"),
    ("list-machines", "machines"),
    ("list-models", "models"),
    ("list-secrets", "secrets"),
    ("list-resources barge", "resources barge"),
])  # fmt: skip
def test_older_spellings_of_lists(lab: Lab, older: str, newer: str) -> None:
    assert shape(lab(*older.split())) == shape(lab(*newer.split()))


def test_older_spellings_that_do_something(lab: Lab) -> None:
    assert 'degrees: "90"' in lab("run-action", "barge/0", "turn", "side=port", "--wait")
    lab("deploy", lab.pack(BARGE), "other")
    lab("add-relation", "barge:pier", "other:dock")
    lab("remove-relation", "barge:pier", "other:dock")
    lab("upgrade-charm", "other", "--path", lab.pack(BARGE))
    lab.wait(lambda records: records.applications["other"].charm.endswith("-1"))
    lab("remove-application", "other", "--no-prompt", "--force")
    lab.wait(lambda records: "other" not in records.applications)
    assert "unit-barge-0" not in lab("debug-log", "--replay", "--exclude", "unit-barge-0")
    modules = lab("debug-log", "--replay", "--include-module", "unit")
    assert "juju.worker" not in modules


def test_sizes_and_times() -> None:
    sizes = [mebibytes(count) for count in (1, 16, 1023, 1024, 1536, 10240, 1 << 20)]
    assert sizes == ["1.0 MiB", "16 MiB", "1023 MiB", "1.0 GiB", "1.5 GiB", "10 GiB", "1.0 TiB"]
    now = 1_700_000_000.0
    told = [ago(now - seconds, now) for seconds in (1, 2, 59, 60, 119, 120, 3600, 7300, 86400)]
    assert told == ["just now", "2 seconds ago", "59 seconds ago", "1 minute ago", "1 minute ago",
                    "2 minutes ago", "1 hour ago", "2 hours ago", "2023-11-13"]  # fmt: skip
