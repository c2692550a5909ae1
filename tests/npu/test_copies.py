"""A call copies nothing from the host to the device."""

import csv

import pytest
from device_calls import OPS, DeviceCall

from ascend_prefetch.lab import npu as npus

pytestmark = pytest.mark.npu


def api_calls(path):
    """Names of the calls of CANN's interfaces in a profile."""
    (file,) = path.glob("*_ascend_pt/ASCEND_PROFILER_OUTPUT/api_statistic.csv")
    with file.open() as lines:
        return [row["API Name"] for row in csv.DictReader(lines)]


@pytest.mark.parametrize("op", OPS)
def test_calls_only_launch(npu, op, tmp_path):
    """New shapes too: their plans go by value. Source: Ascend PyTorch Profiler user guide."""
    calls = [DeviceCall(op, tokens) for tokens in (1, 3, 16, 50)]
    calls[0]()  # loads the kernels
    npu.synchronize()
    profiler = npus.require().profiler
    with profiler.profile(
        activities=[profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.NPU],
        on_trace_ready=profiler.tensorboard_trace_handler(str(tmp_path)),
        experimental_config=profiler._ExperimentalConfig(
            export_type=profiler.ExportType.Text,
            profiler_level=profiler.ProfilerLevel.Level1,
        ),
    ):
        for call in calls:
            call()
    names = api_calls(tmp_path)
    assert any("LaunchKernel" in name for name in names)
    assert [name for name in names if "Memcpy" in name] == []
