"""House rules as tests: lengths, names, doors, nothing that names a machine.

The limits are ratchets: what was longer when a limit came is listed with its length, may shrink,
and may not grow.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    p for d in ("src", "lib", "tools", "benchmarks") for p in (ROOT / d).rglob("*.py")
)
FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 60
FILE_RATCHET = {"src/etcdwire/messages.py": 1100}
"""Field tables: their length is the protocol's."""
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|managers?|common)(_|$|\.py$)")
STANDARD_NAMES = {
    "operator",
    "secrets",
    "queue",
    "types",
    "platform",
    "select",
    "signal",
    "struct",
    "resource",
    "calendar",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_length(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= FILE_RATCHET.get(name_of(path), FILE_LINES_MAX)


def callbacks_of_themselves(tree: ast.AST) -> list[str]:
    """Functions within functions that name themselves."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    inner = {
        node
        for outer in ast.walk(tree)
        if isinstance(outer, functions)
        for node in ast.walk(outer)
        if isinstance(node, functions) and node is not outer
    }
    return sorted(
        f"{function.name} (line {function.lineno})"
        for function in inner
        if any(isinstance(n, ast.Name) and n.id == function.name for n in ast.walk(function))
    )


@pytest.mark.parametrize("path", sorted((ROOT / "src/raftkv").rglob("*.py")), ids=name_of)
def test_no_callback_holds_on_to_itself(path: Path) -> None:
    """One that outlives a full collection would never be forgotten (ADR 17)."""
    assert callbacks_of_themselves(ast.parse(path.read_text())) == []


def test_a_callback_that_holds_on_to_itself_is_found() -> None:
    source = "def ask():\n    def step():\n        later(step)\n    step()"
    assert callbacks_of_themselves(ast.parse(source)) == ["step (line 2)"]


def code_lines(node: ast.AST, lines: list[str]) -> int:
    """Lines of a function without its docstring, blank lines and comments."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    body = node.body
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(body) > 1:
        body = body[1:]
    text = lines[body[0].lineno - 1 : node.end_lineno]
    return sum(1 for line in text if line.strip() and not line.strip().startswith("#"))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_function_length(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    long = [
        f"{node.name}: {code_lines(node, lines)}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and code_lines(node, lines) > FUNCTION_LINES_MAX
    ]
    assert not long


def test_names_say_what_they_are() -> None:
    bad = [name_of(p) for p in SOURCES if any(BANNED_NAMES.search(n) for n in p.parts[-3:])]
    assert not bad


def test_no_root_is_named_like_a_standard_module() -> None:
    roots = {p.stem for p in (ROOT / "src").iterdir()}
    assert not roots & STANDARD_NAMES


def test_only_the_charm_and_its_shell_know_ops() -> None:
    allowed = ("src/charm.py", "src/etcd_charm/reconcile/", "lib/")
    found = [
        name_of(p)
        for p in SOURCES
        if re.search(r"^\s*(import ops|from ops)", p.read_text(), re.MULTILINE)
        and not name_of(p).startswith(allowed)
    ]
    assert not found


@pytest.mark.parametrize(
    ("module", "door"),
    [
        ("charmhelpers", "src/etcd_charm/workload/host.py"),
        ("jinja2", "src/etcd_charm/workload/config_files.py"),
        ("lmdb", "src/raftkv/backend/environment.py"),
        ("uvloop", "src/raftkv/server/event_loop.py"),
    ],
)
def test_one_door(module: str, door: str) -> None:
    pattern = re.compile(rf"^\s*(import {module}|from {module})", re.MULTILINE)
    found = {name_of(p) for p in SOURCES if pattern.search(p.read_text())}
    assert found <= {door}
    assert module in (ROOT / door).read_text()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_no_file_names_a_machine() -> None:
    listed = subprocess.run(
        ["git", "grep", "-nIE", r"/work/(main|shared)|/root/|pypi\.org|debian\.org/debian"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    lines = [line for line in listed.splitlines() if not line.startswith("tests/rules/")]
    assert not [line for line in lines if "/root/" not in line], lines
