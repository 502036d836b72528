#!/usr/bin/env python3
"""Follow one key of version 2 and render a file from it, as confd does: `follow.py URL FILE`."""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

KEY = "/v2/keys/config/database"
PAUSE_S = 1.0
"""After an error: the proxy may be starting, or the cluster electing."""


def ask(url: str) -> tuple[str | None, int]:
    """Return the value at a URL, if there is one, and the index after which to wait."""
    try:
        with urllib.request.urlopen(url, timeout=300) as answer:
            index = int(answer.headers["X-Etcd-Index"])
            node = json.load(answer)["node"]
            return node.get("value"), max(index, int(node["modifiedIndex"]))
    except urllib.error.HTTPError as error:
        return None, int(error.headers.get("X-Etcd-Index") or 0)


def main() -> None:
    """Render, wait for the next change, and so on."""
    base, target = sys.argv[1], Path(sys.argv[2])
    while True:
        try:
            value, index = ask(base + KEY)
            while True:
                if value is not None:
                    fresh = target.with_suffix(".new")
                    fresh.write_text(f"database = {value}\n")
                    fresh.replace(target)
                value, index = ask(f"{base}{KEY}?wait=true&waitIndex={index + 1}")
                if value is None:
                    break
        except (OSError, ValueError, KeyError):
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
