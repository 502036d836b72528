"""All models of one state directory, and what they share: network, machines, proxy."""

import shutil
import subprocess
import threading
import time
import uuid
from pathlib import Path

from localjuju import paths
from localjuju.apt_proxy import AptProxy
from localjuju.bases import find_base
from localjuju.entities import Model
from localjuju.errors import JujuError, Refused
from localjuju.formats import go_quote
from localjuju.machines import cgroups
from localjuju.machines.nspawn import missing_prerequisites
from localjuju.model_host import ModelHost
from localjuju.network import Network

DEFAULT_MODEL = "default"


class Controller:
    """Owns everything below the state directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.tag = paths.state_tag(data)
        self.network = Network(data, self.tag)
        self.hosts: dict[str, ModelHost] = {}
        self.lock = threading.RLock()
        self.proxy: AptProxy | None = None
        self.problem = ""

    def load(self) -> None:
        """Take up the models that are on disk."""
        folder = self.data / "models"
        for path in sorted(folder.iterdir()) if folder.exists() else []:
            if not (path / "journal").exists():
                shutil.rmtree(path)
                continue
            host = self._host(path)
            if not host.book.records.models:
                host.destroy()
                continue
            self.hosts[host.book.records.model.name] = host
        if any(host.book.records.machines for host in self.hosts.values()):
            self.prepare_machines()
        for host in self.hosts.values():
            host.start()

    def _host(self, path: Path) -> ModelHost:
        return ModelHost(
            path,
            self.tag,
            self.network,
            self.data / "machines",
            lambda name: find_base(self.data, name),
        )

    def prepare_machines(self) -> None:
        """Make what the first machine needs; refuse where machines cannot be."""
        with self.lock:
            problem = missing_prerequisites()
            if problem:
                raise Refused(problem)
            self.network.up()
            self._check_overlay()
            if self.proxy is None:
                self.proxy = AptProxy(self.network.gateway)

    def _check_overlay(self) -> None:
        """Where the state directory lies on an overlay itself, machines live in a tmpfs."""
        folder = self.data / "machines"
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_mount():
            return
        probe = folder / ".probe"
        for name in ("upper", "work", "target"):
            (probe / name).mkdir(parents=True, exist_ok=True)
        options = f"lowerdir=/etc,upperdir={probe}/upper,workdir={probe}/work"
        command = ["mount", "-t", "overlay", "ljj", "-o", options, str(probe / "target")]
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", *command],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        shutil.rmtree(probe, ignore_errors=True)
        if done.returncode == 0:
            return
        mount = ["mount", "-t", "tmpfs", "-o", "mode=755,size=80%", f"ljj{self.tag}", str(folder)]
        tmpfs = subprocess.run(mount, capture_output=True, text=True, check=False)
        if tmpfs.returncode != 0:
            raise Refused(
                "cannot make overlays here: " + (done.stderr.strip() or tmpfs.stderr.strip())
            )

    def add_model(self, name: str, config: dict[str, object]) -> ModelHost:
        """Make an empty model."""
        with self.lock:
            if name in self.hosts:
                raise JujuError(
                    f"failed to create new model: model {go_quote(name)} for admin already exists"
                )
            identifier = str(uuid.uuid4())
            host = self._host(self.data / "models" / identifier)
            with host.book.change() as records:
                records.models["model"] = Model(
                    name, identifier, created=host.book.now(), config=dict(config)
                )
            self.hosts[name] = host
            host.start()
            return host

    def find(self, name: str) -> ModelHost:
        """Return a model by name, also as ``admin/name`` or ``controller:name``."""
        short = name.rpartition(":")[2].rpartition("/")[2]
        host = self.hosts.get(short)
        if host is None:
            raise JujuError(f"model {short} not found")
        return host

    def remove_model(self, name: str) -> None:
        """Remove a model's traces; with the last one those of the state directory."""
        with self.lock:
            host = self.find(name)
            del self.hosts[host.book.records.model.name]
        host.destroy()
        with self.lock:
            if not self.hosts:
                self.clean_up()

    def clean_up(self) -> None:
        """Remove what was made on this machine for the last model."""
        if self.proxy is not None:
            self.proxy.close()
            self.proxy = None
        if self.network.subnet is not None:
            self.network.down()
        cgroups.remove(self.tag)
        machines = self.data / "machines"
        if machines.is_mount():
            subprocess.run(["umount", "-l", str(machines)], check=False, capture_output=True)
        shutil.rmtree(machines, ignore_errors=True)
        for name in ("models", "charms", "resources"):
            shutil.rmtree(self.data / name, ignore_errors=True)
        (self.data / "current-model").unlink(missing_ok=True)

    def leave(self) -> None:
        """Stop the threads; machines go on."""
        for host in list(self.hosts.values()):
            host.leave()
        if self.proxy is not None:
            self.proxy.close()
        time.sleep(0)
