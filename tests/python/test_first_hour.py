"""The page for the first hour on a device: its commands exist, and its modelled times are ours."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from ascend_prefetch.lab import cli
from ascend_prefetch.lab.bench.common import MODELLED_KEYS
from ascend_prefetch.lab.first_hour.report import NUMBERS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))

import generated

DOCS = Path(__file__).resolve().parents[2] / "docs"
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
    """The page takes them from there: low / nominal / high of bf16, ND, 16 tokens."""
    assert "<!-- generated: first_hour_times -->" in PAGE
    results = (DOCS / "results.md").read_text(encoding="utf-8")
    rows = generated.first_hour_times().splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == [
        "mla_prolog TP1",
        "mla_prolog TP16",
        "o_proj TP16",
    ]
    for row in rows:
        floor, *forms = (cell.strip() for cell in row.split("|")[2:-1])
        times = [re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", form).groups() for form in forms]
        fused, separate, cmo = (f"{low} / {nominal} / {high}" for nominal, low, high in times)
        (line,) = [
            line
            for line in results.splitlines()
            if f"| nd | 16 | {floor} | {fused} |" in line and f"| {separate} | {cmo} |" in line
        ]
        assert line.startswith(f"| {row.split('|')[1].split('TP')[1].strip()} | nd ")


def test_the_numbers_to_look_at_first_are_those_of_the_report():
    section = PAGE.partition("## Three numbers")[2].partition("\n## ")[0]
    for number in NUMBERS:
        assert f"`{number.name}`" in section and f"`{number.step}`" in section


def test_the_schema_names_every_form():
    (schema,) = re.findall(r"^measured_us +(.*): each$", PAGE, re.MULTILINE)
    assert schema.split(", ") == list(MODELLED_KEYS[1:])
