"""One model's life, driven by jubilant: every test goes on where the one before ended."""

import contextlib
import errno
import json
import os
import select
import signal
import socket
from pathlib import Path

import jubilant
import pytest

from localjuju.paths import state_tag

pytestmark = pytest.mark.integration


def events(juju: jubilant.Juju, unit: str) -> list[str]:
    return juju.ssh(unit, "cat", "/var/tmp/events").splitlines()


def hooks(juju: jubilant.Juju, unit: str) -> list[str]:
    return [line.split()[0] for line in events(juju, unit)]


def refuses_connections(address: str) -> bool:
    """A machine that is there answers for a port where nobody listens; one that is cut off cannot."""
    with socket.socket() as link:
        link.settimeout(0.5)
        return link.connect_ex((address, 9)) == errno.ECONNREFUSED


def settled(status: jubilant.Status, *apps: str) -> bool:
    return jubilant.all_agents_idle(status, *apps) and jubilant.all_active(status, *apps)


def wait_for(juju: jubilant.Juju, *apps: str) -> jubilant.Status:
    return juju.wait(lambda status: settled(status, *apps), delay=0.1, successes=2)


def test_first_hooks_come_in_jujus_order(juju: jubilant.Juju, charms: Path) -> None:
    juju.deploy(charms / "sprout.charm", storage={"data": "loop,16M"})
    status = wait_for(juju, "sprout")
    assert hooks(juju, "sprout/0")[:6] == [
        "data-storage-attached", "install", "ring-relation-created", "leader-elected",
        "config-changed", "start",
    ]  # fmt: skip
    app = status.apps["sprout"]
    assert app.version == "1.2.3"
    assert app.units["sprout/0"].leader
    assert app.units["sprout/0"].open_ports == ["8080/tcp"]
    assert app.app_status.message == "hello"


def test_environment_is_built_from_nothing(juju: jubilant.Juju) -> None:
    names = juju.ssh("sprout/0", "cat", "/var/tmp/environment").split()
    assert not {"HOME", "USER", "LOGNAME", "INVOCATION_ID"} & set(names)
    assert {"JUJU_VERSION", "CHARM_DIR", "JUJU_API_ADDRESSES", "PATH"} <= set(names)


def test_actions(juju: jubilant.Juju) -> None:
    task = juju.run("sprout/0", "greet", {"name": "you"})
    assert task.results == {"text": "hello you", "deep": {"key": "1"}}
    assert task.stdout == "said\n"
    assert task.log[0].endswith("about to greet")
    with pytest.raises(jubilant.TaskError) as error:
        juju.run("sprout/leader", "fails")
    assert error.value.task.return_code == 4
    with pytest.raises(ValueError, match="not found"):
        juju.run("sprout/0", "undefined")


def test_exec_has_hook_tools(juju: jubilant.Juju) -> None:
    assert juju.exec("relation-ids ring", unit="sprout/0").stdout == "ring:0\n"
    with pytest.raises(jubilant.TaskError):
        juju.exec("exit 7", unit="sprout/0")


def test_more_units_see_each_other(juju: jubilant.Juju) -> None:
    juju.add_unit("sprout", num_units=2)
    juju.wait(lambda status: len(status.apps["sprout"].units) == 3 and settled(status), delay=0.1)
    for unit in ("sprout/0", "sprout/1", "sprout/2"):
        assert hooks(juju, unit).count("ring-relation-joined") == 2


