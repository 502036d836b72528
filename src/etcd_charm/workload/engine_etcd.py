"""The engine `etcd`: the operator's own programs, else the distribution's packages.

A resource is a program or an archive that holds some (a release of etcd holds all three). Each
version lies in a directory of its own and is switched by a link, so that a new resource changes
nothing under a running member. The distribution's package starts a service of its own: that is
masked before the package is installed, and the member runs under a name of ours.
"""

import contextlib
import hashlib
import json
import platform
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from etcd_charm.cluster.errors import NeedsOperator
from etcd_charm.cluster.facts import LogPosition
from etcd_charm.cluster.settings import Settings
from etcd_charm.workload import host
from etcd_charm.workload.engine import RestoreOrder, Supplies
from etcd_charm.workload.paths import Paths

PROGRAMS: Final = ("etcd", "etcdctl", "etcdutl")
NEEDED: Final = ("etcd", "etcdctl")
PACKAGES: Final = ("etcd-server", "etcd-client")
PACKAGED_SERVICE: Final = "etcd.service"
LEAST_VERSION: Final = (3, 4)
"""Learners came with 3.4; without them a new member can stop a cluster."""
KEPT_VERSIONS: Final = 2
RESTORE_TIMEOUT_S: Final = 1800.0
_MACHINES: Final = {"x86_64": 62, "aarch64": 183, "ppc64le": 21, "s390x": 22, "riscv64": 243}
"""ELF's `e_machine` by the kernel's name of the machine."""
_BIG_ENDIAN: Final = ("s390x",)
_UNSUPPORTED: Final = {"aarch64": "arm64", "s390x": "s390x", "riscv64": "riscv64"}
"""Machines on which etcd 3.4 wants to be told that one knows what one does."""


