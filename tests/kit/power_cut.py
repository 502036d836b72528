"""What a power cut may leave on a disk, from the system calls of a real run.

``strace`` writes down every call that changes files, with its bytes. :class:`DiskImage` plays them
back and knows at each moment what is certain (synced) and what is not: writes since the last sync
of their file may be there or not, each by itself, in whole or in sectors; new, renamed and deleted
names follow in order, up to any point, unless their directory was synced.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

CALLS = (
    "openat,close,lseek,write,pwrite64,writev,pwritev,pwritev2,fdatasync,fsync,ftruncate,"
    "fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,dup,dup2,dup3"
)
SECTOR_BYTES = 512


@dataclass(frozen=True)
class Call:
    """One finished system call."""

    time_s: float
    name: str
    arguments: str
    result: int

    @property
    def texts(self) -> list[bytes]:
        """Its string arguments."""
        found = re.findall(r'"((?:\\x[0-9a-f]{2})*)"', self.arguments)
        return [bytes.fromhex(text.replace("\\x", "")) for text in found]

    def number(self, position: int) -> int:
        """The n-th argument after strings have been cut out."""
        plain = re.sub(r'"[^"]*"(\.\.\.)?', "S", self.arguments)
        return int(plain.split(",")[position].strip(), 0)


def read_trace(path: Path) -> Iterator[Call]:
    """The calls of ``strace -f -ttt -xx -s BIG -o FILE``, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in path.read_text().splitlines():
        pid, stamp, rest = line.split(None, 2)
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", rest)
        if resumed is not None:
            rest = begun.pop(pid, "") + resumed[1]
        found = re.fullmatch(r"(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+).*", rest)
        if found is not None:
            yield Call(float(stamp), found[1], found[2], int(found[3], 0))


@dataclass
class Content:
    """A file's bytes up to the last one written, and its size: the rest is zeros."""

    data: bytearray = field(default_factory=bytearray)
    size: int = 0

    def change(self, at: int, data: bytes | None) -> None:
        """Carry out one write or truncation."""
        if data is None:
            del self.data[at:]
            self.size = at
            return
        end = at + len(data)
        if len(self.data) < end:
            self.data.extend(bytes(end - len(self.data)))
        self.data[at:end] = data
        self.size = max(self.size, end)

    def copy(self) -> Content:
        return Content(bytearray(self.data), self.size)


