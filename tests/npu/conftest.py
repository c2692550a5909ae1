"""What tests that are about a device itself share. They skip where there is none."""

from __future__ import annotations

from types import ModuleType

import pytest

from ascend_prefetch.lab import npu as npus
from devices import usable_npu


@pytest.fixture(scope="session")
def npu() -> ModuleType:
    """torch.npu. Skips without a device; fails with one that cannot be used."""
    usable_npu(npus.status())
    return npus.require().npu
