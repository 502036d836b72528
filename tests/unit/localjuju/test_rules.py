"""Small rules: ports, sizes, durations, leases, schemas, charm files."""

import random
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from localjuju import charm_package, deployment, leadership, ports, schema, secrets, storage
from localjuju.book import Book
from localjuju.entities import Charm, Machine, Model, Records, Status, Unit
from localjuju.errors import JujuError, UsageError
from localjuju.status_rules import application_status, relation_status

UP = Status("started")


def test_ports_in_status() -> None:
    assert ports.tabular(["2380/tcp", "2379/tcp", "53/udp", "icmp"]) == "icmp 2379-2380/tcp 53/udp"
    assert ports.tabular(["80/tcp", "8000-8010/tcp"]) == "80,8000-8010/tcp"
    assert ports.summarise(["10/udp", "9/udp", "80/tcp"]) == ["80/tcp", "9/udp", "10/udp"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("rootfs", 1024, 1)),
        ("loop,10G", ("loop", 10240, 1)),
        ("2,tmpfs,16M", ("tmpfs", 16, 2)),
        ("/srv/pool", ("/srv/pool", 1024, 1)),
        ("1.5G", ("rootfs", 1536, 1)),
    ],
)
def test_storage_directives(text: str, expected: tuple[str, int, int]) -> None:
    assert storage.parse_directive(text) == expected


def test_location_of_storage() -> None:
    one = {"location": "/srv/data", "multiple": {"range": "0-1"}}
    many = {"location": "/srv/data", "multiple": {"range": "0-"}}
    assert storage.location_of(one, "data/4") == "/srv/data"
    assert storage.location_of(many, "data/4") == "/srv/data/data/4"
    assert storage.location_of({}, "data/4") == "/var/lib/juju/storage/data/4"


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("1.5s", 1.5), ("100ms", 0.1), ("5", None), ("x", None)]
)
def test_durations(text: str, seconds: float | None) -> None:
    assert secrets.parse_duration(text) == seconds


def test_secret_identifiers_and_keys() -> None:
    identifier = secrets.new_id()
    assert secrets.parse_uri(f"secret:{identifier}") == identifier
    model = "7f1c2a52-0d1e-4c7b-9d53-0a4be19c6d11"
    assert secrets.parse_uri(f"secret://{model}/{identifier}") == identifier
    with pytest.raises(UsageError, match="host controller UUID"):
        secrets.parse_uri(f"secret://some-model/{identifier}")
    with pytest.raises(UsageError):
        secrets.encode_content({"Ab": "1"})
    with pytest.raises(UsageError, match="too large"):
        secrets.encode_content({"key": "x" * (secrets.CONTENT_BYTES_MAX + 1)})


def make_records() -> Records:
    records = Book(None).records
    records.models["model"] = Model("lab", "id")
    metadata: dict[str, Any] = {
        "name": "tree",
        "peers": {"ring": {"interface": "tree_ring"}},
        "provides": {"fruit": {"interface": "fruit"}},
    }
    buyer: dict[str, Any] = {"name": "buyer", "requires": {"food": {"interface": "fruit"}}}
    options = {"size": {"type": "int", "default": 3}, "tall": {"type": "boolean"}}
    for text in (metadata, buyer):
        key = f"local:{text['name']}-0"
        records.charms[key] = Charm(key, text["name"], 0, "", text, options, {})
    addresses = iter(f"10.0.0.{n}" for n in range(10, 99))
    for name in ("tree", "buyer"):
        wanted = deployment.NewApplication(name, records.charms[f"local:{name}-0"], units=2)
        deployment.deploy(records, wanted, 1.0, lambda: next(addresses))
    for machine in records.machines.values():
        machine.agent = UP
    return records


def test_deploy_makes_units_machines_and_peer_relations() -> None:
    records = make_records()
    assert list(records.units) == ["tree/0", "tree/1", "buyer/0", "buyer/1"]
    assert records.machines["1"].hostname == "juju-lab-1"
    assert records.relations["0"].is_peer


def test_relations_are_inferred_and_refused_twice() -> None:
    records = make_records()
    relation = deployment.relate(records, "buyer", "tree", 2.0)
    assert {(end.app, end.endpoint) for end in relation.ends} == {
        ("tree", "fruit"),
        ("buyer", "food"),
    }
    assert relation_status(relation) == "joining"
    with pytest.raises(JujuError, match="already exists"):
        deployment.relate(records, "tree:fruit", "buyer", 2.0)
    with pytest.raises(JujuError, match="no relations found"):
        deployment.relate(records, "tree", "tree", 2.0)


@pytest.mark.parametrize(("name", "text", "value"), [("size", "7", 7), ("tall", "TRUE", True)])
def test_settings_have_types(name: str, text: str, value: Any) -> None:
    charm = make_records().charms["local:tree-0"]
    assert deployment.convert_setting(charm, name, text) == value
    with pytest.raises(JujuError, match="expected"):
        deployment.convert_setting(charm, name, "often")


