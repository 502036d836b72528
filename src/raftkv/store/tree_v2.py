"""The v2 store: a tree of directories and values with one index for all changes. Pure.

Each change raises ``index`` by one and yields an ``EventV2``. Times are arguments: a TTL is an
absolute time in milliseconds, expiry happens when a replicated command says what time it is.
Behaviour: etcd 3.4's v2 store, compared with the running program.

Nodes are written to the backend by number, never by path: ``writes`` names what changed since the
owner last took it.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from etcdwire.json_v2 import NodeView
from raftkv.store import errors_v2 as e

FIRST_INDEX: Final = 3
"""A fresh one-member etcd 3.4 answers 3 before the first write."""
_ROW: Final = struct.Struct(">BQQQI")


class EventV2(NamedTuple):
    """The outcome of one operation."""

    action: str
    node: NodeView
    previous: NodeView | None
    store_index: int
    """The tree's index after it."""
    refresh: bool = False
    """Silent to waiting clients."""
    deleted_paths: tuple[str, ...] = ()
    """For a removed directory: everything that vanished with it."""

    @property
    def is_created(self) -> bool:
        """Whether HTTP answers 201."""
        return self.action == "create" or (self.action == "set" and self.previous is None)


class _Node:
    __slots__ = (
        "children",
        "created",
        "expires_ms",
        "modified",
        "name",
        "number",
        "parent",
        "value",
    )

    def __init__(self, name: str, parent: _Node | None, number: int, created: int) -> None:
        self.name = name
        self.parent = parent
        self.number = number
        self.created = self.modified = created
        self.expires_ms = 0
        self.value = ""
        self.children: dict[str, _Node] | None = None

    def path(self) -> str:
        names: list[str] = []
        node: _Node | None = self
        while node is not None and node.parent is not None:
            names.append(node.name)
            node = node.parent
        return "/" + "/".join(reversed(names))


