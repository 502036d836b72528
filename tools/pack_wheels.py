"""Wheels for packing: read a lock, fetch for another Python and machine, unpack by hand.

pip evaluates a lock's markers for the Python that runs it, not for the one it fetches for, so the
markers are evaluated here. Everything fetched is kept below `.cache/pack` under a key made of the
lock, the minor version and the machine: packing again needs no network.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pip._vendor.packaging.markers import Marker

MINORS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC_TAGS = (
    "manylinux2014",
    "manylinux_2_17",
    "manylinux_2_26",
    "manylinux_2_28",
    "manylinux_2_34",
)
"""Ubuntu 22.04 has glibc 2.35, so everything up to 2.34 runs on every supported base."""
EPOCH = "315532800"
"""1980-01-01, the earliest time that a zip file can hold: packs are reproducible."""


@dataclass(frozen=True)
class Pin:
    """One line of a lock: a distribution, its version and the hashes of its files."""

    name: str
    requirement: str
    marker: str
    hashes: tuple[str, ...]

    def is_for(self, minor: str) -> bool:
        """Whether the marker selects this pin for CPython of that minor version on Linux."""
        if not self.marker:
            return True
        environment = {
            "python_version": minor,
            "python_full_version": f"{minor}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "os_name": "posix",
        }
        return bool(Marker(self.marker).evaluate(environment))

    def format(self) -> str:
        """Return the pin as pip reads it with `--require-hashes`."""
        return " ".join([self.requirement, *(f"--hash={value}" for value in self.hashes)])


def read_lock(path: Path) -> list[Pin]:
    """Return the pins of a hash lock."""
    text = path.read_text().replace("\\\n", " ")
    pins = []
    for raw in text.splitlines():
        line = raw.partition(" #")[0].strip()
        if not line or line.startswith(("#", "-")):
            continue
        requirement, _, rest = line.partition("--hash=")
        requirement, _, marker = requirement.strip().partition(";")
        hashes = tuple(re.findall(r"sha256:[0-9a-f]{64}", f"--hash={rest}"))
        name = requirement.partition("==")[0].strip().lower()
        pins.append(Pin(name, requirement.strip(), marker.strip(), hashes))
    return pins


def run_pip(*arguments: str) -> None:
    """Run pip of the Python that runs this program; stop with its last lines if it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "PIP_ROOT_USER_ACTION": "ignore"},
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        sys.exit("\n".join(["pip failed:", *lines[-12:]]))


class WheelCache:
    """Wheels on disk, by what they were fetched for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def fetch(self, pins: Iterable[Pin], minor: str, arch: str) -> list[Path]:
        """Return wheels of all pins that hold for a minor version and machine."""
        chosen = sorted((pin for pin in pins if pin.is_for(minor)), key=lambda pin: pin.name)
        text = "\n".join(pin.format() for pin in chosen)
        key = hashlib.sha256(f"{minor} {arch}\n{text}".encode()).hexdigest()[:16]
        target = self._directory / f"{minor}-{arch}-{key}"
        if not target.is_dir():
            self._download(text, minor, arch, target)
        return sorted(target.glob("*.whl"))

    def _download(self, text: str, minor: str, arch: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as directory:
            wheels = Path(directory) / "wheels"
            lock = Path(directory) / "lock.txt"
            lock.write_text(text + "\n")
            platforms = [f"--platform={tag}_{MACHINES[arch]}" for tag in GLIBC_TAGS]
            run_pip(
                "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
                f"--python-version={minor}", "--implementation=cp", *platforms,
                f"--dest={wheels}", f"--requirement={lock}",
            )  # fmt: skip
            wheels.rename(target)

    def build_from_source(self, pin: Pin) -> list[Path]:
        """Return the wheel of a distribution that is published as source only."""
        key = hashlib.sha256(pin.format().encode()).hexdigest()[:16]
        target = self._directory / f"built-{pin.name}-{key}"
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as directory:
                wheels = Path(directory) / "wheels"
                lock = Path(directory) / "lock.txt"
                lock.write_text(pin.format() + "\n")
                run_pip(
                    "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                    f"--no-binary={pin.name}", "--require-hashes",
                    f"--wheel-dir={wheels}", f"--requirement={lock}",
                )  # fmt: skip
                wheels.rename(target)
        return sorted(target.glob("*.whl"))

    def build_project(self, root: Path, packages: Iterable[str]) -> Path:
        """Return the project's own wheel, built from a copy so that no build files stay behind."""
        sources = [root / "pyproject.toml"]
        for package in packages:
            files = (root / "src" / package).rglob("*")
            sources += [path for path in files if path.suffix == ".py" or path.name == "py.typed"]
        digest = hashlib.sha256()
        for path in sorted(sources):
            digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
        target = self._directory / f"project-{digest.hexdigest()[:16]}"
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as directory:
                copy = Path(directory) / "source"
                for path in sources:
                    place = copy / path.relative_to(root)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, place)
                (copy / "README.md").write_text("See the project's repository.\n")
                wheels = Path(directory) / "wheels"
                run_pip(
                    "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                    f"--wheel-dir={wheels}", str(copy),
                )  # fmt: skip
                wheels.rename(target)
        return next(target.glob("*.whl"))


DROPPED_PARTS = ("tests", "test", "testing", "__pycache__", "contrib")
DROPPED_FILES = ("RECORD", "WHEEL", "INSTALLER", "direct_url.json", "pbr.json")
DROPPED_SUFFIXES = (".pyc", ".pyi", ".pyx", ".pxd", ".c", ".h")


def unpack_wheel(wheel: Path, target: Path) -> None:
    """Unpack what a charm needs of a wheel: no tests, no headers, no installer's records."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            path = Path(info.filename)
            if info.is_dir() or path.suffix in DROPPED_SUFFIXES:
                continue
            if path.name in DROPPED_FILES or any(
                part in DROPPED_PARTS for part in path.parts[:-1]
            ):
                continue
            if path.parts[0].endswith(".data"):
                if path.parts[1] not in ("purelib", "platlib"):
                    continue
                path = Path(*path.parts[2:])
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(info))
