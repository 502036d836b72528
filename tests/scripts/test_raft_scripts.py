"""Golden stories of the Raft core and of membership: one behaviour per file, its name says which.

A script is blocks of commands, each followed by a line ``---`` and what it must print, up to an
empty line. To write the outputs anew after a change: ``REGENERATE=1 pytest tests/scripts``, then
read the diff: every changed line is a changed behaviour.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kit.scripted_cluster import ScriptedCluster

_HERE = Path(__file__).parent
SCRIPTS = sorted([*_HERE.glob("raft/*.txt"), *_HERE.glob("confchange/*.txt")])


def _replay(text: str) -> str:
    cluster = ScriptedCluster()
    blocks: list[str] = []
    for block in text.strip().split("\n\n"):
        commands, _, _ = block.partition("\n---")
        if all(line.startswith("#") for line in commands.splitlines()):
            blocks.append(commands)
            continue
        blocks.append(f"{commands}\n---\n{cluster.run(commands)}")
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_script(path: Path) -> None:
    text = path.read_text()
    replayed = _replay(text)
    if os.environ.get("REGENERATE"):
        path.write_text(replayed)
    else:
        assert replayed == text


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 15