def test_copy_there_and_back(juju: jubilant.Juju, tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("seed\n")
    juju.scp(tmp_path / "there.txt", "sprout/1:/tmp/seed.txt")
    juju.scp("sprout/1:/tmp/seed.txt", tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_text() == "seed\n"


def test_two_changes_make_one_hook_and_an_undone_one_none(juju: jubilant.Juju) -> None:
    before = hooks(juju, "sprout/1").count("config-changed")
    juju.exec("sleep 0", unit="sprout/1")
    juju.config("sprout", {"word": "hello"})
    assert hooks(juju, "sprout/1").count("config-changed") == before
    juju.config("sprout", {"word": "spring", "count": 4})
    juju.wait(lambda status: status.apps["sprout"].app_status.message == "spring", delay=0.1)
    wait_for(juju)
    assert hooks(juju, "sprout/1").count("config-changed") == before + 1
    assert juju.config("sprout")["count"] == 4


def test_related_application_reads_a_granted_secret(juju: jubilant.Juju, charms: Path) -> None:
    juju.deploy(charms / "spade.charm")
    juju.integrate("sprout:feed", "spade:feed")
    juju.wait(
        lambda status: (
            settled(status)
            and status.apps["spade"].units["spade/0"].workload_status.message == "one"
        ),
        delay=0.1,
    )
    secret = juju.secrets()[0]
    assert juju.show_secret(secret.uri, reveal=True).content == {"token": "one"}
    assert juju.show_unit("spade/0").relation_info[0].related_units


def test_new_revision_of_a_secret_reaches_its_follower(juju: jubilant.Juju) -> None:
    uri = str(juju.secrets()[0].uri)
    leader = next(n for n, u in juju.status().apps["sprout"].units.items() if u.leader)
    juju.exec(f"secret-set {uri} token=two", unit=leader)
    juju.wait(
        lambda status: status.apps["spade"].units["spade/0"].workload_status.message == "two",
        delay=0.1,
    )
    assert "secret-changed" in hooks(juju, "spade/0")


def test_juju_exec_on_the_machine_waits_for_its_turn(juju: jubilant.Juju) -> None:
    out = juju.ssh("root@sprout/1", "juju-exec", "sprout/1", "'is-leader; pwd'")
    assert out.splitlines()[1] == "/var/lib/juju/agents/unit-sprout-1/charm"


def test_failing_hook_is_an_error_until_resolved(juju: jubilant.Juju) -> None:
    juju.config("sprout", {"word": "fail"})
    juju.wait(lambda status: jubilant.all_error(status, "sprout"), delay=0.1)
    unit = juju.status().apps["sprout"].units["sprout/0"]
    assert unit.workload_status.message == 'hook failed: "config-changed"'
    assert juju.run("sprout/0", "greet").success
    juju.config("sprout", {"word": "fine"})
    juju.cli("resolved", "--all")
    juju.wait(lambda status: status.apps["sprout"].app_status.message == "fine", delay=0.1)
    wait_for(juju)


def test_resource_upload_runs_upgrade_charm(juju: jubilant.Juju, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("leaf")
    juju.cli("attach-resource", "sprout", f"blob={tmp_path / 'text'}")
    juju.wait(lambda _: hooks(juju, "sprout/0").count("upgrade-charm") == 1, delay=0.1)
    wait_for(juju, "sprout")
    assert juju.run("sprout/0", "blob").results == {"text": "leaf"}


def test_crashed_leader_is_replaced_and_comes_back(juju: jubilant.Juju) -> None:
    leader = next(n for n, u in juju.status().apps["sprout"].units.items() if u.leader)
    juju.cli("fault", "crash", leader)
    status = juju.wait(
        lambda status: any(
            unit.leader for name, unit in status.apps["sprout"].units.items() if name != leader
        ),
        delay=0.1,
    )
    assert status.apps["sprout"].units[leader].juju_status.current == "lost"
    juju.cli("fault", "start", leader)
    wait_for(juju, "sprout")
    assert hooks(juju, leader)[-1] in {"start", "ring-relation-changed"}


def test_partition_cuts_the_network_and_heals(juju: jubilant.Juju) -> None:
    address = juju.status().apps["sprout"].units["sprout/2"].public_address
    assert refuses_connections(address)
    juju.cli("fault", "partition", "sprout/2")
    assert not refuses_connections(address)
    juju.cli("fault", "heal", "sprout/2")
    juju.wait(lambda _: refuses_connections(address), delay=0.1)
    wait_for(juju, "sprout")


def test_daemon_that_dies_is_replaced_and_adopts_the_machines(
    juju: jubilant.Juju, state: Path
) -> None:
    before = juju.ssh("sprout/1", "cat", "/proc/sys/kernel/random/boot_id", "/proc/uptime")
    os.kill(int((state / "daemon.lock").read_text()), signal.SIGKILL)
    wait_for(juju, "sprout")
    assert juju.exec("hostname", unit="sprout/1").stdout == "juju-meadow-1\n"
    after = juju.ssh("sprout/1", "cat", "/proc/uptime")
    assert float(after.split()[0]) > float(before.split()[1])


def test_leaving_unit_and_those_that_stay(juju: jubilant.Juju) -> None:
    juju.remove_unit("sprout/0")
    juju.wait(lambda status: "sprout/0" not in status.apps["sprout"].units, delay=0.1)
    wait_for(juju, "sprout")
    assert "ring-relation-departed sprout/0 sprout/0" in events(juju, "sprout/1")
    storage = json.loads(juju.cli("list-storage", "--format", "json"))["storage"]
    assert storage["data/0"]["status"]["current"] == "detached"


def test_detached_storage_keeps_its_content(juju: jubilant.Juju) -> None:
    shown = juju.status().storage.storage
    own = next(
        name
        for name, item in shown.items()
        if item.attachments and "sprout/1" in item.attachments.units
    )
    juju.cli("detach-storage", own)
    juju.wait(lambda _: hooks(juju, "sprout/1")[-1] == "data-storage-detaching", delay=0.1)
    juju.wait(lambda status: status.storage.storage[own].status.current == "detached", delay=0.1)
    juju.cli("attach-storage", "sprout/1", "data/0")
    juju.wait(lambda _: hooks(juju, "sprout/1")[-1] == "data-storage-attached", delay=0.1)
    wait_for(juju, "sprout")
    assert juju.ssh("sprout/1", "cat", "/srv/data/file") == "kept\nkept\n"


def test_removed_application_says_goodbye(juju: jubilant.Juju) -> None:
    juju.remove_application("sprout")
    juju.wait(lambda status: "sprout" not in status.apps, delay=0.1)
    wait_for_spade = juju.wait(jubilant.all_agents_idle, delay=0.1)
    assert list(wait_for_spade.apps) == ["spade"]
    assert hooks(juju, "spade/0")[-1] == "feed-relation-broken"


def test_nothing_is_left_of_the_last_model(juju: jubilant.Juju, state: Path) -> None:
    tag = state_tag(state)
    bridge = f"ljj{tag}"
    assert bridge in {name for _, name in socket.if_nameindex()}
    pid = int((state / "daemon.lock").read_text())
    juju.destroy_model("meadow")
    assert bridge not in {name for _, name in socket.if_nameindex()}
    assert not list(Path("/sys/fs/cgroup").glob(f"**/ljj{tag}"))
    assert str(state) not in Path("/proc/self/mounts").read_text()
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [], 10)
    assert not state.exists()
