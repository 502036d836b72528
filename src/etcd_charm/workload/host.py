"""The only door to charmhelpers, and to programs of the distribution.

charmhelpers decides by platform at import and refuses Debian; it first asks
`platform.linux_distribution`, which Python lost in 3.8, and takes the answer `debian` for Ubuntu.
It also imports `distutils.version`, lost in 3.12, and reads `/etc/lsb-release`, which Debian does
not have. All three are provided here, so that nothing else has to pretend. Its calls are untyped;
the functions below are the typed face.
"""

import contextlib
import grp
import importlib
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PROGRAM_TIMEOUT_S = 120.0
"""No program of the distribution that is called here takes longer unless it hangs."""


class ProgramFailed(Exception):  # noqa: N818 - a fact, and the message is the program's own
    """A program ended with an error. Its output never holds secrets: none are passed to it."""


class _LooseVersion:
    """Stands in for distutils' class of that name, of which charmhelpers uses the order only."""

    def __init__(self, text: str) -> None:
        self.version = tuple(int(part) for part in text.split(".") if part.isdigit())

    def __lt__(self, other: object) -> bool:
        return self.version < _LooseVersion(str(other)).version

    def __ge__(self, other: object) -> bool:
        return not self < other

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


def _provide_missing_modules() -> None:
    if not hasattr(platform, "linux_distribution") and Path("/etc/debian_version").exists():
        answer = ("debian", "", "")
        setattr(platform, "linux_distribution", lambda: answer)  # noqa: B010 - it does not exist
    if sys.version_info >= (3, 12) and "distutils" not in sys.modules:
        package = types.ModuleType("distutils")
        version = types.ModuleType("distutils.version")
        version.LooseVersion = _LooseVersion  # type: ignore[attr-defined]
        package.version = version  # type: ignore[attr-defined]
        sys.modules["distutils"] = package
        sys.modules["distutils.version"] = version


def _load_charmhelpers(name: str) -> Any:
    _provide_missing_modules()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module: Any = importlib.import_module(f"charmhelpers.{name}")
    if hasattr(module, "lsb_release") and not Path("/etc/lsb-release").exists():
        module.lsb_release = _read_release
    return module


def _read_release() -> Mapping[str, str]:
    release = platform.freedesktop_os_release()
    names = {"ID": "ID", "RELEASE": "VERSION_ID", "CODENAME": "VERSION_CODENAME"}
    return {f"DISTRIB_{name}": release.get(key, "") for name, key in names.items()}


def ensure_system_user(name: str, home: Path) -> None:
    """Create a system user without a login, and its group, if absent.

    Every hook asks; importing charmhelpers, which draws in setuptools, costs a quarter of a hook.
    """
    if user_exists(name) and _group_exists(name):
        return
    core = _load_charmhelpers("core.host")
    if not core.group_exists(name):
        core.add_group(name, system_group=True)
    if not core.user_exists(name):
        core.adduser(  # noqa: S604 - `shell` names a login shell here
            name,
            shell="/usr/sbin/nologin",
            system_user=True,
            primary_group=name,
            home_dir=str(home),
        )


def user_exists(name: str) -> bool:
    """Whether the machine has this user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def stop_service(name: str) -> bool:
    """Stop a service and wait for it; return whether systemd agreed."""
    return bool(_load_charmhelpers("core.host").service_stop(name))


def enable_service(name: str) -> None:
    """Start the service at boot from now on."""
    run_program(["systemctl", "--quiet", "enable", name])


def disable_service(name: str) -> None:
    """Do not start the service at boot any more."""
    run_program(["systemctl", "--quiet", "disable", name])


def install_packages(*names: str) -> None:
    """Install packages of the distribution that are missing."""
    _load_charmhelpers("fetch").apt_install(list(names), fatal=True)


def run_program(
    arguments: Sequence[str],
    *,
    timeout_s: float = PROGRAM_TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program, with variables beside those of the hook, and return what it printed.

    Raises:
        ProgramFailed: with the last line of its errors.
    """
    try:
        done = subprocess.run(
            list(arguments),
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**os.environ, **environment} if environment else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramFailed(f"{arguments[0]}: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or [""]
        raise ProgramFailed(f"{arguments[0]} ended with {done.returncode}: {lines[-1]}")
    return done.stdout


def quote_for_systemd(word: str) -> str:
    """Return a word as `ExecStart` wants it: no specifier, no variable, one word."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + escaped.replace("$", "$$") + '"'


@contextlib.contextmanager
def run_beside(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str]
) -> Iterator[Callable[[], bool]]:
    """Run a program while the block runs; give what says whether it still does."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **environment},
        )
        try:
            yield lambda: process.poll() is None
        finally:
            process.terminate()
            try:
                process.wait(PROGRAM_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def read_properties(service: str, *names: str) -> Mapping[str, str]:
    """Return properties of a systemd unit, as `systemctl show` prints them."""
    text = run_program(["systemctl", "show", f"--property={','.join(names)}", service])
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


def write_file(
    path: Path, content: str | bytes, *, mode: int, user: str = "root", group: str = "root"
) -> bool:
    """Write a file whole or not at all, if it differs; return whether it did.

    The mode is set before the first byte is written: a key is never readable, not even briefly.
    charmhelpers' `write_file` truncates in place, which a daemon that re-reads its files may see.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        _own(path, mode, user, group)
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        _own(temporary, mode, user, group)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


def ensure_directory(path: Path, *, mode: int, user: str = "root", group: str = "root") -> None:
    """Create a directory if absent, and set its owner and mode."""
    path.mkdir(parents=True, exist_ok=True)
    _own(path, mode, user, group)


def change_owner(path: Path, user: str, group: str) -> None:
    """Give a whole tree to a user, for a data directory that a root process has written."""
    if os.geteuid() == 0:
        _load_charmhelpers("core.host").chownr(str(path), user, group, chowntopdir=True)


def _own(path: Path, mode: int, user: str, group: str) -> None:
    """Set mode and, as root, owner. Without root (unit tests) files belong to whoever runs."""
    path.chmod(mode)
    if os.geteuid() == 0:
        shutil.chown(path, user, group)
