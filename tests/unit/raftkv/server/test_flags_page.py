"""The page on flags names what there is, and why the rest is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raftkv.server.flags import FLAGS, REFUSED

NONE = "\N{EN DASH}"
PAGE = Path(__file__).resolve().parents[4] / "docs/reference/raftkvd-flags.md"


def rows(heading: str) -> dict[str, list[str]]:
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in section.splitlines() if "| `--" in line]
    found = [[cell.strip() for cell in row] for row in cells]
    return {re.sub(r"[`-]{2,}|`", "", row[0], count=0): row[1:] for row in found}


def test_the_page_lists_each_served_flag_with_its_default() -> None:
    listed = rows("Served")
    assert list(listed) == [flag.name for flag in FLAGS]
    for flag in FLAGS:
        default = str(flag.default).lower() if isinstance(flag.default, bool) else flag.default
        assert listed[flag.name][0] == (f"`{default}`" if default != "" else NONE), flag.name
        assert "not served" not in listed[flag.name][1], flag.name


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_the_page_says_why_a_flag_is_refused(name: str) -> None:
    assert rows("Refused")[name] == [REFUSED[name]]


def test_the_page_names_no_other_refused_flag() -> None:
    assert set(rows("Refused")) == set(REFUSED)
