#!/usr/bin/env python3
"""Pack the charms, the engine's wheel and the engine bundle into `dist`.

A charm made here is one file for Python 3.10 to 3.14. What its dependencies have in common is
packed once: `deps/3.10+3.11+…` holds what is equal for these versions, and `dispatch` takes every
directory whose name contains the version it runs on. The engine's wheels for all versions lie in
`engine`, for installing without a network.
"""

import argparse
import hashlib
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pack_archive import write_bundle, write_charm
from pack_wheels import MACHINES, MINORS, Pin, WheelCache, read_lock, unpack_wheel

ROOT = Path(__file__).resolve().parent.parent
PROJECT_PACKAGES = ("raftkv", "etcdwire", "kvclient", "raftkvctl", "localjuju")
CHARM_PACKAGES = ("etcd_charm", "kvclient", "etcdwire")
SOURCE_ONLY = ("charmhelpers",)
NOT_ON_UNITS = ("setuptools", "pbr", "netaddr", "pycparser")
"""What charmhelpers and cffi name and what the charm never imports: see workload/host.py."""
EASYRSA = ROOT / "tests/charms/easyrsa"
EASYRSA_NEEDS = ("ops", "pyyaml", "websocket-client", "opentelemetry-api", "typing-extensions")
CONSUMER = ROOT / "tests/charms/consumer"
CONSUMER_NEEDS = EASYRSA_NEEDS
AUTHORITY = ROOT / "tests/charms/authority"
FILES = (
    "metadata.yaml",
    "config.yaml",
    "actions.yaml",
    "dispatch",
    "icon.svg",
    "LICENSE",
    "README.md",
)
BASES = (("22.04", "3.10"), ("24.04", "3.12"))
DOWNLOADS_AT_ONCE = 2