def test_removal_ends_with_nothing() -> None:
    records = make_records()
    deployment.relate(records, "buyer", "tree", 2.0)
    deployment.destroy_application(records, records.applications["tree"], 3.0)
    assert {unit.life for unit in records.units_of("tree")} == {"dying"}
    for unit in list(records.units_of("tree")):
        deployment.bury_unit(records, unit, 4.0)
    assert list(records.applications) == ["buyer"]
    assert not records.relations


def test_numbers_are_never_used_twice() -> None:
    records = make_records()
    deployment.bury_unit(records, records.units["tree/1"], 2.0)
    assert deployment.add_units(records, "tree", 1, 3.0, lambda: "10.0.0.99") == ["tree/2"]


def test_crashed_leader_keeps_its_lease_until_it_runs_out() -> None:
    records = make_records()
    first, second = records.units["tree/0"], records.units["tree/1"]
    app = records.applications["tree"]
    assert leadership.claim(records, first, 100.0)
    assert not leadership.claim(records, second, 1000.0)
    leadership.lose_contact(records, first.machine, 1000.0)
    # Renewed at 100, 130, … 1000: the last renewal gives a whole term.
    assert leadership.next_expiry(records, second, 1000.0) == 1060.0
    assert not leadership.claim(records, second, 1059.0)
    assert leadership.claim(records, second, 1060.0)
    assert leadership.leader_of(records, app, 1061.0) == "tree/1"


def test_contact_in_time_keeps_the_lease() -> None:
    records = make_records()
    unit = records.units["tree/0"]
    leadership.claim(records, unit, 100.0)
    leadership.lose_contact(records, unit.machine, 115.0)
    assert leadership.next_expiry(records, unit, 115.0) == 160.0
    leadership.regain_contact(records, unit.machine, 150.0)
    assert leadership.is_leader(records, unit, 500.0)


def test_unreachable_and_dying_units_claim_nothing() -> None:
    records = make_records()
    unit: Unit = records.units["tree/0"]
    machine: Machine = records.machines[unit.machine]
    machine.partitioned = True
    assert not leadership.claim(records, unit, 1.0)
    machine.partitioned = False
    unit.life = "dying"
    assert not leadership.claim(records, unit, 1.0)


def test_worst_unit_makes_the_application() -> None:
    records = make_records()
    app = records.applications["tree"]
    records.units["tree/0"].workload = Status("active", "fine")
    records.units["tree/1"].workload = Status("blocked", "stuck")
    assert application_status(records, app).message == "stuck"
    app.status = Status("maintenance", "said the leader")
    assert application_status(records, app).current == "maintenance"


def test_action_schema() -> None:
    action = {
        "params": {
            "depth": {"type": "integer", "default": 2, "minimum": 1},
            "name": {"type": "string"},
        },
        "required": ["name"],
    }
    assert schema.fill_and_check(action, {"name": "x"}) == {"name": "x", "depth": 2}
    for params in ({}, {"name": 3}, {"name": "x", "depth": 0}, {"name": "x", "depth": True}):
        with pytest.raises(JujuError, match="validation failed"):
            schema.fill_and_check(action, params)


def pack(path: Path, files: dict[str, tuple[str, int]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, (text, mode) in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, text)
    return path


def test_upgrade_keeps_what_the_charm_made_itself(tmp_path: Path) -> None:
    old = pack(
        tmp_path / "old.charm", {"dispatch": ("a", 0o100755), "src/gone.py": ("b", 0o100644)}
    )
    new = pack(
        tmp_path / "new.charm", {"dispatch": ("c", 0o100755), "src/came.py": ("d", 0o100644)}
    )
    target = tmp_path / "charm"
    charm_package.unpack(old, target)
    (target / ".unit-state.db").write_text("state")
    charm_package.unpack(new, target, old)
    assert (target / ".unit-state.db").exists()
    assert not (target / "src/gone.py").exists()
    assert (target / "dispatch").read_text() == "c"
    assert stat.S_IMODE((target / "dispatch").stat().st_mode) == 0o755


def test_charm_that_reaches_out_of_its_directory_is_refused(tmp_path: Path) -> None:
    evil = pack(tmp_path / "evil.charm", {"../outside": ("x", 0o100644)})
    with pytest.raises(JujuError, match="outside the charm"):
        charm_package.unpack(evil, tmp_path / "charm")


@pytest.mark.parametrize("text", ["not a zip", None])
def test_unreadable_charms(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "x.charm"
    if text is not None:
        path.write_text(text)
    with pytest.raises(JujuError):
        charm_package.read_package(path)


def test_seeded_order_is_the_same_again() -> None:
    orders = []
    for _ in range(2):
        order = list("abcdef")
        random.Random("7 tree/0").shuffle(order)
        orders.append(order)
    assert orders[0] == orders[1]
