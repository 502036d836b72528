"""Words that the stories of this folder share."""

import json
import subprocess
import tarfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import jubilant

from kvclient import Client, ClientTLS

ARCHIVE = "etcd_client_credentials.tar.gz"


def is_healthy(status: jubilant.Status, members: int, app: str = "etcd") -> bool:
    """Whether every unit says that the cluster is healthy with that many members."""
    units = status.apps[app].units.values()
    noun = "member" if members == 1 else "members"
    text = f"cluster is healthy with {members} {noun}"
    return len(units) == members and all(
        unit.workload_status.current == "active" and unit.workload_status.message.endswith(text)
        for unit in units
    )


def wait_healthy(juju: jubilant.Juju, members: int, app: str = "etcd") -> jubilant.Status:
    return juju.wait(lambda status: is_healthy(status, members, app), successes=1)


def leader_of(status: jubilant.Status, app: str = "etcd") -> str:
    return next(name for name, unit in status.apps[app].units.items() if unit.leader)


def fetch_credentials(
    juju: jubilant.Juju,
    directory: Path,
    app: str = "etcd",
    parameters: Mapping[str, str] | None = None,
) -> None:
    """Unpack `ca.crt`, `client.crt` and `client.key` of a fresh client certificate."""
    unit = leader_of(juju.status(), app)
    juju.run(unit, "generate-client-certificates", parameters)
    juju.scp(f"{unit}:{ARCHIVE}", directory / ARCHIVE)
    with tarfile.open(directory / ARCHIVE) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            (directory / member.name).write_bytes(content.read())


def list_endpoints(status: jubilant.Status, app: str = "etcd") -> list[str]:
    units = status.apps[app].units.values()
    return [f"https://{unit.public_address}:2379" for unit in units]


class Keys:
    """The v3 API, with the credentials that the action hands out; one connection per call."""

    def __init__(self, juju: jubilant.Juju, directory: Path, app: str = "etcd") -> None:
        fetch_credentials(juju, directory, app)
        self.tls = ClientTLS(
            *(str(directory / name) for name in ("ca.crt", "client.crt", "client.key"))
        )
        self.endpoints = list_endpoints(juju.status(), app)

    def _connect(self) -> Client:
        return Client(self.endpoints, tls=self.tls, timeout_s=10.0)

    def put(self, key: str, value: str) -> int:
        with self._connect() as client:
            return client.put(key.encode(), value.encode())

    def get(self, key: str) -> str | None:
        with self._connect() as client:
            value = client.get(key.encode())
        return value.decode() if value is not None else None

    def read_compaction(self, key: str, revision: int) -> int:
        """The revision with which the cluster ends a watch that starts too far back."""
        with self._connect() as client, closing(client.watch(key.encode(), b"", revision)) as all_:
            return next(answer.compact_revision for answer in all_ if answer.canceled)


class Curl:
    """The v2 and JSON APIs by curl, with the credentials that the action hands out."""

    def __init__(self, juju: jubilant.Juju, directory: Path, app: str = "etcd") -> None:
        fetch_credentials(juju, directory, app)
        self._juju, self._directory, self._app = juju, directory, app

    def _run(self, address: str, path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        files = self._directory
        return subprocess.run(
            [
                "curl", "-sS", "--max-time", "10",
                "--cacert", str(files / "ca.crt"),
                "--cert", str(files / "client.crt"),
                "--key", str(files / "client.key"),
                *arguments, f"https://{address}:2379{path}",
            ],
            check=False, capture_output=True, text=True,
        )  # fmt: skip

    def addresses(self) -> list[str]:
        units = self._juju.status().apps[self._app].units
        return [unit.public_address for unit in units.values()]

    def put(self, key: str, value: str) -> None:
        done = self._run(self.addresses()[0], f"/v2/keys/{key}", "-XPUT", "-d", f"value={value}")
        assert json.loads(done.stdout)["node"]["value"] == value, done

    def get(self, address: str, key: str) -> str:
        done = self._run(address, f"/v2/keys/{key}?quorum=true")
        value: str = json.loads(done.stdout)["node"]["value"]
        return value
