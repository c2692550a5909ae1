"""CONTRIBUTING.md says which files an addition touches; here the files are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADING = "## To add X, touch Y"


def test_the_files_to_touch_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    section = page.split(f"{HEADING}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| a")]
    assert len(rows) >= 8
    for row in rows:
        paths = [name for name in re.findall(r"`([^`]+)`", row) if "/" in name]
        assert paths, row
        for path in paths:
            assert (ROOT / path).exists(), path
