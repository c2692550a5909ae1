"""Fixtures shared by the Python tests."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from ascend_prefetch import _C
from devices import (  # noqa: F401  for pytest to find
    device,
    pytest_collection_modifyitems,
    pytest_generate_tests,
)
from devices import pytest_report_header as device_header

# A busy machine is no error of an example.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_configure(config: pytest.Config) -> None:
    # Processes of pytest-xdist share the machine's cores.
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(workers)))
    # Before there are tensors: the library brings an allocator for them (docs/device-build.md).
    if library := os.environ.get("ASCEND_PREFETCH_CPU_DEBUG"):
        _C.load_device(str(Path(library).resolve()))


# No transformers that is new enough runs on Python 3.10. Anywhere else a missing one is an error.
_WITHOUT_TRANSFORMERS = sys.version_info < (3, 11)
_TRANSFORMERS = re.compile(
    r"^(?:import|from) (?:transformers\b|transformers_mla|small_models)", re.M
)


def pytest_report_header() -> list[str]:
    left_out = ["tests of transformers are left out: none is new enough on Python 3.10"]
    return [device_header(), *(left_out if _WITHOUT_TRANSFORMERS else [])]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if _WITHOUT_TRANSFORMERS and collection_path.name.startswith("test_"):
        return True if _TRANSFORMERS.search(collection_path.read_text()) else None
    return None


@pytest.fixture(scope="module")
def inductor_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiler keeps what it made for the tests of one file."""
    return tmp_path_factory.mktemp("inductor")


@pytest.fixture
def fresh_compiler(inductor_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No code compiled by a test of another file or in an earlier run."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(inductor_directory))
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def fresh_plugin() -> Iterator[None]:
    """The plugin's own state as in a new process."""
    import vllm_stand_ins

    with vllm_stand_ins.fresh_plugin():
        yield


@pytest.fixture
def seam() -> Any:
    """A seam of the plugin to the stand-ins of upstream's classes."""
    import vllm_stand_ins

    return vllm_stand_ins.StandInSeam()


@pytest.fixture(scope="session")
def deepseek_v3_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Directory of a one-layer bf16 checkpoint with the attention dimensions of DeepSeek-V3.

    Written by transformers with random weights; 375 MB, all but 1 MB of it attention.
    """
    import transformers_mla  # takes seconds, and most tests do without

    directory = tmp_path_factory.mktemp("deepseek_v3")
    transformers_mla.save_checkpoint(transformers_mla.one_layer_config(), directory, torch.bfloat16)
    yield directory
    # pytest would keep it for three more sessions.
    shutil.rmtree(directory)
