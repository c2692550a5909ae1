"""What the twin reports: its codes, and TwinError."""

import re
from pathlib import Path

import pytest

from ascend_prefetch import _C

TWIN = Path(__file__).resolve().parents[2] / "csrc" / "twin"
CODES = [code for code, _ in _C.error_codes()]


def twin_source():
    return "\n".join(path.read_text() for path in sorted((TWIN / "src").glob("*.cpp")))


def test_no_code_is_raised_that_the_table_does_not_have():
    raised = re.findall(r'\b(?:Fail|Error)\(\s*"([^"]*)"', twin_source())
    assert len(raised) > 60
    assert set(raised) - set(CODES) == set()


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_raised_somewhere_and_described(code):
    assert f'"{code}"' in twin_source()
    assert f"`{code}`" in (TWIN / "README.md").read_text()
