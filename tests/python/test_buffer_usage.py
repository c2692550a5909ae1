"""twin.buffer_usage: what launches take of the local buffers."""

import pytest
import torch

from ascend_prefetch import ops
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.sanitize import CASES
from ascend_prefetch.lab.twin import BufferUsage


def test_a_launch_tells_its_peaks_and_capacities():
    run = next(case.run for case in CASES if case.name == "mla_prolog")
    with twin.buffer_usage() as launches:
        run()
        ops.prefetch([torch.zeros(1 << 16)])
    prolog, prefetch = launches
    assert prolog.kernel.startswith("mla_prolog")
    assert list(prolog.buffers) == ["UB", "L1", "L0A", "L0B", "L0C", "BT", "FB"]
    kib = [usage.capacity / 1024 for usage in prolog.buffers.values()]
    assert kib == [183.75, 511.75, 64, 64, 128, 1, 2]
    for name in ("UB", "L1", "L0A", "L0B", "L0C"):
        assert 0 < prolog.buffers[name].peak <= prolog.buffers[name].capacity
    # Vector cores alone: they have UB and nothing else.
    assert prefetch.kernel == "prefetch"
    assert 0 < prefetch.buffers["UB"].peak <= 188160
    assert prefetch.buffers["L1"] == BufferUsage(0, 0)


def test_launches_outside_of_the_block_are_not_part_of_it():
    weights = [torch.zeros(64)]
    ops.prefetch(weights)
    with twin.buffer_usage() as launches:
        pass
    ops.prefetch(weights)
    assert launches == []


def test_one_block_at_a_time():
    with twin.buffer_usage(), pytest.raises(RuntimeError, match="being watched already"):
        with twin.buffer_usage():
            pass
    with twin.buffer_usage() as launches:
        ops.prefetch([torch.zeros(64)])
    assert len(launches) == 1
