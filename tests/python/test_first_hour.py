"""The page for the first hour on a device: its commands exist, and its modelled times are ours."""

import re
import shlex
from pathlib import Path

import pytest

from ascend_prefetch.lab import cli
from ascend_prefetch.lab.bench.common import MODELLED_KEYS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "first-hour.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize(
    "line", [line for line in LINES if "-m ascend_prefetch" in line], ids=str.lower
)
def test_commands_are_taken(line):
    words = shlex.split(line.replace("$tp", "16"))
    cli.parser().parse_args(words[words.index("ascend_prefetch") + 1 :])


def test_tests_are_where_they_are_looked_for():
    root = DOCS.parent
    words = [word.replace("$T", "tests/python") for line in LINES for word in line.split()]
    paths = [word for word in words if word.startswith("tests/")]
    assert len(paths) == 6
    assert all((root / path).exists() for path in paths)
    for name in re.findall(r"`(test_\w+\.py)`", PAGE):
        assert (root / "tests" / "npu" / name).exists(), name


def test_modelled_times_are_those_of_the_results():
    results = (DOCS / "results.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", results, re.DOTALL | re.MULTILINE))
    rows = re.findall(r"^\| (\w+) TP(\d+) \|(.*)\|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for op, tp, cells in rows:
        line = re.search(rf"^\| {tp} \| nd \| 16 \|(.*)\|$", sections[op], re.MULTILINE)
        floor, fused, _, separate, cmo = (cell.strip() for cell in line[1].split("|")[:5])
        expected = [floor]
        for low, nominal, high in (times.split(" / ") for times in (fused, separate, cmo)):
            expected.append(f"{nominal} ({low} to {high})")
        assert [cell.strip() for cell in cells.split("|")] == expected


def test_the_schema_names_every_form():
    (schema,) = re.findall(r"^measured_us +(.*): each$", PAGE, re.MULTILINE)
    assert schema.split(", ") == list(MODELLED_KEYS[1:])
