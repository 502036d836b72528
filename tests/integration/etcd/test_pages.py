"""The commands of README, tutorial and how-to pages, taken from the pages, run in their order.

Each test is one page. Those for Juju share a model of three units, which each of them leaves
healthy; what a page would wait for with its own eyes is waited for here.
"""

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jubilant
import pytest

from tests.integration.etcd.conftest import ETCD, ROOT, open_model
from tests.integration.etcd.stories import is_healthy, leader_of, wait_healthy
from tests.integration.etcd.test_engine_etcd import find_program
from tests.kit.authority import Authority
from tests.kit.pages import Page, Shell
from tests.kit.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.long]

SNAPSHOT = re.compile(r"etcd-snapshot-[0-9.-]+\.tar\.gz")


@pytest.fixture(scope="module")
def juju() -> Iterator[jubilant.Juju]:
    with open_model() as model:
        model.model_config({"localjuju-lease-seconds": 5})
        model.deploy(ETCD, "etcd", num_units=3)
        wait_healthy(model, 3)
        yield model


@pytest.fixture
def folder(tmp_path):
    for name in ("dist", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def shell(juju, folder):
    return Shell(folder, {"JUJU_MODEL": juju.model})


def wait_rolled(juju, members: int = 3, app: str = "etcd") -> None:
    """Wait until nobody has anything left to do."""
    juju.wait(
        lambda status: is_healthy(status, members, app) and jubilant.all_agents_idle(status, app),
        successes=3,
    )


def wait_restored(juju, members: int, app: str = "etcd") -> None:
    juju.wait(
        lambda status: (
            is_healthy(status, members, app)
            and not any(
                "restor" in unit.workload_status.message
                for unit in status.apps[app].units.values()
            )
        ),
        successes=2,
    )


def renumber(juju, page: Page) -> None:
    """Read the page's unit numbers as those that there are now; `etcd/leader` stays."""
    for number, unit in enumerate(sorted(juju.status().apps["etcd"].units, key=number_of)):
        page.replace(f"etcd/{number}", unit)


def number_of(unit: str) -> int:
    return int(unit.rpartition("/")[2])


def address_of(juju, unit: str) -> str:
    return juju.status().apps["etcd"].units[unit].public_address


def test_readme(juju, shell, folder):
    page = Page("README.md", shell)
    page.skip("./run demo", "it is a test of its own")
    page.skip("./run test", "it is what runs this")
    page.run("export PATH")
    page.run("health")
    page.run("generate-client-certificates")
    page.run("juju scp")
    page.run("tar xzf")
    page.run("juju expose")
    page.replace("{ip of a unit}", address_of(juju, "etcd/0"))
    page.run("ETCDCTL_ENDPOINTS")
    page.run("ETCDCTL_KEY")
    assert page.run("member list").count("started") == 3
    words = page.run("snapshot")
    page.replace("etcd-snapshot-2026-01-02-03.04.05.tar.gz", SNAPSHOT.search(words)[0])
    page.run("juju scp")
    assert page.run("sha256sum").split()[0] in words
    page.run("juju deploy etcd new-etcd")
    wait_healthy(juju, 1, "new-etcd")
    page.run("new-etcd/0 restore")
    wait_restored(juju, 1, "new-etcd")
    page.run("add-unit -n 2 new-etcd")
    wait_healthy(juju, 3, "new-etcd")
    juju.remove_application("new-etcd", destroy_storage=True, force=True)
    page.run("juju refresh etcd --resource raftkv")
    wait_rolled(juju)
    assert "raftkv" in page.run("juju resources")
    for name in ("etcd", "etcdctl"):
        (folder / name).symlink_to(find_program(name))
    for resources in ("--resource etcd", ""):
        with open_model() as other:
            page_of_other = f"JUJU_MODEL={other.model} juju deploy etcd"
            page.run(
                f"engine=etcd {resources}".strip(), instead=("juju deploy etcd", page_of_other)
            )
            wait_healthy(other, 1)
    with open_network() as network, open_daemon(network, folder, page.prepare("raftkvd")):
        page.use(Shell(folder, {}, network))
        wait_for(lambda: is_answering(network, "http://127.0.0.1:2379/health"), 30, "raftkvd")
        page.run("put feature/dark-mode")
        assert "on" in page.run("get feature/dark-mode").split()
        assert '"value":"blah2"' in page.run("curl")
        page.end()


def test_tutorial(folder):
    shell = Shell(folder, {})
    page = Page("docs/tutorial/first-cluster.md", shell)
    page.skip("sudo -i", "this is root")
    page.skip("cd <the repository>", "dist and .venv lie in the folder of the test")
    page.skip("./run pack", "they are packed")
    page.run("export PATH")
    name = f"first-{os.getpid()}"
    page.replace("first ", f"{name} ")
    page.run("add-model", instead=("add-model first", f"add-model {name}"))
    model = jubilant.Juju(model=name)
    model.wait_timeout = 300.0
    try:
        page.run("deploy easyrsa")
        page.run("deploy etcd")
        page.run("add-relation")
        page.run("status", instead=("--watch 2s", ""))
        wait_healthy(model, 1)
        model.wait(
            lambda _: (
                "easyrsa"
                in model.exec(
                    "openssl x509 -noout -issuer -in /etc/etcd/tls/server.crt", unit="etcd/0"
                ).stdout
            )
        )
        page.run("generate-client-certificates")
        page.run("juju scp")
        page.run("mkdir")
        page.replace("<address of etcd/0 in juju status>", address_of(model, "etcd/0"))
        for word in ("ETCDCTL_ENDPOINTS", "ETCDCTL_CACERT", "ETCDCTL_CERT"):
            page.run(word)
        page.run("put feature/dark-mode on")
        assert "on" in page.run("get feature").split()
        assert '"value":"postgres://db"' in page.run("curl")
        page.run("add-unit")
        wait_healthy(model, 3)
        page.run("status", instead=("--watch 2s", ""))
        assert page.run("endpoint status").count("2379") == 3
        page.run("fault crash etcd/1")
        page.run("health", fails=True)
        page.run("put feature/dark-mode off")
        page.run("fault start")
        wait_healthy(model, 3)
        page.run("status", instead=("--watch 2s", ""))
        page.run("remove-unit etcd/2")
        wait_healthy(model, 2)
        assert page.run("member list").count("started") == 2
        page.run("destroy-model")
        page.end()
    finally:
        if name in model.cli("models", include_model=False):
            model.destroy_model(name, force=True, destroy_storage=True)


def test_tls_and_client_certificates(juju, shell, folder):
    page = Page("docs/how-to/tls-and-client-certificates.md", shell)
    page.run("deploy easyrsa")
    page.run("integrate")
    wait_rolled(juju)
    page.run("generate-client-certificates")
    root = "set -a; . /etc/etcd/environment; set +a; export ETCDCTL_API=3;"
    juju.exec(f"{root} raftkvctl role add readers", unit="etcd/0")
    page.run("cn=alice")
    page.run("juju scp")
    assert "alice" in page.run("list-certificates")
    leader = leader_of(juju.status())
    wait_for(
        lambda: "alice" in juju.run(leader, "list-certificates").results["output"],
        60,
        "the leader hears of the certificate that etcd/0 made",
    )
    page.run("cn=alice")
    wait_rolled(juju)
    page.run("rotate-certificates")
    page.run("plane=server")
    wait_at_rest(juju)
    page.run("drop-old=true", fails=True)  # no client authority has been replaced yet
    juju.run(leader_of(juju.status()), "rotate-ca", {"plane": "client"})
    wait_at_rest(juju)
    inside = [page.prepare(word) for word in ("juju ssh", "sudo -i", "set -a", "endpoint health")]
    assert inside[0].split() == ["juju", "ssh", "etcd/0"]
    done = juju.exec(f"bash -c '{inside[2]}; {inside[3]}'", unit="etcd/0")
    assert (done.stdout + done.stderr).count("is healthy") == 3
    with open_network() as network:
        authority = Authority(folder, "ca")
        certificate, key = authority.issue("m1")
        for file in ("server", "peer"):
            (folder / f"{file}.crt").symlink_to(certificate)
            (folder / f"{file}.key").symlink_to(key)
        for file in ("client-ca.crt", "peer-ca.crt"):
            (folder / file).symlink_to(authority.path)
        with open_daemon(network, folder, page.prepare("raftkvd --name m1")):
            wait_for(lambda: is_listening(network, "10.0.0.1:2379"), 30, "raftkvd serves TLS")
    page.end()
    juju.remove_relation("etcd:certificates", "easyrsa:client")
    wait_rolled(juju)


def wait_at_rest(juju) -> None:
    """Wait until no authority is being replaced."""

    def is_at_rest(status: jubilant.Status) -> bool:
        show = juju.cli("show-unit", leader_of(status), "--format", "json")
        return is_healthy(status, 3) and '"rotation":' not in show

    juju.wait(is_at_rest, successes=2)


def test_operate(juju, shell):
    page = Page("docs/how-to/operate.md", shell)
    renumber(juju, page)
    text = (ROOT / "docs/how-to/operate.md").read_text()
    rows = re.findall(r"^\|.*`(juju run [^`]+)`", text, re.MULTILINE)
    assert len(rows) >= 9
    for command in rows:
        if "remove-member" in command:
            continue  # it needs a member that belongs to no unit: tests/unit/etcd_charm has one
        print(shell.run(command).stdout)
        if "pause" in command:
            juju.run("etcd/1", "resume")
            wait_healthy(juju, 3)
    page.run("heartbeat_interval=150")
    wait_rolled(juju)
    page.run("port=3379")
    wait_rolled(juju)
    juju.config("etcd", reset=["port", "management_port"])
    wait_rolled(juju)
    page.run("network-profile=measured")
    wait_rolled(juju)
    page.run("refresh")
    wait_rolled(juju)
    page.run("attach-resource")
    wait_rolled(juju)
    page.run("tls=false")
    juju.wait(
        lambda status: all(
            unit.workload_status.message.endswith("plain http")
            for unit in status.apps["etcd"].units.values()
        ),
        successes=2,
    )
    page.run("tls=true")
    wait_rolled(juju)
    page.end()


def test_back_up_and_restore(juju, shell, folder):
    page = Page("docs/how-to/back-up-and-restore.md", shell)
    leader = leader_of(juju.status())
    page.replace("etcd/0", leader)
    page.replace("etcd/leader", leader)
    words = page.run("snapshot")
    name = SNAPSHOT.search(words)[0]
    page.replace("<snapshot.path>", f"/home/ubuntu/etcd-snapshots/{name}")
    page.replace("etcd-snapshot-….tar.gz", name)
    page.run("juju scp")
    assert page.run("sha256sum").split()[0] in words
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in words
    assert name in page.run("list-snapshots")
    page.run("verify-snapshot")
    page.run("snapshot-schedule=daily")
    wait_rolled(juju)
    page.run("juju status")
    juju.config("etcd", reset=["snapshot-schedule", "snapshot-retention"])
    page.run("attach-resource")
    wait_rolled(juju)
    page.run("restore")
    wait_restored(juju, 3)
    page.run("juju status")
    page.run("deploy etcd new-etcd")
    wait_healthy(juju, 1, "new-etcd")
    page.run("new-etcd/0 restore")
    wait_restored(juju, 1, "new-etcd")
    page.run("add-unit")
    wait_healthy(juju, 3, "new-etcd")
    juju.remove_application("new-etcd", destroy_storage=True, force=True)
    with open_network() as network, open_daemon(network, folder, ".venv/bin/raftkvd"):
        wait_for(lambda: is_answering(network, "http://127.0.0.1:2379/health"), 30, "raftkvd")
        page.use(Shell(folder, {}, network))
        page.replace("<one member>", "127.0.0.1:2379")
        page.run("snapshot save")
        page.run("snapshot status")
        page.run("snapshot restore")
        page.end()


def test_scale(juju, shell):
    page = Page("docs/how-to/scale.md", shell)
    renumber(juju, page)
    page.run("add-unit")
    wait_healthy(juju, 5)
    page.run("remove-unit")
    wait_healthy(juju, 4)
    juju.remove_unit(max(juju.status().apps["etcd"].units, key=number_of))
    wait_healthy(juju, 3)
    renumber(juju, page)
    survivor, *others = sorted(juju.status().apps["etcd"].units, key=number_of)
    for unit in others:
        juju.cli("fault", "crash", unit)
    juju.wait(lambda status: status.apps["etcd"].units[survivor].leader)
    page.run("remove-unit")
    refused = page.run("rebuild-cluster", fails=True)
    page.replace("<cluster id>", re.search(r"confirm=([0-9a-f]+)", refused)[1])
    page.run("rebuild-cluster")
    wait_healthy(juju, 1)
    page.run("add-unit")
    wait_healthy(juju, 3)
    page.run("bootstrap-again", fails=True)  # this cluster exists, so it is refused
    page.skip("bootstrap-again", "the claimant is not gone: tests/unit/etcd_charm has the case")
    page.end()


def test_storage(folder):
    with open_model() as model:
        page = Page("docs/how-to/storage.md", Shell(folder, {"JUJU_MODEL": model.model}))
        page.replace("ebs-ssd,10G", "rootfs,1G")
        page.run("storage-pools")
        page.run("deploy etcd --storage")
        wait_healthy(model, 1)
        page.run("add-unit")
        wait_healthy(model, 3)
        model.deploy(ETCD, "other")
        wait_healthy(model, 1, "other")
        page.replace("etcd/0", "other/0")
        page.run("add-storage")
        model.wait(
            lambda status: (
                is_healthy(status, 1, "other")
                and "/storage/data/"
                in model.exec("readlink /var/lib/etcd-charm/data", unit="other/0").stdout
            )
        )
        page.run("juju status", instead=("--watch 5s", ""))
        page.end()


def test_run_raftkvd_without_juju(folder):
    with open_network() as network:
        page = Page("docs/how-to/run-raftkvd-without-juju.md", Shell(folder, {}, network))
        page.skip("./run pack", "it is packed")
        page.replace("/opt/raftkv", str(folder / "opt"))
        page.replace("/var/lib/raftkv", str(folder / "m1.data"))
        page.run("-m venv")
        outside = Shell(folder, {})
        done = outside.run(page.prepare("pip install"))
        assert done.returncode == 0, done.stdout
        with open_daemon(network, folder, f"{folder}/opt/bin/{page.prepare('raftkvd')}"):
            wait_for(lambda: is_answering(network, "http://127.0.0.1:2379/health"), 30, "one")
        first = page.prepare("raftkvd --name m1")
        others = [
            first.replace("name m1", f"name m{n}")
            .replace("m1.data", f"m{n}.data")
            .replace("http://127.0.0.1:2379", f"http://127.0.0.{n}:2379")
            .replace("-urls http://10.0.0.1", f"-urls http://10.0.0.{n}")
            for n in (2, 3)
        ]
        with (
            open_daemon(network, folder, first),
            open_daemon(network, folder, others[0]),
            open_daemon(network, folder, others[1]),
        ):
            wait_for(lambda: is_answering(network, "http://10.0.0.1:2379/health"), 60, "three")
            page.run("ETCDCTL_ENDPOINTS")
            page.run("put k v")
            assert page.run("endpoint status").count("10.0.0.") == 3
            assert "true" in page.run("curl")
            assert '"kvs"' in page.run("curl")
            page.run("ls /")
            page.run("member add")
            fourth = page.prepare("raftkvd --name m4")
            fourth = fourth.replace(
                "…",
                f"--data-dir {folder}/m4.data --listen-client-urls http://10.0.0.4:2379 "
                "--advertise-client-urls http://10.0.0.4:2379 "
                "--listen-peer-urls http://10.0.0.4:2380 "
                "--initial-advertise-peer-urls http://10.0.0.4:2380 --initial-cluster "
                + ",".join(f"m{n}=http://10.0.0.{n}:2380" for n in (1, 2, 3, 4)),
            )
            with open_daemon(network, folder, fourth) as process:
                wait_for(lambda: is_answering(network, "http://10.0.0.4:2379/version"), 60, "m4")
                listed = Shell(folder, {}, network).run(
                    ".venv/bin/raftkvctl --endpoints 10.0.0.1:2379 member list"
                )
                row = next(
                    line
                    for line in listed.stdout.splitlines()
                    if ":2380" in line and "10.0.0.4" in line
                )
                page.replace("<id>", row.split(",")[0])
                page.run("member promote")
                page.run("member remove")
                process.wait(timeout=60)
            with open_daemon(network, folder, make_proxy(folder, page.prepare("--proxy on"))):
                proxy = "http://127.0.0.9:2379/v2/keys/by-proxy"
                wait_for(lambda: is_answering(network, proxy, "-XPUT", "-dvalue=1"), 30, "proxy")
            with open_daemon(network, folder, page.prepare("gateway start")):
                url = "http://127.0.0.1:23790/health"
                wait_for(lambda: is_answering(network, url), 30, "gateway")
            proxy_command = re.sub(
                r"--(cacert|cert|key) \S+", "", page.prepare("grpc-proxy start")
            )
            with open_daemon(network, folder, f"{proxy_command} --namespace team/"):
                wait_for(lambda: is_answering(network, url), 30, "the gRPC proxy")
                inside = Shell(folder, {}, network)
                written = inside.run(".venv/bin/raftkvctl --endpoints 127.0.0.1:23790 put k w")
                assert written.returncode == 0, written.stdout
                found = inside.run(".venv/bin/raftkvctl --endpoints 10.0.0.1:2379 get team/k")
                assert found.stdout.splitlines() == ["team/k", "w"]
        page.end()


def make_proxy(folder: Path, command: str) -> str:
    """Read the page's proxy, which is for TLS, as one for the page's members in plain http.

    The proxy with certificates is `test_consumers`' and `daemon/test_proxy`'s.
    """
    command = command.replace("https://", "http://").replace("/var/lib/proxy", f"{folder}/proxy")
    command = command.replace("http://127.0.0.1:2379", "http://127.0.0.9:2379")
    return re.sub(r"--peer-\S+-file \S+", "", command)


@contextmanager
def open_network() -> Iterator[str]:
    """A network of its own with the pages' addresses, so that no port is anybody else's."""
    name = f"pages-{os.getpid()}-{time.monotonic_ns() % 10_000}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for words in (
            "link set lo up",
            *(f"addr add 10.0.0.{n}/32 dev lo" for n in range(1, 5)),
        ):
            subprocess.run(["ip", "-n", name, *words.split()], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@contextmanager
def open_daemon(network: str, folder: Path, command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A page's command that does not end by itself."""
    words = command.partition(" #")[0].strip().removesuffix("&")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    with (folder / "daemons.log").open("ab") as log:
        process = subprocess.Popen(
            ["ip", "netns", "exec", network, "sh", "-c", f"exec {words}"],
            cwd=folder, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def is_answering(network: str, url: str, *arguments: str) -> bool:
    command = ["ip", "netns", "exec", network, "curl", "-sSf", "--max-time", "2", *arguments, url]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def is_listening(network: str, address: str) -> bool:
    command = [
        "ip",
        "netns",
        "exec",
        network,
        "curl",
        "-sSk",
        "--max-time",
        "2",
        f"https://{address}/",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return "certificate required" in done.stderr or done.returncode == 0
