"""The table of the twin's constraints: whole, and true of the sources that it names."""

from __future__ import annotations

import csv
import functools
import re
from pathlib import Path

import pytest

from ascend_prefetch import _lab

ROOT = Path(__file__).resolve().parents[2]
TWIN = ROOT / "csrc" / "twin"
KERNELS = sorted([*ROOT.glob("csrc/kernels/*"), *ROOT.glob("csrc/lab/kernels/*")])
CODES = {code for code, _ in _lab.error_codes()}
UNCHECKED = ("not checked", "does not compile", "no constraint")


def read_table() -> list[dict[str, str]]:
    with (TWIN / "constraints.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


ROWS = read_table()


def row_id(row: dict[str, str]) -> str:
    return f"{row['api'].split()[0]}: {row['constraint']}"


@functools.cache
def headers() -> str:
    """The twin's Ascend C headers, with literals that go over lines put together."""
    text = "\n".join(path.read_text() for path in (TWIN / "include" / "ascendc").glob("*.h"))
    return re.sub(r"\s*\n///? ?", " ", text)


@functools.cache
def cpp_tests(file: str) -> dict[str, str]:
    """Bodies of the tests of a C++ file, and what stands outside of them as ""."""
    text = (ROOT / "tests" / "cpp" / f"{file}.cpp").read_text()
    test = re.compile(r"^TEST\((\w+)\) \{(?:\n(.*?)^\}| ([^\n]*) \}$)", re.MULTILINE | re.DOTALL)
    bodies = {match[1]: match[2] or match[3] for match in test.finditer(text)}
    return bodies | {"": test.sub("", text)}


@functools.cache
def pairs() -> str:
    return "\n".join(path.read_text() for path in (TWIN / "checks").glob("*.cpp"))


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_a_row_names_what_there_is(row):
    assert all(row[column] for column in ("api", "constraint", "page", "code"))
    code, test = row["code"], row["test"]
    if code == "no constraint":
        assert test == ""
    elif code == "not checked":
        assert len(test.split()) > 4, "the reason"
    elif code == "does not compile":
        assert test in headers()
    elif test.startswith("pair: "):
        name = re.escape(test.removeprefix("pair: "))
        assert re.search(rf'{{"{code}",\s+"{name}",', pairs())
    else:
        file, name = test.split(".")
        tests = cpp_tests(file)
        assert name in tests
        assert f'"{code}"' in tests[name] + tests[""]


def test_codes_are_those_of_the_twin():
    assert {row["code"] for row in ROWS} <= CODES | set(UNCHECKED)


def test_rows_are_different():
    assert len({(row["api"], row["constraint"]) for row in ROWS}) == len(ROWS)


def objects() -> str:
    """The headers of the framework's objects, whose members have rows of their own."""
    folder = TWIN / "include" / "ascendc"
    return "\n".join((folder / name).read_text() for name in ("pipe.h", "queue.h", "tensor.h"))


def test_every_call_of_the_kernels_has_a_row():
    """And every row is of something that is there."""
    source = "\n".join(re.sub(r"//.*", "", path.read_text()) for path in KERNELS if path.is_file())
    used = set(re.findall(r"AscendC::(\w+)", source))
    used |= {name for name in ("KERNEL_TASK_TYPE_DEFAULT", "ASCEND_IS_AIC", "ASCEND_IS_AIV")
             if name in source}  # fmt: skip
    members = {
        name
        for name in re.findall(r"\b([A-Z]\w+)\(", objects())
        if re.search(rf"[.>](?:template )?{name}(?:<[\w:]+>)?\(", source)
    }
    assert members >= {"InitBuffer", "AllocEventID", "Get", "SetGlobalBuffer", "SetValue"}
    rows = {name for row in ROWS for name in row["api"].split()}
    assert used <= {name.split(".")[0] for name in rows}
    assert members <= {name.split(".")[1] for name in rows if "." in name}
    declared = headers() + (TWIN / "include" / "kernel_operator.h").read_text()
    for name in rows:
        for part in name.split("."):
            assert re.search(rf"\b{part}\b|ASCEND_TWIN_\w+\({part}\b", declared), name
