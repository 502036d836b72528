#!/usr/bin/env python3
"""Write the reference pages of the charm from its yaml files; `--check` only compares.

What stands between two markers of a page is replaced, all else is written by hand.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
ACTIONS_PAGE = ROOT / "docs/reference/actions.md"
OPTIONS_PAGE = ROOT / "docs/reference/configuration.md"


def main() -> int:
    """Write or check both pages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    stale = []
    for page, text in render_pages().items():
        if page.read_text() == text:
            continue
        stale.append(page)
        if not arguments.check:
            page.write_text(text)
    if stale and arguments.check:
        sys.stderr.write(f"run tools/reference.py: {', '.join(map(str, stale))}\n")
    return bool(stale and arguments.check)


def render_pages() -> dict[Path, str]:
    """Return the pages as they should be."""
    actions = yaml.safe_load((ROOT / "actions.yaml").read_text())
    options = yaml.safe_load((ROOT / "config.yaml").read_text())["options"]
    metadata = yaml.safe_load((ROOT / "metadata.yaml").read_text())
    options_page = replace_marked(OPTIONS_PAGE.read_text(), "options", render_options(options))
    for name in ("endpoints", "storage", "resources"):
        text = render_rows(list_things(metadata, name))
        options_page = replace_marked(options_page, name, text)
    actions_page = replace_marked(ACTIONS_PAGE.read_text(), "actions", render_actions(actions))
    return {ACTIONS_PAGE: actions_page, OPTIONS_PAGE: options_page}


def replace_marked(page: str, name: str, text: str) -> str:
    """Replace what stands between the markers of a name."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    changed, count = pattern.subn(lambda match: f"{match[1]}{text}{match[2]}", page)
    assert count == 1, f"the page has no markers for {name}"
    return changed


def render_options(options: dict[str, Any]) -> str:
    """Return the table of the options."""
    lines = ["| option | type, default | meaning |", "|---|---|---|"]
    for name, option in options.items():
        default = _say_default(option.get("default"))
        meaning = _join(option["description"])
        lines.append(f"| `{name}` | {option['type']}, {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def render_actions(actions: dict[str, Any]) -> str:
    """Return a section for each action."""
    parts = []
    for name, action in actions.items():
        lines = [f"## {name}", "", *_paragraphs(action["description"])]
        required = action.get("required", [])
        if action.get("params"):
            lines += ["", "| parameter | type, default | meaning |", "|---|---|---|"]
        for param, schema in action.get("params", {}).items():
            default = "required" if param in required else _say_default(schema.get("default"))
            meaning = _join(schema["description"])
            lines.append(f"| `{param}` | {schema['type']}, {default} | {meaning} |")
        parts.append("\n".join(lines))
    return "\n" + "\n\n".join(parts) + "\n\n"


def list_things(metadata: dict[str, Any], kind: str) -> list[tuple[str, str, str]]:
    """Return name, form and meaning of the endpoints, storages or resources."""
    if kind == "resources":
        return [
            (name, f"file `{entry['filename']}`", _join(entry["description"]))
            for name, entry in metadata["resources"].items()
        ]
    if kind == "storage":
        return [
            (
                name,
                f"{entry['type']}, {entry['multiple']['range']}, {entry['minimum-size']}",
                _join(entry["description"]),
            )
            for name, entry in metadata["storage"].items()
        ]
    return [
        (name, f"{role} `{entry['interface']}`", _join(entry.get("description", "")))
        for role in ("peers", "provides", "requires")
        for name, entry in metadata[role].items()
    ]


def render_rows(rows: list[tuple[str, str, str]]) -> str:
    """Return a table of three columns."""
    lines = ["| name | form | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {form} | {meaning} |" for name, form, meaning in rows]
    return "\n".join(lines) + "\n"


def _say_default(value: object) -> str:
    if value is None or value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _join(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _paragraphs(text: str) -> list[str]:
    return text.strip().splitlines()


if __name__ == "__main__":
    sys.exit(main())
