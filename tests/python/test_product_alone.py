"""An installation without the laboratory: it imports, plans, and serves on the double of ACL."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ascend_prefetch
from acl_double import LIBRARY

PACKAGE = Path(ascend_prefetch.__file__).parent
PARTS = ("ops", "planning", "policy", "models", "vllm", "packing", "linear", "backend", "effects")

O_PROJ = """
attn_output, weight = torch.randn(3, 64).bfloat16(), torch.randn(32, 64).bfloat16()
call = lambda: ascend_prefetch.o_proj(attn_output, weight, prefetch=[torch.randn(1 << 20)])
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """The package as it is installed without the laboratory."""
    folder = tmp_path_factory.mktemp("product")
    left_out = shutil.ignore_patterns("lab", "_lab*", "__pycache__")
    shutil.copytree(PACKAGE, folder / "ascend_prefetch", ignore=left_out)
    return folder


def run(product, *arguments):
    command = [sys.executable, *arguments]
    environment = {"PYTHONPATH": str(product)}
    return subprocess.run(command, env=environment, cwd=product, capture_output=True, text=True)


def run_code(product, code):
    done = run(product, "-c", f"import torch, json, ascend_prefetch\n{code}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_parts_are_imported(product):
    names = [f"ascend_prefetch.{part}" for part in PARTS]
    imports = "".join(f"import {name}\n" for name in names)
    found = run_code(product, f"{imports}import sys; print(json.dumps(sorted(sys.modules)))")
    assert set(names) <= set(found)
    assert not [name for name in found if name.startswith(("ascend_prefetch.lab", "_lab"))]


def test_it_serves_on_a_device(product):
    """What reaches ACL is the launch of the op's kernel."""
    code = f"""
import ctypes
from ascend_prefetch import _C
double = ctypes.CDLL({str(LIBRARY)!r})
double.double_calls.restype = ctypes.c_char_p
_C.load_device({str(LIBRARY)!r})
{O_PROJ}
shape = list(call().shape)
print(json.dumps([shape, double.double_calls().decode().splitlines()]))
"""
    shape, calls = run_code(product, code)
    assert shape == [3, 32]
    launches = [line for line in calls if line.startswith("launch")]
    assert len(launches) == 1 and launches[0].startswith("launch o_proj_bf16 on ")


def test_it_plans_without_a_device(product):
    """planning.explain has CPU tensors and launches nothing."""
    code = f"""
from ascend_prefetch import planning
{O_PROJ}
(plan,) = planning.explain(call)
print(json.dumps([plan.op, plan.expected_us, len(plan.decisions)]))
"""
    op, us, decisions = run_code(product, code)
    assert (op, decisions) == ("o_proj", 1)
    assert us > 0


def test_cpu_tensors_have_no_backend(product):
    code = f"""
{O_PROJ}
try:
    call()
except RuntimeError as error:
    print(json.dumps([str(error).splitlines()[0], ascend_prefetch.backends()["twin"]]))
"""
    error, twin = run_code(product, code)
    assert error == (
        "ascend_prefetch::o_proj: no backend for tensors on cpu; ascend_prefetch.backends() says "
        "which this installation has and why"
    )
    assert twin == [False, "this installation has no laboratory (ascend_prefetch._lab)"]


def test_there_is_no_command_line(product):
    done = run(product, "-m", "ascend_prefetch", "info")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "ascend_prefetch: this installation has no laboratory, and so no command line"
    ]
