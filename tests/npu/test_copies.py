"""A call copies nothing from the host to the device."""

import csv

import pytest
from device_calls import OPS, DeviceCall

from ascend_prefetch.lab import npu as npus
from ascend_prefetch.lab.first_hour.profiler import profile_table

pytestmark = pytest.mark.npu


@pytest.mark.parametrize("op", OPS)
def test_calls_only_launch(npu, op):
    """New shapes too: their plans go by value."""
    calls = [DeviceCall(op, tokens) for tokens in (1, 3, 16, 50)]
    calls[0]()  # loads the kernels
    npu.synchronize()
    table = profile_table(npus.require(), lambda: [call() for call in calls], "api_statistic.csv")
    names = [row["API Name"] for row in csv.DictReader(table.splitlines())]
    assert any("LaunchKernel" in name for name in names)
    assert [name for name in names if "Memcpy" in name] == []
