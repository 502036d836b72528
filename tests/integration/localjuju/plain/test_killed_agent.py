"""The agent is killed at each write of its journal; the life of the model goes on all the same.

Every operation writes what it is about to do before it does it and what has become of it after,
so "after write N, for each N" is between every two steps of deploy, scale, relate, refresh,
remove. What a killed run has done may be done twice; nothing may be lost or come in another order.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import killed_model

EVERY = 17
"""How many writes apart the kills of the short test are."""


def live(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.kit.killed_model", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def told(folder: Path) -> dict[str, list[str]]:
    """Return each unit's hooks, those that were begun twice in a row once."""
    found = {}
    for file in sorted(folder.glob("events-*")):
        lines = file.read_text().splitlines()
        kept = [line for i, line in enumerate(lines) if i == 0 or line != lines[i - 1]]
        found[file.name.removeprefix("events-")] = kept
    return found


def without_leaders(lines: list[str]) -> set[str]:
    """Which unit leads is a matter of who asks first."""
    return {line for line in lines if not line.startswith("leader")}


def check(folder: Path, expected: dict[str, list[str]]) -> None:
    happened = told(folder)
    assert happened.keys() == expected.keys()
    for unit, lines in happened.items():
        assert without_leaders(lines) == without_leaders(expected[unit]), unit
        assert lines.count("install -") == 1
        for relation in ("ring", "feed") if unit.startswith("vine") else ("feed",):
            mine = [line for line in lines if line.startswith(relation)]
            first = [line.split()[0] for line in mine][:3]
            assert first == [
                f"{relation}-relation-{kind}" for kind in ("created", "joined", "changed")
            ]
            for other in {line.split()[1] for line in mine} - {"-"}:
                kinds = [line.split()[0][len(relation) :] for line in mine if line.endswith(other)]
                assert kinds[0] == "-relation-joined"
                assert kinds[1] == "-relation-changed"
                assert kinds.count("-relation-joined") == kinds.count("-relation-departed") == 1
                assert kinds[-1] == "-relation-departed"
    for number in (0, 1, 2):
        assert (folder / f"upgraded-vine-{number}").read_text() == "2own\n"
        assert (folder / f"token-vine-{number}").read_text() == "for-wire/0\n"


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A directory with a short name: sockets below it may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="k") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def undisturbed(short: Path) -> tuple[int, dict[str, list[str]]]:
    folder = short / "undisturbed"
    done = live(folder)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[1]), told(folder)


def kill_at(folder: Path, at: int, when: str, expected: dict[str, list[str]]) -> None:
    done = live(folder, str(at), when)
    if done.returncode == killed_model.KILLED:
        done = live(folder)
    assert done.returncode == 0, f"{at} {when}: {done.stdout}{done.stderr}"
    check(folder, expected)


def test_an_undisturbed_life(undisturbed: tuple[int, dict[str, list[str]]]) -> None:
    writes, hooks = undisturbed
    assert writes > 150
    assert sorted(hooks) == ["vine-0", "vine-1", "vine-2", "wire-0"]
    assert hooks["vine-0"][-2:] == ["stop -", "remove -"]


def test_killed_between_steps(undisturbed: tuple[int, dict[str, list[str]]], short: Path) -> None:
    writes, hooks = undisturbed
    for at in range(1, writes, EVERY):
        kill_at(short / str(at), at, "torn" if at % 2 else "after", hooks)


def test_killed_again_and_again(
    undisturbed: tuple[int, dict[str, list[str]]], short: Path
) -> None:
    for _ in range(100):
        done = live(short / "again", "15")
        if done.returncode == 0:
            break
        assert done.returncode == killed_model.KILLED, done.stderr
    else:
        raise AssertionError("no progress")
    assert told(short / "again").keys() == undisturbed[1].keys()
    assert all(lines.count("install -") == 1 for lines in told(short / "again").values())


@pytest.mark.long
def test_killed_between_every_two_steps(
    undisturbed: tuple[int, dict[str, list[str]]], short: Path
) -> None:
    writes, hooks = undisturbed
    for at in range(1, writes + 1):
        kill_at(short / f"after-{at}", at, "after", hooks)
        kill_at(short / f"torn-{at}", at, "torn", hooks)
