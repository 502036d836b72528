"""Reproducible archives: sorted names, one fixed time, modes that depend on the content only."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

ZIP_TIME = (1980, 1, 1, 0, 0, 0)
STORED_SUFFIXES = (".whl", ".gz")
"""Compressed already."""
EXECUTABLES = ("dispatch", "src/charm.py")


def write_charm(root: Path, target: Path) -> None:
    """Write a directory as a charm file, whole or not at all."""
    temporary = target.with_suffix(".part")
    with zipfile.ZipFile(temporary, "w") as archive:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            name = path.relative_to(root).as_posix()
            info = zipfile.ZipInfo(name, ZIP_TIME)
            mode = 0o755 if name in EXECUTABLES else 0o644
            info.external_attr = (0o100000 | mode) << 16
            info.create_system = 3
            stored = path.suffix in STORED_SUFFIXES
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes(), compresslevel=6)
    temporary.replace(target)


def write_bundle(files: list[Path], target: Path) -> None:
    """Write files, without their folders, as a tar.gz file."""
    temporary = target.with_suffix(".part")
    with (
        temporary.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path in sorted(files, key=lambda path: path.name):
            data = path.read_bytes()
            info = tarfile.TarInfo(path.name)
            info.size = len(data)
            info.mode = 0o644
            archive.addfile(info, io.BytesIO(data))
    temporary.replace(target)
