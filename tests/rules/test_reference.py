"""The reference pages say what the yaml files say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_reference_pages_are_generated_from_the_yaml_files():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/reference.py"), "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
