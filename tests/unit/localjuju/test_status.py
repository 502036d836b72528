"""``juju status`` for people and for programs."""

from localjuju import status, tabular
from localjuju.book import Book
from localjuju.entities import (
    Application,
    Charm,
    End,
    Lease,
    Machine,
    Membership,
    Model,
    Records,
    Relation,
    Status,
    Storage,
    Unit,
)

ALL = tabular.Shown(relations=True, storage=True, utc=True)
NOW = 1_950_000_000.0

TABLE = """\
Model  Controller  Cloud/Region         Version  SLA          Timestamp
lab    localjuju   localhost/localhost  3.6.9    unsupported  10:40:00Z

App   Version  Status   Scale  Charm  Channel  Rev  Exposed  Message
tree  1.2      blocked      2  tree              3  yes      no water

Unit      Workload  Agent      Machine  Public address  Ports           Message
tree/2    blocked   executing  0        10.0.0.10                       (config-changed) no water
tree/10*  active    idle       1        10.0.0.11       80,8000/tcp     fine

Machine  State    Address    Inst id  Base       AZ  Message
0        started  10.0.0.10  m0       debian@12      Running
1        down     10.0.0.11  m1       debian@12      Running

Integration provider  Requirer   Interface  Type  Message
tree:ring             tree:ring  i          peer

Storage Unit  Storage ID  Type        Pool  Mountpoint  Size     Status    Message
              data/1      filesystem  loop              16 MiB   detached
tree/2        data/0      filesystem  loop  /srv/data   1.0 GiB  attached
"""


def make() -> Records:
    records = Book(None).records
    records.models["model"] = Model("lab", "id", created=NOW)
    records.charms["local:tree-3"] = Charm("local:tree-3", "tree", 3, "", {"name": "tree"}, {}, {})
    app = Application("tree", "local:tree-3", version="1.2", exposed={"": {}})
    app.lease = Lease("tree/10", NOW)
    records.applications["tree"] = app
    for number, address in (("0", "10.0.0.10"), ("1", "10.0.0.11")):
        running, started = Status("running", "Running", NOW), Status("started", "", NOW)
        records.machines[number] = Machine(
            number,
            f"m{number}",
            f"m{number}",
            address,
            "",
            running,
            started,
            base="debian@12",
            boots=1,
        )
    agent = Status("executing", "running config-changed hook", NOW)
    records.units["tree/2"] = Unit(
        "tree/2", "tree", "0", Status("blocked", "no water", NOW), agent
    )
    idle = Status("idle", "", NOW)
    records.units["tree/10"] = Unit("tree/10", "tree", "1", Status("active", "fine", NOW), idle)
    records.units["tree/10"].ports = {"": ["8000/tcp"], "web": ["80/tcp"]}
    records.relations["0"] = Relation(0, [End("tree", "ring", "peer", "i")])
    records.relations["0"].members["tree/2"] = Membership()
    records.storage["data/0"] = Storage(
        "data/0", "data", "loop", 1024, "tree", "tree/2", provisioned=True, location="/srv/data"
    )
    records.storage["data/1"] = Storage("data/1", "data", "loop", 16, "tree")
    return records


def test_table() -> None:
    records = make()
    records.machines["1"].frozen = True
    text = tabular.status_table(records, NOW, set(), ALL)
    # A frozen machine's agent is lost; the rest of the table is as it was.
    lost = "unknown   lost       1        10.0.0.11       80,8000/tcp  agent lost"
    assert lost in text
    records.machines["1"].frozen = False
    records.machines["1"].agent = Status("down", "", NOW)
    records.machines["1"].boots = 0
    text = tabular.status_table(records, NOW, set(), ALL)
    squeezed = [" ".join(line.split()) for line in text.splitlines()]
    assert squeezed == [" ".join(line.split()) for line in TABLE.splitlines()]
    assert all(line == line.rstrip() for line in text.splitlines())


def test_value_has_what_programs_read() -> None:
    shown = status.model_status(make(), NOW)
    unit = shown["applications"]["tree"]["units"]["tree/10"]
    assert unit["leader"] is True
    assert unit["open-ports"] == ["80/tcp", "8000/tcp"]
    assert unit["workload-status"] == {
        "current": "active",
        "message": "fine",
        "since": "17 Oct 2031 10:40:00Z",
    }
    assert shown["machines"]["0"]["base"] == {"name": "debian", "channel": "12"}
    attachment = shown["storage"]["storage"]["data/0"]["attachments"]["units"]["tree/2"]
    assert attachment == {"machine": "0", "location": "/srv/data", "life": "alive"}
    assert "attachments" not in shown["storage"]["storage"]["data/1"]


def test_only_wanted_applications() -> None:
    text = tabular.status_table(make(), NOW, {"moss"}, tabular.Shown(utc=True))
    assert "tree" not in text