class EtcdEngine:
    """What is particular to etcd. See `engine.Engine`."""

    name = "etcd"
    service = "etcd-member"
    """Not `etcd`: that name is the distribution's, and masked."""
    description = "etcd, a distributed key/value store"
    rereads_authorities = False
    feeds_watchdog = False
    keeps_v2_in_snapshot = False

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    @property
    def _current(self) -> Path:
        return self._paths.etcd_versions / "current"

    @property
    def program(self) -> Path:
        """The daemon."""
        return self._current / "bin/etcd"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of the daemon."""
        name = _UNSUPPORTED.get(platform.machine())
        return {"ETCD_UNSUPPORTED_ARCH": name} if name else {}

    def install(self, supplies: Supplies) -> str:
        """Install the attached programs, else the packages; return the version.

        Raises:
            NeedsOperator: neither is to be had or fits; says what to type.
        """
        attached = {
            name: path
            for name, path in sorted(supplies.files.items())
            if name in NEEDED and path.is_file() and path.stat().st_size > 0
        }
        if attached:
            target = self._install_attached(attached, supplies.application)
        else:
            target = self._install_packages(supplies.application)
        self._switch(target)
        return str(json.loads((target / "complete").read_text())["version"])

    def identify(self) -> str:
        """Return what changes with the version that starts next."""
        target = self._current.resolve()
        return f"{target} {(target / 'complete').read_text()}"

    def _install_attached(self, attached: Mapping[str, Path], application: str) -> Path:
        target = self._paths.etcd_versions / f"attached-{self._hash(attached)}"
        if (target / "complete").is_file():
            return target
        self._paths.etcd_versions.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._paths.etcd_versions) as directory:
            fresh = Path(directory) / "version"
            (fresh / "bin").mkdir(parents=True)
            _unpack_all(attached, fresh / "bin", application)
            missing = [name for name in NEEDED if not (fresh / "bin" / name).is_file()]
            if missing:
                raise NeedsOperator(
                    f"{' and '.join(missing)} missing beside the attached "
                    f"{' and '.join(attached)}: {_say_attach(application, *missing)}"
                )
            try:
                version = check_programs(fresh / "bin")
            except NeedsOperator as problem:
                remedy = _say_attach(application, *attached)
                raise NeedsOperator(f"{problem}: {remedy}") from None
            (fresh / "complete").write_text(json.dumps({"version": version}) + "\n")
            shutil.rmtree(target, ignore_errors=True)
            fresh.chmod(0o755)
            fresh.replace(target)
        return target

    def _hash(self, attached: Mapping[str, Path]) -> str:
        """Identify resources by content; what was hashed before is known by size and time."""
        notes = self._paths.etcd_versions / "hashes.json"
        known: dict[str, str] = json.loads(notes.read_text()) if notes.is_file() else {}
        digest, present = hashlib.sha256(), {}
        for name, path in attached.items():
            stat = path.stat()
            key = f"{path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
            present[key] = known.get(key) or _hash_file(path)
            digest.update(f"{name} {present[key]}\n".encode())
        if present != known:
            host.write_file(notes, json.dumps(present) + "\n", mode=0o600)
        return digest.hexdigest()[:12]

    def _install_packages(self, application: str) -> Path:
        programs = [self._paths.distribution / name for name in NEEDED]
        if not all(program.is_file() for program in programs):
            try:
                host.run_program(["systemctl", "mask", "--quiet", PACKAGED_SERVICE])
                host.install_packages(*PACKAGES)
            except Exception as error:
                raise NeedsOperator(
                    f"no etcd on this machine, and its packages {' and '.join(PACKAGES)} cannot "
                    f"be installed ({error}): {_say_attach(application, *NEEDED)}"
                ) from error
        if not all(program.is_file() for program in programs):
            raise NeedsOperator(
                f"the distribution has no etcd: {_say_attach(application, *NEEDED)}"
            )
        target = self._paths.etcd_versions / "package"
        (target / "bin").mkdir(parents=True, exist_ok=True)
        for name in PROGRAMS:
            link, source = target / "bin" / name, self._paths.distribution / name
            if source.is_file() and not link.is_symlink():
                link.symlink_to(source)
        try:
            version = check_programs(target / "bin")
        except NeedsOperator as problem:
            raise NeedsOperator(f"{problem}; {_say_attach(application, *NEEDED)}") from None
        host.write_file(target / "complete", json.dumps({"version": version}) + "\n", mode=0o644)
        return target

    def _switch(self, target: Path) -> None:
        """Point the link at a version in one step, and drop versions older than the one before."""
        versions = self._paths.etcd_versions
        if not self._current.is_symlink() or self._current.resolve() != target.resolve():
            fresh = versions / ".current"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(target.name)
            fresh.replace(self._current)
            (target / "complete").touch()
        for name in PROGRAMS[1:]:
            link = self._paths.commands / name
            if not link.is_symlink() and not link.exists() and (target / "bin" / name).exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self._current / "bin" / name)
        olds = [path for path in versions.glob("attached-*") if path != target]
        olds.sort(key=lambda path: -(path / "complete").stat().st_mtime)
        for old in olds[KEPT_VERSIONS - 1 :]:
            shutil.rmtree(old)

    def list_options(self, settings: Settings) -> Mapping[str, object]:
        """Return the options that this engine needs beyond those of both.

        Its JSON gateway dials the member's own listener with the server's certificate, which a
        listener that trusts the client authority only must refuse: so it is off. Its v2 knows
        nothing of v3's users: with auth it is off too, unless an operator asks for it.
        """
        options: dict[str, object] = {"logger": "zap", "enable-grpc-gateway": False}
        if self._read_version() < (3, 6):
            options["enable-v2"] = not settings.has_auth or settings.enable_v2
        return options

    def list_client_options(self, revoked: Path) -> tuple[Mapping[str, object], dict[str, str]]:
        """Return options for the file of revoked certificates.

        etcd's file has no key for it; the field of its own configuration value has this name.
        """
        return {"ClientTLSInfo": {"CRLFile": str(revoked)}}, {}

    def _read_version(self) -> tuple[int, int]:
        mark = self._current / "complete"
        return parse_version(json.loads(mark.read_text())["version"]) if mark.is_file() else (3, 4)

    def restore(self, order: RestoreOrder) -> None:
        """Make a data directory from a database.

        Raises:
            NeedsOperator: the tool cannot raise the revision, and that was not waived.
            host.ProgramFailed: with the tool's last line.
        """
        tool = self._current / "bin/etcdutl"
        if not tool.exists():
            tool = self._current / "bin/etcdctl"
        environment = {"ETCDCTL_API": "3"}
        words = host.run_program(
            [str(tool), "snapshot", "restore", "--help"], environment=environment
        )
        can_bump = "--bump-revision" in words
        if order.bump_revision and not can_bump and not order.allows_rollback:
            raise NeedsOperator(
                "this etcd cannot raise the revision of what it restores, so clients would see "
                "revisions go back: say allow-revision-rollback=true, or attach a newer etcd"
            )
        arguments = order.list_arguments(can_bump=can_bump)
        host.run_program(
            [str(tool), "snapshot", "restore", *arguments],
            timeout_s=RESTORE_TIMEOUT_S,
            environment=environment,
        )

    def read_position(self, data: Path) -> LogPosition | None:
        """Return `None`: a stopped etcd tells nobody, a running one says what is committed.

        Its forced start cuts off what is not known to be committed, so that is what counts.
        """
        del data
        return None


def _say_attach(application: str, *names: str) -> str:
    commands = [f"juju attach-resource {application} {name}=./{name}" for name in names]
    return "run " + "; ".join(commands)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _unpack_all(attached: Mapping[str, Path], target: Path, application: str) -> None:
    """Put all programs into a directory. An archive's own etcdctl wins over a single one.

    The single one is what is left from before the archive was attached.

    Raises:
        NeedsOperator: one does not fit; says what to type.
    """
    for name in sorted(attached, key=lambda name: tarfile.is_tarfile(attached[name])):
        try:
            unpack_programs(attached[name], name, target)
        except NeedsOperator as problem:
            raise NeedsOperator(f"{problem}: {_say_attach(application, name)}") from None


def unpack_programs(source: Path, name: str, target: Path) -> None:
    """Put the programs of a resource into a directory: itself, or what its archive holds.

    Raises:
        NeedsOperator: no program, or one for another machine.
    """
    if not tarfile.is_tarfile(source):
        check_machine(source, name)
        shutil.copyfile(source, target / name)
        (target / name).chmod(0o755)
        return
    with tarfile.open(source) as archive:
        for member in archive:
            program = Path(member.name).name
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is None or program not in PROGRAMS:
                continue
            with (target / program).open("wb") as output:
                shutil.copyfileobj(stream, output)
            check_machine(target / program, f"{program} in the resource {name}")
            (target / program).chmod(0o755)


def check_machine(program: Path, name: str) -> None:
    """Refuse what is no program for this machine, by its ELF header.

    Raises:
        NeedsOperator: says for which machine it is.
    """
    with program.open("rb") as stream:
        head = stream.read(20)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        raise NeedsOperator(f"{name} is neither a program nor an archive with one")
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    here = platform.machine()
    if here in _MACHINES and machine != _MACHINES[here]:
        other = next((word for word, code in _MACHINES.items() if code == machine), str(machine))
        raise NeedsOperator(f"{name} is a program for {other}, this machine is {here}")


def check_programs(directory: Path) -> str:
    """Return etcd's version, after asking both programs.

    Raises:
        NeedsOperator: one does not run, or is too old.
    """
    environment = {
        "ETCDCTL_API": "3",
        "ETCD_UNSUPPORTED_ARCH": _UNSUPPORTED.get(platform.machine(), ""),
    }
    try:
        server = host.run_program([str(directory / "etcd"), "--version"], environment=environment)
        client = host.run_program([str(directory / "etcdctl"), "version"], environment=environment)
    except host.ProgramFailed as error:
        raise NeedsOperator(f"etcd does not run here: {error}") from error
    found = re.search(r"etcd Version: *v?(\d+\.\d+\.\d+\S*)", server)
    beside = re.search(r"etcdctl version: *v?(\d+\.\d+\.\d+\S*)", client)
    if found is None or beside is None:
        raise NeedsOperator("etcd and etcdctl do not say their version: are they etcd's?")
    for name, version in (("etcd", found[1]), ("etcdctl", beside[1])):
        if parse_version(version) < LEAST_VERSION:
            least = ".".join(map(str, LEAST_VERSION))
            raise NeedsOperator(f"{name} is {version}, and {least} is the least that will do")
    return found[1]


def parse_version(text: str) -> tuple[int, int]:
    """Return major and minor of a version."""
    with contextlib.suppress(ValueError):
        major, minor = text.split(".")[:2]
        return int(major), int(minor)
    return 0, 0
