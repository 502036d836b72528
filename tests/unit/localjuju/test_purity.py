"""The resolver reads no clock, rolls no dice and touches nothing."""

import ast
import re
import sys
from pathlib import Path

import localjuju
from localjuju import resolver

FORBIDDEN = {
    "time", "random", "os", "socket", "subprocess", "threading", "datetime", "asyncio", "secrets",
}  # fmt: skip
ROOM = Path(resolver.__file__).parent
PACKAGE = Path(localjuju.__file__).parent


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


def test_resolver_is_pure() -> None:
    for file in ROOM.glob("*.py"):
        assert not imported(file) & FORBIDDEN, file


def test_resolver_knows_only_itself() -> None:
    for file in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("localjuju"):
                assert (node.module or "").startswith("localjuju.resolver"), file


def test_nothing_outside_the_standard_library_but_yaml() -> None:
    allowed = set(sys.stdlib_module_names) | {"yaml", "localjuju", "_socket"}
    for file in PACKAGE.rglob("*.py"):
        assert imported(file) <= allowed, file


def test_tool_client_starts_on_builtin_modules_only() -> None:
    assert imported(PACKAGE / "hook_client.py") <= {"os", "sys", "_socket", "typing"}


def test_nothing_knows_a_certain_charm() -> None:
    """What runs these charms runs any other: no name, port or path of theirs is written here."""
    words = re.compile(r"etcd|\braft|easyrsa|easy-rsa|\b(2379|2380|4001|7001)\b", re.IGNORECASE)
    found = [
        f"{file.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for file in sorted(PACKAGE.rglob("*"))
        if file.is_file() and file.suffix != ".pyc"
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if words.search(line)
    ]
    assert found == []
