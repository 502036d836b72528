"""``./run demo``: the main job from nothing, with the commands that an operator would type.

Everything is done through the ``juju`` command and real clients; this script only strings them
together, shows progress and times, and checks what it says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
MODEL = "demo"
CREDENTIALS = ROOT / ".cache" / "demo"
MEMBERS = 3
AGAIN = "./run demo goes on from here, ./run demo --down removes it."
WAIT_S = 300


class DemoError(Exception):
    """A step did not do what it should; the text says what to look at."""


def juju(*arguments: str, timeout_s: float = 120) -> str:
    """Run one ``juju`` command, shown before it runs; its standard output."""
    print(f"  $ juju {' '.join(arguments)}", flush=True)
    return quiet_juju(*arguments, timeout_s=timeout_s)


def quiet_juju(*arguments: str, timeout_s: float = 120) -> str:
    """Run one ``juju`` command without showing it."""
    done = subprocess.run(
        [BIN / "juju", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise DemoError(f"juju {' '.join(arguments)} failed:\n{done.stderr or done.stdout}")
    return done.stdout


def run(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run a client, shown before it runs; its standard output."""
    shown = " ".join(f"{k}={v}" for k, v in (environment or {}).items() if k.startswith("ETCDCTL"))
    print(f"  $ {shown + ' ' if shown else ''}{' '.join(arguments)}", flush=True)
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise DemoError(f"{' '.join(arguments)} failed:\n{done.stderr or done.stdout}")
    return done.stdout


def applications() -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    """Applications of the model, as ``juju status`` knows them."""
    status = json.loads(quiet_juju("status", "-m", MODEL, "--format", "json"))
    found = status.get("applications")
    return found if isinstance(found, dict) else {}


def units(application: str) -> dict[str, dict[str, object]]:
    """Units of an application."""
    return applications().get(application, {}).get("units", {})


def models() -> set[str]:
    """Names of the models that exist."""
    return {
        model["short-name"]
        for model in json.loads(quiet_juju("models", "--format", "json"))["models"]
    }


def wait_healthy(count: int) -> dict[str, dict[str, object]]:
    """Wait for so many healthy members; show each change of a unit's status."""
    shown: dict[str, str] = {}
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = units("etcd")
        healthy = 0
        for name, unit in sorted(found.items()):
            workload = unit.get("workload-status", {})
            assert isinstance(workload, dict)
            text = f"{workload.get('current')}: {workload.get('message', '')}"
            if shown.get(name) != text:
                shown[name] = text
                print(f"    {name:8} {text}", flush=True)
            wanted = f"cluster is healthy with {count} member"
            if workload.get("current") == "active" and wanted in str(workload.get("message")):
                healthy += 1
        if healthy == count:
            return found
        time.sleep(1)
    raise DemoError(
        f"no {count} healthy members within {WAIT_S} s; see: {BIN}/juju debug-log -m {MODEL}"
    )


def step(text: str, action: Callable[[], None], started: float) -> None:
    """One step with its heading and time."""
    print(f"\n==> {text}", flush=True)
    before = time.monotonic()
    action()
    now = time.monotonic()
    print(f"    ({now - before:.1f} s, {now - started:.1f} s in all)", flush=True)


def deploy() -> None:
    """A certificate authority and one member; goes on where an earlier run stopped."""
    if MODEL in models():
        juju("switch", MODEL)
    else:
        juju("add-model", MODEL)
    found = applications()
    for name in ("easyrsa", "etcd"):
        if name not in found:
            juju("deploy", name)
    if "certificates" not in found.get("etcd", {}).get("relations", {}):
        juju("add-relation", "etcd", "easyrsa")
    wait_healthy(max(1, len(units("etcd"))))


def scale() -> None:
    """Two more members."""
    missing = MEMBERS - len(units("etcd"))
    if missing > 0:
        juju("add-unit", "-n", str(missing), "etcd")
    wait_healthy(max(MEMBERS, len(units("etcd"))))


def use() -> None:
    """Write and read through both APIs, with the credentials that the action makes."""
    juju("run", "etcd/leader", "generate-client-certificates")
    leader = next(name for name, unit in units("etcd").items() if unit.get("leader"))
    CREDENTIALS.mkdir(mode=0o700, parents=True, exist_ok=True)
    archive = CREDENTIALS / "etcd_credentials.tar.gz"
    juju("scp", f"{leader}:etcd_client_credentials.tar.gz", str(archive))
    with tarfile.open(archive) as bundle:
        for member in bundle.getmembers():
            if member.isfile() and "/" not in member.name.removeprefix("./"):
                source = bundle.extractfile(member)
                assert source is not None
                path = CREDENTIALS / Path(member.name).name
                path.write_bytes(source.read())
                path.chmod(0o600)
    address = str(units("etcd")[leader]["public-address"])
    endpoint = f"https://{address}:2379"
    files = [
        "--cacert",
        str(CREDENTIALS / "ca.crt"),
        "--cert",
        str(CREDENTIALS / "client.crt"),
        "--key",
        str(CREDENTIALS / "client.key"),
    ]
    v2 = f"{endpoint}/v2/keys/config/database"
    run("curl", "-sS", *files, "-X", "PUT", v2, "-d", "value=postgres://db")
    print("    " + run("curl", "-sS", *files, v2).strip())
    control = [str(BIN / "raftkvctl"), "--endpoints", endpoint, *files]
    run(*control, "put", "feature/dark-mode", "on")
    print("    " + " = ".join(run(*control, "get", "feature/dark-mode").split()))
    print(run(*control, "endpoint", "status", "--cluster", "-w", "table"))


def health() -> None:
    """The health action."""
    print(juju("run", "etcd/0", "health"))


def report() -> None:
    """How it looks, and what to type next."""
    print(juju("status", "--relations"))
    print(
        f"""The model stays up. Next, with {BIN} first in PATH:

  juju status --watch 2s                      see it change
  juju add-unit -n 2 etcd                     five members
  juju remove-unit etcd/1 --no-prompt         and down again
  juju run etcd/0 snapshot                    back it up
  juju ssh etcd/0                             look inside
  ./run demo --down                           remove everything

  export ETCDCTL_API=3 ETCDCTL_CACERT={CREDENTIALS}/ca.crt
  export ETCDCTL_CERT={CREDENTIALS}/client.crt ETCDCTL_KEY={CREDENTIALS}/client.key"""
    )


def take_down() -> None:
    """Remove the model and all that belongs to it."""
    if MODEL in models():
        juju("destroy-model", MODEL, "--no-prompt", "--destroy-storage", "--force")
        print("removed")
    else:
        print("no demo is running")


def main() -> int:
    """Run the demo; the exit code."""
    os.environ.pop("JUJU_MODEL", None)  # the commands shown work in the model that was made last
    if "--down" in sys.argv[1:]:
        try:
            take_down()
        except DemoError as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    started = time.monotonic()
    try:
        step("Deploy easyrsa and etcd, and relate them", deploy, started)
        step("Add two units", scale, started)
        step("Write and read through v2 (curl) and v3 (gRPC), over TLS", use, started)
        step("Ask for health", health, started)
        step("Done", report, started)
    except (DemoError, subprocess.TimeoutExpired) as error:
        print(f"\ndemo failed: {error}\n{AGAIN}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted. {AGAIN}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
