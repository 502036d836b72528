"""Reading packed charms: a zip with metadata.yaml (or charmcraft.yaml) in its root."""

import shutil
import stat
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from localjuju.charm_checks import check_actions, check_metadata, check_options
from localjuju.errors import JujuError

ROLES = {"provides": "provider", "requires": "requirer", "peers": "peer"}
IMPLICIT = {"juju-info": {"role": "provider", "interface": "juju-info"}}


@dataclass(frozen=True)
class Package:
    """What a packed charm declares."""

    name: str
    metadata: dict[str, Any]
    options: dict[str, Any]
    actions: dict[str, Any]
    bases: list[str] = field(default_factory=list)


def read_package(path: Path) -> Package:
    """Read the declarations of a packed charm."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "metadata.yaml" not in names:
                raise JujuError(f"charm {str(path)!r} has no metadata.yaml: pack it first")
            metadata = _load(archive, names, "metadata.yaml")
            check_metadata(metadata)
            for name in names:
                if name.startswith("/") or ".." in name.split("/"):
                    raise JujuError(f"charm file {name!r} lies outside the charm")
            options = check_options(_map(archive, names, "config.yaml"))
            actions = check_actions(_map(archive, names, "actions.yaml"))
            manifest = _map(archive, names, "manifest.yaml")
    except (zipfile.BadZipFile, IsADirectoryError):
        raise JujuError(f"{str(path)!r} is not a packed charm") from None
    except FileNotFoundError:
        raise JujuError(f"no charm was found at {str(path)!r}") from None
    bases = [f"{base['name']}@{base['channel']}" for base in manifest.get("bases", [])]
    return Package(metadata["name"], metadata, options, actions, bases)


def _load(archive: zipfile.ZipFile, names: set[str], member: str) -> Any:
    if member not in names:
        return None
    try:
        return yaml.safe_load(archive.read(member))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise JujuError(f"cannot read {member}: {error}") from None


def _map(archive: zipfile.ZipFile, names: set[str], member: str) -> dict[str, Any]:
    loaded = _load(archive, names, member)
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise JujuError(f"{member}: expected a map")
    return loaded


def manifest_of(path: Path) -> set[str]:
    """Return the files of a packed charm, to know which ones a newer one has dropped."""
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def unpack(path: Path, target: Path, previous: Path | None = None) -> None:
    """Lay a charm over a charm directory.

    Files of the previous charm that the new one lacks are deleted; files that the charm made
    itself stay (virtual environments, ``.unit-state.db``): juju/charm manifest deployer.
    """
    target.mkdir(parents=True, exist_ok=True)
    if previous is not None and previous.exists():
        for name in manifest_of(previous) - manifest_of(path):
            (target / name).unlink(missing_ok=True)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            _extract(archive, info, target)


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    destination = target / info.filename
    if not destination.resolve().is_relative_to(target.resolve()):
        raise JujuError(f"charm file {info.filename!r} lies outside the charm")
    mode = info.external_attr >> 16
    if info.is_dir():
        destination.mkdir(parents=True, exist_ok=True)
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    if destination.is_symlink() or destination.exists():
        destination.unlink()
    if stat.S_ISLNK(mode):
        destination.symlink_to(archive.read(info).decode())
        return
    with archive.open(info) as source, destination.open("wb") as sink:
        shutil.copyfileobj(source, sink)
    destination.chmod((mode & 0o777) or 0o644)


def is_subordinate(metadata: dict[str, Any]) -> bool:
    """Say whether the charm's units live beside those of another application."""
    return bool(metadata.get("subordinate"))


def endpoint_names(metadata: dict[str, Any]) -> list[str]:
    """Return what ports and addresses can be bound to: endpoints and extra bindings, sorted."""
    return sorted({*endpoints(metadata), *(metadata.get("extra-bindings") or {})})


def endpoints(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the charm's endpoints with role, interface and limit."""
    found: dict[str, dict[str, Any]] = {}
    for section, role in ROLES.items():
        for name, body in (metadata.get(section) or {}).items():
            interface = body if isinstance(body, str) else (body or {}).get("interface", "")
            more = body if isinstance(body, dict) else {}
            found[name] = {
                "role": role,
                "interface": interface,
                "limit": more.get("limit"),
                "scope": more.get("scope", "global"),
            }
    return found
