"""Charms and resources that an operator gives: finding the files, copying them into the model."""

import hashlib
import shutil
from pathlib import Path

from localjuju import charm_package
from localjuju.cli.session import Session
from localjuju.entities import Charm, Resource
from localjuju.errors import JujuError
from localjuju.formats import go_quote
from localjuju.model_host import ModelHost

REPOSITORY = Path(__file__).resolve().parents[3]


def find_package(session: Session, text: str) -> tuple[Path, str]:
    """Return the file of a charm given by path or name, and how status names its origin."""
    looks_like_path = text.startswith((".", "/", "~")) or text.endswith(".charm")
    direct = session.path(text)
    if looks_like_path or (direct.is_file() and text.endswith(".charm")):
        if not direct.exists():
            raise JujuError(f"no charm was found at {go_quote(text)}")
        return direct, "local"
    name = text.removeprefix("ch:").removeprefix("local:").removeprefix("cs:").rpartition("/")[2]
    for folder in (REPOSITORY / "dist", session.folder / "dist", session.folder):
        for candidate in (folder / f"{name}.charm", *sorted(folder.glob(f"{name}_*.charm"))):
            if candidate.is_file():
                return candidate, "local"
    raise JujuError(
        f"resolving with preferred channel: unable to locate charm {go_quote(name)}: the local "
        f"model knows ./path.charm and what lies in dist/ (pack it first)"
    )


def store_charm(host: ModelHost, package: Path, *, upload: bool = False) -> Charm:
    """Copy a packed charm into the model; the same file again is the same revision.

    A refresh from a file is an ``upload``: that has a revision of its own, as on Juju.
    """
    declared = charm_package.read_package(package)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    with host.book.change() as records:
        for charm in records.charms.values():
            if not upload and charm.name == declared.name and charm.source == digest:
                return charm
        revision = sum(1 for charm in records.charms.values() if charm.name == declared.name)
        copy = host.folder / "charms" / f"{declared.name}-{revision}.charm"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package, copy)
        charm = Charm(
            key=f"local:{declared.name}-{revision}",
            name=declared.name,
            revision=revision,
            package=str(copy),
            metadata=declared.metadata,
            options=declared.options,
            actions=declared.actions,
            source=digest,
        )
        records.charms[charm.key] = charm
        return charm


def store_resource(
    host: ModelHost, app: str, charm: Charm, name: str, source: Path, revision: int
) -> Resource:
    """Copy an uploaded resource into the model."""
    declared = (charm.metadata.get("resources") or {}).get(name)
    if declared is None:
        raise JujuError(f"charm {go_quote(charm.name)} has no resource {go_quote(name)}")
    if not source.is_file():
        raise JujuError(f"file for resource {go_quote(name)}: {source} not found")
    copy = host.folder / "resources" / f"{app}-{name}-{revision}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, copy)
    digest = hashlib.sha384(copy.read_bytes()).hexdigest()
    filename = str(declared.get("filename") or source.name)
    size = copy.stat().st_size
    return Resource(name, str(copy), filename, revision, digest, size, host.book.now())
