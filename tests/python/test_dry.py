"""Dry launches: the traces of real ones, without their results."""

import pytest

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.common import poisoned_empty
from ascend_prefetch.lab.sanitize import CASES
from traces import HEADER, Trace


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dry_launch_has_the_trace_of_a_real_one(case):
    with twin.tracing() as real:
        case.run()
    with poisoned_empty(), twin.dry(), twin.tracing() as dry:
        case.run()
    assert [Trace(trace).without_addresses() for trace in dry] == [
        Trace(trace).without_addresses() for trace in real
    ]


def test_a_dry_launch_computes_nothing():
    case = next(case for case in CASES if case.name == "o_proj")
    with poisoned_empty(), twin.dry():
        results = case.run()
    assert all(result.isnan().all() for result in results)
    with poisoned_empty():
        assert all(result.isfinite().all() for result in case.run())


def test_a_dry_launch_has_nothing_to_sanitize():
    with twin.dry(), twin.sanitizing("full"):
        with pytest.raises(ValueError, match="a dry launch of 'o_proj_bf16' has no bytes"):
            next(case for case in CASES if case.name == "o_proj").run()
    assert not _lab.dry()


def test_large_products_are_traced_in_seconds():
    trace = _lab.trace_matmul("Ascend910B1", 8192, 8192, 8192, nz=False, dtype="fp16")
    assert HEADER.unpack_from(trace)[6] > 1_000_000