@dataclass
class File:
    """One inode."""

    content: Content = field(default_factory=Content)
    """What is certain."""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, bytes) of writes, (size, None) of truncations, since the last sync."""

    def sync(self) -> None:
        for change in self.pending:
            self.content.change(*change)
        self.pending.clear()


@dataclass
class OpenFile:
    file: File | None
    """None for a directory."""
    path: str
    position: int = 0
    is_synchronous: bool = False


NameChange = tuple[str, str, "File | str | None"]
"""(kind, path, inode or former path)."""


class DiskImage:
    """Everything below one directory."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._open: dict[int, OpenFile] = {}
        self._names: dict[str, File | None] = {}
        """As the running system sees them; None for a directory."""
        self._certain: dict[str, File | None] = {}
        self._pending: list[NameChange] = []

    def play(self, call: Call) -> bool:
        """Take one call; whether it changed something here."""
        handler = getattr(self, f"_do_{call.name}", None)
        if handler is None or call.result < 0:
            return False
        return bool(handler(call))

    # ---- names -----------------------------------------------------------------------

    def _is_ours(self, path: str) -> bool:
        return path == self._root or path.startswith(f"{self._root}/")

    def _change_name(self, change: NameChange) -> None:
        rename_in(self._names, change)
        self._pending.append(change)

    def _sync_directory(self, path: str) -> None:
        """Changes of names in this directory, and all that came before them, are certain."""
        last = 0
        for number, (kind, name, former) in enumerate(self._pending, 1):
            parents = {str(PurePosixPath(name).parent)}
            if kind == "rename":
                parents.add(str(PurePosixPath(str(former)).parent))
            if path in parents:
                last = number
        for change in self._pending[:last]:
            rename_in(self._certain, change)
        del self._pending[:last]

    def _do_openat(self, call: Call) -> bool:
        path = call.texts[0].decode()
        if not self._is_ours(path):
            self._open.pop(call.result, None)
            return False
        flags = call.arguments
        if "O_DIRECTORY" in flags or self._names.get(path, 0) is None:
            self._open[call.result] = OpenFile(None, path)
            return False
        file = self._names.get(path)
        if file is None:
            if "O_CREAT" not in flags:
                return False
            file = File()
            self._change_name(("create", path, file))
        elif "O_TRUNC" in flags:
            file.pending.append((0, None))
        is_synchronous = "O_DSYNC" in flags or "O_SYNC" in flags
        self._open[call.result] = OpenFile(file, path, 0, is_synchronous)
        return True

    def _do_close(self, call: Call) -> bool:
        self._open.pop(call.number(0), None)
        return False

    def _do_dup(self, call: Call) -> bool:
        found = self._open.get(call.number(0))
        if found is not None:
            self._open[call.result] = found
        return False

    _do_dup2 = _do_dup3 = _do_dup

    def _do_mkdir(self, call: Call) -> bool:
        path = call.texts[0].decode()
        if self._is_ours(path):
            self._change_name(("create", path, None))
        return self._is_ours(path)

    _do_mkdirat = _do_mkdir

    def _do_rename(self, call: Call) -> bool:
        former, path = (text.decode() for text in call.texts)
        if self._is_ours(path):
            self._change_name(("rename", path, former))
        return self._is_ours(path)

    _do_renameat = _do_renameat2 = _do_rename

    def _do_unlink(self, call: Call) -> bool:
        path = call.texts[0].decode()
        if self._is_ours(path):
            self._change_name(("unlink", path, None))
        return self._is_ours(path)

    _do_unlinkat = _do_unlink

    # ---- contents --------------------------------------------------------------------

    def _target(self, call: Call) -> OpenFile | None:
        found = self._open.get(call.number(0))
        return found if found is not None and found.file is not None else None

    def _put(self, opened: OpenFile, at: int, data: bytes) -> bool:
        assert opened.file is not None
        opened.file.pending.append((at, data))
        if opened.is_synchronous:
            opened.file.sync()
        return True

    def _do_lseek(self, call: Call) -> bool:
        opened = self._target(call)
        if opened is not None:
            opened.position = call.result
        return False

    def _do_write(self, call: Call) -> bool:
        opened = self._target(call)
        if opened is None:
            return False
        data = b"".join(call.texts)[: call.result]
        assert len(data) == call.result, "strace cut a write short"
        at = opened.position
        opened.position += call.result
        return self._put(opened, at, data)

    _do_writev = _do_write

    def _do_pwrite64(self, call: Call) -> bool:
        opened = self._target(call)
        if opened is None:
            return False
        data = b"".join(call.texts)[: call.result]
        assert len(data) == call.result, "strace cut a write short"
        offset = int(call.arguments.rsplit(",", 1)[1], 0)
        return self._put(opened, offset, data)

    _do_pwritev = _do_pwrite64

    def _do_ftruncate(self, call: Call) -> bool:
        opened = self._target(call)
        if opened is not None and opened.file is not None:
            opened.file.pending.append((call.number(1), None))
        return opened is not None

    def _do_fallocate(self, call: Call) -> bool:
        opened = self._target(call)
        if opened is None or opened.file is None:
            return False
        end = call.number(2) + call.number(3)
        size = opened.file.content.size
        for at, data in opened.file.pending:
            size = at if data is None else max(size, at + len(data))
        if end > size:
            opened.file.pending.append((end, None))
        return True

    def _do_fsync(self, call: Call) -> bool:
        found = self._open.get(call.number(0))
        if found is None:
            return False
        if found.file is None:
            self._sync_directory(found.path)
        else:
            found.file.sync()
        return True

    _do_fdatasync = _do_fsync

    # ---- after the cut ---------------------------------------------------------------

    def leave(self, target: Path, chance: random.Random, way: str) -> None:
        """Write what a cut at this moment may leave.

        Args:
            target: a directory to be made, in the place of the root.
            chance: draws what is lost.
            way: ``nothing`` of what is uncertain, ``everything``, ``some`` whole writes, or
                ``torn``: some, and of one write some sectors only.
        """
        names = dict(self._certain)
        keep = {"nothing": 0, "everything": len(self._pending)}.get(
            way, chance.randint(0, len(self._pending))
        )
        for change in self._pending[:keep]:
            rename_in(names, change)
        for path in sorted(names):
            if not all(str(p) in names for p in self._parents(path)):
                continue  # its directory never reached the disk
            place = target / path[len(self._root) :].lstrip("/")
            file = names[path]
            if file is None:
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                write_sparse(place, self._content(file, chance, way))
        target.mkdir(parents=True, exist_ok=True)

    def _parents(self, path: str) -> list[PurePosixPath]:
        parents = list(PurePosixPath(path).parents)
        return [p for p in parents if str(p) != self._root and self._is_ours(str(p))]

    @staticmethod
    def _content(file: File, chance: random.Random, way: str) -> Content:
        content = file.content.copy()
        for at, data in file.pending:
            if way == "everything" or (way in {"some", "torn"} and chance.random() < 0.6):
                if data is not None and way == "torn" and chance.random() < 0.3:
                    for start in range(0, len(data), SECTOR_BYTES):
                        if chance.random() < 0.5:
                            piece = data[start : start + SECTOR_BYTES]
                            content.change(at + start, piece)
                else:
                    content.change(at, data)
        return content


def rename_in(names: dict[str, File | None], change: NameChange) -> None:
    """Carry out one change of names."""
    kind, path, what = change
    if kind == "create":
        assert not isinstance(what, str)
        names[path] = what
    elif kind == "unlink":
        names.pop(path, None)
    else:
        former = str(what)
        for name in [n for n in names if n == former or n.startswith(f"{former}/")]:
            names[path + name[len(former) :]] = names.pop(name)


def write_sparse(path: Path, content: Content) -> None:
    """Write a file whose zeros at the end take no space."""
    with path.open("wb") as file:
        file.write(content.data)
        file.truncate(content.size)
