"""What an installed package promises: stubs, documentation, an import that says what is wrong."""

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11_stubgen
import pytest

import ascend_prefetch
from ascend_prefetch import _C

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "ascend_prefetch"


def test_stubs_are_those_of_the_module(tmp_path):
    pybind11_stubgen.main(["ascend_prefetch._C", "--output-dir", str(tmp_path), "--exit-code"])
    generated = (tmp_path / "ascend_prefetch" / "_C.pyi").read_text()
    assert (PACKAGE / "_C.pyi").read_text() == generated, "run make stubs"


def documented(function):
    """Without the signatures that pybind11 writes."""
    lines = (function.__doc__ or "").splitlines()
    return any(line and not line.startswith(f"{function.__name__}(") for line in lines)


def test_everything_in_the_module_is_documented():
    members = [*vars(_C).items(), *vars(_C.Timeline).items()]
    found = [
        name
        for name, member in members
        if not name.startswith("_") and not inspect.ismodule(member)
        if not (member.__doc__ if isinstance(member, property) else documented(member))
    ]
    assert found == []


def test_backends(capsys):
    found = ascend_prefetch.backends()
    assert found["twin"] == (True, "host, CPU tensors")
    assert not found["npu"].available
    assert "\n" not in found["npu"].detail


def imported(directory):
    command = [sys.executable, "-c", "import ascend_prefetch"]
    environment = {"PYTHONPATH": str(directory)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=directory)


@pytest.mark.parametrize("module", [None, b"not a library"])
def test_a_module_that_does_not_load(module, tmp_path):
    """Not built, or (here: not even a library) built against another torch."""
    shutil.copytree(PACKAGE, tmp_path / "ascend_prefetch", ignore=shutil.ignore_patterns("_C*"))
    if module is not None:
        (tmp_path / "ascend_prefetch" / Path(_C.__file__).name).write_bytes(module)
    last = imported(tmp_path).stderr.splitlines()[-1]
    assert re.match(
        r"ImportError: ascend_prefetch: no _C that loads with torch \S+ \(.+\); "
        r"build it for this torch: `make build` in a checkout, else `pip install ",
        last,
    )
