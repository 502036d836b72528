"""Installing the engine: offline, beside the versions before it, switched by one link.

The daemon must never run from the charm directory: a charm refresh would change code under a
running member. Each set of wheels gets a directory and a virtual environment of its own. No pip
and no network: a wheel is a zip file, and a pure or prebuilt one needs only to be unpacked.
"""

import hashlib
import json
import platform
import shutil
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path
from typing import Final

from etcd_charm.cluster.errors import NeedsOperator
from etcd_charm.workload import host
from etcd_charm.workload.paths import Paths

KEPT_VERSIONS: Final = 2
"""The running one and the one before it, for a way back."""
COMPLETE_MARK: Final = "complete"
"""Written last: a directory without it is a half-made one and is made again."""
COMMANDS: Final = ("raftkvd", "raftkvctl")
_DIGEST_CHARS: Final = 12


def install_engine(paths: Paths, bundle: Path | None) -> str:
    """Install the engine from the attached bundle, else from the charm; return its version.

    A placeholder (an empty resource) counts as not attached. Costs nothing when it is installed.
    """
    if bundle is not None and bundle.is_file() and bundle.stat().st_size > 0:
        digest = _hash_file(bundle)
        target = paths.engines / f"bundle-{digest}"
        if not (target / COMPLETE_MARK).is_file():
            unpacked = paths.engines / f".bundle-{digest}"
            _unpack_bundle(bundle, unpacked)
            _make_environment(unpacked, target)
            shutil.rmtree(unpacked)
    else:
        digest = _hash_names(paths.wheelhouse)
        target = paths.engines / f"charm-{digest}"
        if not (target / COMPLETE_MARK).is_file():
            _make_environment(paths.wheelhouse, target)
    _switch(paths, target)
    version: str = json.loads((target / COMPLETE_MARK).read_text())["version"]
    return version


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()[:_DIGEST_CHARS]


def _hash_names(wheelhouse: Path) -> str:
    """Identify a wheelhouse by what it holds, and by the interpreter that will run it.

    The packer leaves a digest beside the wheels: hashing 30 MB in every hook would cost 50 ms.
    """
    digest = hashlib.sha256(f"{sys.version_info[:3]} {platform.machine()}".encode())
    packed = wheelhouse / "digest"
    if packed.is_file():
        digest.update(packed.read_bytes())
        return digest.hexdigest()[:_DIGEST_CHARS]
    for wheel in sorted(wheelhouse.glob("*.whl")):
        digest.update(f"{wheel.name} {_hash_file(wheel)}\n".encode())
    return digest.hexdigest()[:_DIGEST_CHARS]


def _unpack_bundle(bundle: Path, target: Path) -> None:
    """Unpack the wheels of a bundle, and only those, whatever names the archive uses."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tarfile.open(bundle) as archive:
        for member in archive:
            name = Path(member.name).name
            source = archive.extractfile(member) if member.isfile() else None
            if source is None or not name.endswith(".whl"):
                continue
            with (target / name).open("wb") as stream:
                shutil.copyfileobj(source, stream)


def _make_environment(wheelhouse: Path, target: Path) -> None:
    wheels = choose_wheels(sorted(path.name for path in wheelhouse.glob("*.whl")))
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    interpreter = _find_interpreter()
    host.run_program([interpreter, "-m", "venv", "--without-pip", str(target)])
    packages = next(target.glob("lib/python3.*/site-packages"))
    for wheel in wheels:
        with zipfile.ZipFile(wheelhouse / wheel) as archive:
            archive.extractall(packages)  # noqa: S202 - wheels are pinned by hash when packed
    _write_commands(target, packages)
    host.run_program([str(target / "bin/python"), "-m", "compileall", "-q", str(packages)])
    version = next(wheel for wheel in wheels if wheel.startswith("raftkv-")).split("-")[1]
    (target / COMPLETE_MARK).write_text(json.dumps({"version": version}) + "\n")


def _find_interpreter() -> str:
    """Return the distribution's Python if it is the version that runs the charm."""
    distribution = Path("/usr/bin/python3")
    minor = f"python3.{sys.version_info[1]}"
    if distribution.exists() and distribution.resolve().name == minor:
        return str(distribution)
    return sys.executable


def choose_wheels(names: list[str]) -> list[str]:
    """Return the wheels that fit this interpreter and machine: one per distribution.

    Raises:
        NeedsOperator: if a distribution has no wheel that fits.
    """
    chosen: dict[str, str] = {}
    for name in names:
        distribution = name.split("-")[0].lower()
        if _fits(name):
            chosen[distribution] = name
    missing = {name.split("-")[0].lower() for name in names} - set(chosen)
    if missing or not any(name.startswith("raftkv-") for name in chosen.values()):
        wanted = ", ".join(sorted(missing)) or "raftkv"
        machine = f"Python 3.{sys.version_info[1]} on {platform.machine()}"
        raise NeedsOperator(f"the engine has no wheels of {wanted} for {machine}")
    return sorted(chosen.values())


def _fits(wheel: str) -> bool:
    """Whether a wheel's tags (PEP 425: python, abi, platform) fit this interpreter."""
    python, abi, system = wheel.removesuffix(".whl").split("-")[-3:]
    minor = sys.version_info[1]
    pythons = python.split(".")
    if system == "any":
        return "py3" in pythons
    if not any(
        "linux" in part and part.endswith(platform.machine()) for part in system.split(".")
    ):
        return False
    if f"cp3{minor}" in pythons:
        return abi in (f"cp3{minor}", "abi3", "none")
    stable = [int(part[3:]) for part in pythons if part.startswith("cp3") and part[3:].isdigit()]
    return abi == "abi3" and any(least <= minor for least in stable)


def _write_commands(target: Path, packages: Path) -> None:
    """Write the console scripts, which only an installer such as pip would have made."""
    for entry_points in packages.glob("*.dist-info/entry_points.txt"):
        parser = ConfigParser()
        parser.read(entry_points)
        if not parser.has_section("console_scripts"):
            continue
        for command, place in parser.items("console_scripts"):
            if command not in COMMANDS:
                continue
            module, _, function = place.partition(":")
            script = (
                f"#!{target}/bin/python -I\nimport sys\n\nfrom {module} import {function}\n\n"
                f"sys.exit({function}())\n"
            )
            host.write_file(target / "bin" / command, script, mode=0o755)


def _switch(paths: Paths, target: Path) -> None:
    """Point the link at a version in one step, and drop versions older than the one before."""
    if not paths.engine.is_symlink() or paths.engine.resolve() != target.resolve():
        fresh = paths.engines / ".current"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target.name)
        fresh.replace(paths.engine)
    for command in COMMANDS:
        link = paths.commands / command
        if not link.is_symlink() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(paths.engine / "bin" / command)
    versions = [path.parent for path in paths.engines.glob(f"*/{COMPLETE_MARK}")]
    versions = [path for path in versions if not path.is_symlink()]
    versions.sort(key=lambda path: (path != target, -path.stat().st_mtime))
    for old in versions[KEPT_VERSIONS:]:
        shutil.rmtree(old)