class TreeV2:
    """The whole v2 key space of one member."""

    def __init__(self) -> None:
        self._root = _Node("", None, 0, 0)
        self._root.children = {}
        self._last_number = 0
        self._expiry: list[tuple[int, int, _Node]] = []
        self.index = FIRST_INDEX
        self.writes: dict[int, bytes | None] = {}

    # --- reads ------------------------------------------------------------------------------

    def get(self, path: str, now_ms: int, *, recursive: bool, is_sorted: bool) -> EventV2:
        """One node, with its children when it is a directory.

        Raises:
            V2Error: not found.
        """
        node = self._find(path)
        view = self._list(node, path, now_ms, recursive=recursive, is_sorted=is_sorted)
        return EventV2("get", view, None, self.index)

    # --- writes -----------------------------------------------------------------------------

    def set(
        self,
        path: str,
        value: str,
        expires_ms: int,
        now_ms: int,
        *,
        is_dir: bool,
        refresh: bool = False,
    ) -> EventV2:
        """Create or replace a value (or create a directory).

        ``refresh`` replaces what must exist by the same value and tells no watcher.

        Raises:
            V2Error: a directory is in the way, or a file is on the path; nothing to refresh.
        """
        if refresh:
            value = self._find(path).value
        event = self._create("set", path, value, expires_ms, now_ms, is_dir=is_dir, replace=True)
        return event._replace(refresh=True) if refresh else event

    def create(
        self,
        path: str,
        value: str,
        expires_ms: int,
        now_ms: int,
        *,
        is_dir: bool,
        unique: bool = False,
    ) -> EventV2:
        """Create what must not exist; ``unique`` makes an in-order key inside ``path``.

        Raises:
            V2Error: it exists, or a file is on the path.
        """
        if unique:
            path = f"{path.rstrip('/')}/{self.index + 1:020d}"
        return self._create(
            "create", path, value, expires_ms, now_ms, is_dir=is_dir, replace=False
        )

    def update(
        self,
        path: str,
        value: str,
        expires_ms: int,
        now_ms: int,
        *,
        refresh: bool = False,
    ) -> EventV2:
        """Change what must exist; ``refresh`` keeps the value and tells no watcher.

        Raises:
            V2Error: not found, or a value given for a directory.
        """
        self._refuse_root(path)
        node = self._find(path)
        if node.children is not None and value:
            raise e.V2Error(e.NOT_A_FILE, path, self.index)
        previous = self._view(node, path, now_ms)
        self.index += 1
        if node.children is None:
            node.modified = self.index
            if not refresh:
                node.value = value
        self._set_expiry(node, expires_ms)
        self._touch(node)
        view = self._view(node, path, now_ms)._replace(modified=self.index)
        return EventV2("update", view, previous, self.index, refresh)

    def compare_and_swap(
        self,
        path: str,
        previous_value: str,
        previous_index: int,
        value: str,
        expires_ms: int,
        now_ms: int,
        *,
        refresh: bool = False,
    ) -> EventV2:
        """Change a value only when it still is what the caller saw.

        Raises:
            V2Error: not found, a directory, or different.
        """
        self._refuse_root(path)
        node = self._find(path)
        self._compare(node, path, previous_value, previous_index)
        previous = self._view(node, path, now_ms)
        self.index += 1
        node.modified = self.index
        if not refresh:
            node.value = value
        self._set_expiry(node, expires_ms)
        self._touch(node)
        view = self._view(node, path, now_ms)
        return EventV2("compareAndSwap", view, previous, self.index, refresh)

    def delete(self, path: str, now_ms: int, *, is_dir: bool, recursive: bool) -> EventV2:
        """Delete a value, an empty directory, or (``recursive``) anything.

        Raises:
            V2Error: not found, a directory not asked for, or one that is not empty.
        """
        self._refuse_root(path)
        node = self._find(path)
        if node.children is not None:
            if not is_dir and not recursive:
                raise e.V2Error(e.NOT_A_FILE, path, self.index)
            if node.children and not recursive:
                raise e.V2Error(e.DIRECTORY_NOT_EMPTY, path, self.index)
        return self._delete_node("delete", node, path, now_ms)

    def compare_and_delete(
        self,
        path: str,
        previous_value: str,
        previous_index: int,
        now_ms: int,
    ) -> EventV2:
        """Delete a value only when it still is what the caller saw.

        Raises:
            V2Error: not found, a directory, or different.
        """
        self._refuse_root(path)
        node = self._find(path)
        self._compare(node, path, previous_value, previous_index)
        return self._delete_node("compareAndDelete", node, path, now_ms)

    def expire(self, now_ms: int) -> list[EventV2]:
        """Remove everything whose time has come, in order of time; each is an event."""
        events: list[EventV2] = []
        while self._expiry and self._expiry[0][0] <= now_ms:
            expires_ms, _, node = heapq.heappop(self._expiry)
            if node.expires_ms == expires_ms and self._is_attached(node):
                events.append(self._delete_node("expire", node, node.path(), now_ms))
        return events

    @property
    def next_expiry_ms(self) -> int:
        """When ``expire`` has work again; 0 for never."""
        while self._expiry:
            expires_ms, _, node = self._expiry[0]
            if node.expires_ms == expires_ms and self._is_attached(node):
                return expires_ms
            heapq.heappop(self._expiry)
        return 0

    # --- persistence ------------------------------------------------------------------------

    @classmethod
    def load(cls, rows: Iterable[tuple[int, bytes]], index: int) -> TreeV2:
        """Rebuild the tree from its rows."""
        tree = cls()
        tree.index = max(index, FIRST_INDEX)
        found: list[tuple[str, int, bytes]] = []
        for number, row in rows:
            flags, created, modified, expires_ms, path_bytes = _ROW.unpack_from(row)
            stop = _ROW.size + path_bytes
            found.append((row[_ROW.size : stop].decode(), number, row))
            tree._last_number = max(tree._last_number, number)
        for path, number, row in sorted(found):
            flags, created, modified, expires_ms, path_bytes = _ROW.unpack_from(row)
            parent_path, _, name = path.rpartition("/")
            parent = tree._find(parent_path or "/")
            node = _Node(name, parent, number, created)
            node.modified = modified
            if flags & 1:
                node.children = {}
            else:
                node.value = row[_ROW.size + path_bytes :].decode("utf-8", "surrogateescape")
            if parent.children is not None:
                parent.children[name] = node
            if expires_ms:
                node.expires_ms = expires_ms
                heapq.heappush(tree._expiry, (expires_ms, number, node))
        return tree

    def _touch(self, node: _Node) -> None:
        path = node.path().encode("utf-8", "surrogateescape")
        self.writes[node.number] = b"".join(
            (
                _ROW.pack(
                    0 if node.children is None else 1,
                    node.created,
                    node.modified,
                    node.expires_ms,
                    len(path),
                ),
                path,
                node.value.encode("utf-8", "surrogateescape"),
            ),
        )

    # --- inside -----------------------------------------------------------------------------

    def _refuse_root(self, path: str) -> None:
        if path == "/":
            raise e.V2Error(e.ROOT_READ_ONLY, "/", self.index)

    def _find(self, path: str) -> _Node:
        node = self._root
        if path == "/":
            return node
        walked = ""
        for name in path[1:].split("/"):
            if node.children is None:
                raise e.V2Error(e.NOT_A_DIRECTORY, walked, self.index)
            walked = f"{walked}/{name}"
            child = node.children.get(name)
            if child is None:
                raise e.V2Error(e.KEY_NOT_FOUND, walked, self.index)
            node = child
        return node

    def _make_parents(self, names: list[str]) -> _Node:
        """Walk to a directory, creating what is missing once the way is known to be free."""
        node = self._root
        for depth, name in enumerate(names):
            if node.children is None:
                raise e.V2Error(e.NOT_A_DIRECTORY, "/" + "/".join(names[:depth]), self.index)
            child = node.children.get(name)
            if child is None:
                for missing in names[depth:]:
                    child = self._new_node(missing, node, self.index + 1)
                    child.children = {}
                    self._touch(child)
                    node = child
                return node
            node = child
        if node.children is None:
            raise e.V2Error(e.NOT_A_DIRECTORY, "/" + "/".join(names), self.index)
        return node

    def _new_node(self, name: str, parent: _Node, created: int) -> _Node:
        self._last_number += 1
        node = _Node(name, parent, self._last_number, created)
        if parent.children is not None:
            parent.children[name] = node
        return node

    def _create(
        self,
        action: str,
        path: str,
        value: str,
        expires_ms: int,
        now_ms: int,
        *,
        is_dir: bool,
        replace: bool,
    ) -> EventV2:
        self._refuse_root(path)
        names = path[1:].split("/")
        parent = self._make_parents(names[:-1])
        children = parent.children or {}
        existing = children.get(names[-1])
        previous = None
        if existing is not None:
            if not replace:
                raise e.V2Error(e.KEY_EXISTS, path, self.index)
            if existing.children is not None:
                raise e.V2Error(e.NOT_A_FILE, path, self.index)
            previous = self._view(existing, path, now_ms)
        self.index += 1
        if existing is not None:
            node = existing
            node.created = node.modified = self.index
        else:
            node = self._new_node(names[-1], parent, self.index)
        if is_dir:
            node.children = {}
            node.value = ""
        else:
            node.value = value
        self._set_expiry(node, expires_ms)
        self._touch(node)
        return EventV2(action, self._view(node, path, now_ms), previous, self.index)

    def _delete_node(self, action: str, node: _Node, path: str, now_ms: int) -> EventV2:
        previous = self._view(node, path, now_ms)
        self.index += 1
        vanished: list[str] = []
        for inner, inner_path in self._walk(node, path):
            self.writes[inner.number] = None
            if inner is not node:
                vanished.append(inner_path)
        if node.parent is not None and node.parent.children is not None:
            del node.parent.children[node.name]
        is_dir = node.children is not None
        view = NodeView(path, None, is_dir, 0, 0, self.index, node.created)
        return EventV2(action, view, previous, self.index, deleted_paths=tuple(vanished))

    def _walk(self, node: _Node, path: str) -> Iterator[tuple[_Node, str]]:
        stack = [(node, path)]
        while stack:
            node, path = stack.pop()
            yield node, path
            if node.children:
                stack.extend((child, f"{path}/{name}") for name, child in node.children.items())

    def _compare(self, node: _Node, path: str, previous_value: str, previous_index: int) -> None:
        if node.children is not None:
            raise e.V2Error(e.NOT_A_FILE, path, self.index)
        value_differs = bool(previous_value) and node.value != previous_value
        index_differs = bool(previous_index) and node.modified != previous_index
        if not value_differs and not index_differs:
            return
        causes = []
        if value_differs:
            causes.append(f"[{previous_value} != {node.value}]")
        if index_differs:
            causes.append(f"[{previous_index} != {node.modified}]")
        raise e.V2Error(e.COMPARE_FAILED, " ".join(causes), self.index)

    def _set_expiry(self, node: _Node, expires_ms: int) -> None:
        node.expires_ms = expires_ms
        if expires_ms:
            heapq.heappush(self._expiry, (expires_ms, node.number, node))

    def _is_attached(self, node: _Node) -> bool:
        while node.parent is not None:
            if node.parent.children is None or node.parent.children.get(node.name) is not node:
                return False
            node = node.parent
        return True

    def _view(self, node: _Node, path: str, now_ms: int) -> NodeView:
        expires_ms = node.expires_ms
        ttl_s = -(-(expires_ms - now_ms) // 1000) if expires_ms else 0
        is_dir = node.children is not None
        return NodeView(
            path,
            None if is_dir else node.value,
            is_dir,
            expires_ms,
            ttl_s,
            node.modified,
            node.created,
        )

    def _list(
        self,
        node: _Node,
        path: str,
        now_ms: int,
        *,
        recursive: bool,
        is_sorted: bool,
    ) -> NodeView:
        """A node with its visible children; deeper ones when recursive (bounded by path length)."""
        view = self._view(node, path, now_ms)
        if node.children is None:
            return view
        prefix = "" if path == "/" else path
        names = sorted(node.children) if is_sorted else list(node.children)
        listed = []
        for name in names:
            if name.startswith("_"):
                continue
            child = node.children[name]
            child_path = f"{prefix}/{name}"
            if recursive and child.children is not None:
                listed.append(
                    self._list(child, child_path, now_ms, recursive=True, is_sorted=is_sorted),
                )
            else:
                listed.append(self._view(child, child_path, now_ms))
        return view._replace(nodes=tuple(listed))