def main() -> None:
    """Pack what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=sorted(MACHINES), default=find_arch())
    parser.add_argument("--into", type=Path, help="write the unpacked charm etcd here, no files")
    arguments = parser.parse_args()
    packer = Packer(arguments.arch, WheelCache(ROOT / ".cache/pack"))
    if arguments.into is not None:
        packer.assemble_etcd(arguments.into)
        return
    packer.pack_all(ROOT / "dist")


def find_arch() -> str:
    """Return Juju's name of this machine's architecture."""
    names = {machine: arch for arch, machine in MACHINES.items()}
    return names.get(platform.machine(), "amd64")


class Packer:
    """Packs for one architecture."""

    def __init__(self, arch: str, cache: WheelCache) -> None:
        self._arch = arch
        self._cache = cache
        self._began_s = time.monotonic()

    def _say(self, text: str) -> None:
        sys.stdout.write(f"[pack {time.monotonic() - self._began_s:5.1f} s] {text}\n")
        sys.stdout.flush()

    def pack_all(self, dist: Path) -> None:
        """Write all charms, the wheel and the bundle."""
        dist.mkdir(exist_ok=True)
        suffix = "" if self._arch == find_arch() else f"_{self._arch}"
        with tempfile.TemporaryDirectory() as directory:
            etcd = Path(directory) / "etcd"
            self.assemble_etcd(etcd)
            self._write(etcd, dist / f"etcd{suffix}.charm")
            wheels = sorted((etcd / "engine").glob("*.whl"))
            bundle = dist / f"raftkv-engine{suffix}.tar.gz"
            write_bundle(wheels, bundle)
            self._say(f"{bundle.name}: {bundle.stat().st_size >> 20} MiB")
            for old in dist.glob("raftkv-*.whl"):
                old.unlink()
            own = next(wheel for wheel in wheels if wheel.name.startswith("raftkv-"))
            shutil.copyfile(own, dist / own.name)
            easyrsa = Path(directory) / "easyrsa"
            self._assemble_easyrsa(easyrsa)
            self._write(easyrsa, dist / f"easyrsa{suffix}.charm")
            consumer = Path(directory) / "consumer"
            self._assemble_consumer(consumer)
            self._write(consumer, dist / f"etcd-consumer{suffix}.charm")
            authority = Path(directory) / "authority"
            self._assemble_authority(authority)
            self._write(authority, dist / f"csr-authority{suffix}.charm")

    def _write(self, directory: Path, target: Path) -> None:
        write_charm(directory, target)
        size = target.stat().st_size
        digest = hashlib.sha256(target.read_bytes()).hexdigest()[:12]
        self._say(f"{target.name}: {size / (1 << 20):.1f} MiB, sha256 {digest}…")

    def assemble_etcd(self, target: Path) -> None:
        """Write the unpacked charm `etcd`."""
        self._say(f"charm etcd for {self._arch}")
        copy_files(ROOT, target, FILES)
        copy_tree(ROOT / "src", target / "src", ("charm.py",))
        for package in CHARM_PACKAGES:
            copy_tree(ROOT / "src" / package, target / "src" / package)
        copy_tree(ROOT / "lib/charms/etcd", target / "lib/charms/etcd")
        copy_tree(ROOT / "templates", target / "templates", suffixes=(".j2",))
        pins = read_lock(ROOT / "requirements/charm.txt")
        self._add_dependencies(pins, target / "deps")
        self._add_engine(target / "engine")
        write_manifest(target, self._arch)

    def _assemble_easyrsa(self, target: Path) -> None:
        self._say("charm easyrsa")
        copy_files(EASYRSA, target, ("metadata.yaml", "README.md"))
        copy_files(ROOT, target, ("dispatch", "LICENSE"))
        copy_tree(EASYRSA / "src", target / "src")
        pins = read_lock(ROOT / "requirements/charm.txt")
        needed = [pin for pin in pins if pin.name in EASYRSA_NEEDS]
        self._add_dependencies(needed, target / "deps")
        write_manifest(target, self._arch)

    def _assemble_consumer(self, target: Path) -> None:
        self._say("charm etcd-consumer")
        copy_files(CONSUMER, target, ("metadata.yaml", "README.md"))
        copy_files(ROOT, target, ("dispatch", "LICENSE"))
        copy_tree(CONSUMER / "src", target / "src")
        for package in ("kvclient", "etcdwire"):
            copy_tree(ROOT / "src" / package, target / "src" / package)
        copy_tree(ROOT / "lib/charms/etcd", target / "lib/charms/etcd")
        pins = read_lock(ROOT / "requirements/charm.txt")
        needed = [pin for pin in pins if pin.name in CONSUMER_NEEDS]
        self._add_dependencies(needed, target / "deps")
        write_manifest(target, self._arch)

    def _assemble_authority(self, target: Path) -> None:
        self._say("charm csr-authority")
        copy_files(
            AUTHORITY, target, ("metadata.yaml", "config.yaml", "actions.yaml", "README.md")
        )
        copy_files(ROOT, target, ("dispatch", "LICENSE"))
        copy_tree(AUTHORITY / "src", target / "src")
        self._add_dependencies(read_lock(ROOT / "requirements/authority.txt"), target / "deps")
        write_manifest(target, self._arch)

    def _fetch_all(self, pins: Iterable[Pin]) -> dict[str, list[Path]]:
        """Return the wheels for every minor version, two downloads at a time."""
        chosen = list(pins)

        def fetch(minor: str) -> list[Path]:
            wheels = self._cache.fetch(chosen, minor, self._arch)
            self._say(f"  {len(wheels)} wheels for Python {minor}")
            return wheels

        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            return dict(zip(MINORS, pool.map(fetch, MINORS), strict=True))

    def _add_dependencies(self, pins: list[Pin], target: Path) -> None:
        wanted = [pin for pin in pins if pin.name not in NOT_ON_UNITS]
        built = [
            wheel
            for pin in wanted
            if pin.name in SOURCE_ONLY
            for wheel in self._cache.build_from_source(pin)
        ]
        fetched = self._fetch_all(pin for pin in wanted if pin.name not in SOURCE_ONLY)
        with tempfile.TemporaryDirectory() as directory:
            trees = {minor: Path(directory) / minor for minor in MINORS}
            for minor, wheels in fetched.items():
                for wheel in [*wheels, *built]:
                    unpack_wheel(wheel, trees[minor])
            merge_trees(trees, target)

    def _add_engine(self, target: Path) -> None:
        target.mkdir(parents=True)
        for wheels in self._fetch_all(read_lock(ROOT / "requirements/engine.txt")).values():
            for wheel in wheels:
                shutil.copyfile(wheel, target / wheel.name)
        own = self._cache.build_project(ROOT, PROJECT_PACKAGES)
        shutil.copyfile(own, target / own.name)
        digest = hashlib.sha256()
        for wheel in sorted(target.glob("*.whl")):
            digest.update(wheel.name.encode() + hashlib.sha256(wheel.read_bytes()).digest())
        (target / "digest").write_text(digest.hexdigest()[:12] + "\n")


def merge_trees(trees: dict[str, Path], target: Path) -> None:
    """Write each top-level entry once per group of versions for which it is equal.

    Whole entries only: a package must not be spread over two directories of the path.
    """
    names = sorted({path.name for tree in trees.values() for path in tree.iterdir()})
    for name in names:
        groups: dict[str, list[str]] = {}
        for minor, tree in trees.items():
            if (tree / name).exists():
                groups.setdefault(hash_entry(tree / name), []).append(minor)
        for minors in groups.values():
            source = trees[minors[0]] / name
            place = target / "+".join(minors) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place)
            else:
                shutil.copyfile(source, place)


def hash_entry(entry: Path) -> str:
    """Return a hash over the names and contents of a file or directory."""
    digest = hashlib.sha256()
    files = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
    for path in files:
        if path.is_file():
            digest.update(f"{path.relative_to(entry.parent)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def copy_files(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy those of the named files that exist."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def copy_tree(
    source: Path,
    target: Path,
    names: Iterable[str] = (),
    suffixes: tuple[str, ...] = (".py", ".typed"),
) -> None:
    """Copy the source files of a tree, or only the named ones."""
    chosen = [source / name for name in names] or sorted(source.rglob("*"))
    is_wanted: Callable[[Path], bool] = lambda path: path.is_file() and path.suffix in suffixes  # noqa: E731
    for path in filter(is_wanted, chosen):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def write_manifest(target: Path, arch: str) -> None:
    """Write what Juju reads about the bases. YAML, written as JSON, of which it is a superset."""
    bases = [
        {"name": "ubuntu", "channel": channel, "architectures": [arch]} for channel, _ in BASES
    ]
    attributes = [
        {"name": "language", "result": "python"},
        {"name": "framework", "result": "operator"},
    ]
    manifest = {
        "charmcraft-version": "0",
        "charmcraft-started-at": "1980-01-01T00:00:00Z",
        "bases": bases,
        "analysis": {"attributes": attributes},
    }
    (target / "manifest.yaml").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
