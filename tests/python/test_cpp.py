"""Runs every C++ test of tests/cpp as a test of its own."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("ASCEND_PREFETCH_BUILD_DIR", ROOT / "build"))


def cpp_tests():
    for source in sorted((ROOT / "tests" / "cpp").rglob("test_*.cpp")):
        executable = BUILD / "tests" / "cpp" / source.stem
        if not executable.exists():
            raise FileNotFoundError(f"{executable} is not built: run `make build`")
        listed = subprocess.run([executable, "--list"], check=True, capture_output=True, text=True)
        for name in listed.stdout.split():
            yield pytest.param(executable, name, id=f"{source.stem}.{name}")


@pytest.mark.parametrize("executable, name", list(cpp_tests()))
def test_cpp(executable, name):
    run = subprocess.run([executable, name], capture_output=True, text=True)
    if run.returncode != 0:
        pytest.fail(f"exit status {run.returncode}\n{run.stdout}{run.stderr}", pytrace=False)
