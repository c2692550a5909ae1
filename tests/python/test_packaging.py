"""What an installed package promises: stubs, documentation, an import that says what is wrong."""

import inspect
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pybind11_stubgen
import pytest

import ascend_prefetch
from ascend_prefetch import _C, _lab, backend

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "ascend_prefetch"


@pytest.mark.parametrize("module", ["_C", "_lab"])
def test_stubs_are_those_of_the_module(module, tmp_path):
    name = f"ascend_prefetch.{module}"
    pybind11_stubgen.main([name, "--output-dir", str(tmp_path), "--exit-code"])
    generated = (tmp_path / "ascend_prefetch" / f"{module}.pyi").read_text()
    assert (PACKAGE / f"{module}.pyi").read_text() == generated, "run make stubs"


def documented(function):
    """Without the signatures that pybind11 writes."""
    lines = (function.__doc__ or "").splitlines()
    return any(line and not line.startswith(f"{function.__name__}(") for line in lines)


def test_everything_in_the_module_is_documented():
    members = [*vars(_C).items(), *vars(_lab).items(), *vars(_lab.Timeline).items()]
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
    assert found["npu"].available <= backend.LIBRARY.exists()
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


# Public in C++: what other folders include. Ascend C's own headers in the twin are documented by
# the toolkit; building blocks of kernels by the file they are in.
HEADERS = sorted(
    path
    for folder in ("arch", "plan", "model", "ops", "npu", "twin/include/twin")
    for path in (ROOT / "csrc" / folder).glob("*.h")
)
DECLARATION = re.compile(r"(?:template|struct|class|enum)\b|[A-Za-z_][\w:<>,&* ]* \*?&?\w+\(")
NONE = re.compile(r"(?:struct|class) \w+;|static_assert|return\b|namespace\b|using\b|template <>")


def undocumented(text):
    """Lines of declarations without a comment above; that of the file counts for its first."""
    lines = text.splitlines()
    documented_here = lines[0].startswith("//")
    for number, line in enumerate(lines):
        if not DECLARATION.match(line) or NONE.match(line):
            continue
        above = lines[number - 1]
        # The next of a group of declarations, or below the template of this one.
        code = above.partition("//")[0].rstrip()
        goes_on = code.endswith((";", ",", ">", "(")) and not code.startswith(("#", "using"))
        if not (documented_here or goes_on or above.startswith("//")):
            yield f"{number + 1}: {line}"
        documented_here = False


def test_declarations_are_documented():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in HEADERS
        for line in undocumented(path.read_text())
    ]
    assert found == []


def test_a_declaration_without_a_comment_is_found():
    text = (
        "// A file.\nstruct First;\n\nstruct Second {};\n\n/// Yes.\nint F();\nint G();\n\nint H();"
    )
    assert list(undocumented(text)) == ["10: int H();"]
    assert list(undocumented(text[3:])) == ["4: struct Second {};", "10: int H();"]


# --- what a wheel holds ---

LIBRARY, KERNELS = "ascend_prefetch/_C_npu.so", "ascend_prefetch/kernels/ascend910b.o"
HALF = "a.whl: half a device backend, "


@pytest.mark.parametrize(
    ("added", "wrong"),
    [
        ([], []),
        ([LIBRARY, KERNELS], []),
        ([LIBRARY], [HALF + LIBRARY]),
        ([KERNELS], [HALF + KERNELS]),
        (
            ["ascend_prefetch/kernels/a.cpp"],
            ["a.whl: ascend_prefetch/kernels/a.cpp does not belong there"],
        ),
    ],
)
def test_a_wheel_has_all_of_a_device_backend_or_nothing(added, wrong, tmp_path):
    check = runpy.run_path(str(ROOT / "tests" / "packaging" / "check_archives.py"))["check_wheel"]
    modules = (f"ascend_prefetch/{name}.cpython-311-x86_64-linux-gnu.so" for name in ("_C", "_lab"))
    names = ["ascend_prefetch/__init__.py", *modules]
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name in [*names, *added]:
            archive.writestr(name, "")
    assert check(tmp_path / "a.whl", {"python/ascend_prefetch/__init__.py"}) == wrong
