"""The fixture that runs tests of the ops on a device as well; conftest.py files import it.

A module of such tests says `pytestmark = pytest.mark.usefixtures("device")`. Each test then comes
twice: with CPU tensors, and marked `npu` with the ops on an NPU (see on_device.py), but for tests
marked `twin`. Where there is no NPU they are left out, as the first lines of a run say; asked for
by `-m npu` they are skipped. Where there is an NPU and it cannot be used they fail.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ascend_prefetch.lab import npu
from on_device import OnDevice


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" not in metafunc.fixturenames:
        return
    devices = ["cpu"]
    if metafunc.definition.get_closest_marker("twin") is None:
        devices.append(pytest.param("npu", marks=pytest.mark.npu))
    metafunc.parametrize("device", devices, indirect=True, scope="module")


def pytest_report_header() -> str:
    status = npu.status()
    return f"no NPU: {status.missing}" if status.missing else f"NPU: {status.visible[0]}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what would be some thousand lines about one absent device."""
    if npu.status().visible or "npu" in config.option.markexpr:
        return
    left_out = [item for item in items if "device" in item.fixturenames and _is_marked(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker("npu") is not None


@pytest.fixture(scope="module")
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """What the ops run on: CPU (the twin), or an NPU."""
    device = torch.device("cpu") if request.param == "cpu" else usable_npu(npu.status())
    if device.type == "cpu":
        yield device
        return
    with OnDevice(device):
        yield device


def usable_npu(status: npu.NpuStatus) -> torch.device:
    """The NPU; skips the test where there is none, fails where one cannot be used."""
    if not status.visible:
        pytest.skip(f"no NPU: {status.missing}")
    if status.missing is not None:
        pytest.fail(f"no NPU: {status.missing}", pytrace=False)
    return torch.device("npu", torch.npu.current_device())
