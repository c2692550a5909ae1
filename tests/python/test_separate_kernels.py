"""Ops as separate kernels: the results of the fused ones, a kernel for each step."""

import pytest
import torch

from ascend_prefetch import _C, twin
from ascend_prefetch.bench.common import poisoned_empty
from ascend_prefetch.sanitize import CASES
from mla_cases import same_bits
from traces import Trace

FUSED = [case for case in CASES if not case.name.startswith("prefetch")]


@pytest.mark.parametrize("mode", ["off", "full"])
@pytest.mark.parametrize("case", FUSED, ids=lambda case: case.name)
def test_results_are_those_of_the_fused_kernel(case, mode):
    with poisoned_empty(), twin.sanitizing(mode):
        fused = case.run()
        with twin.separate_kernels():
            separate = case.run()
    assert len(fused) == len(separate) > 0
    for actual, expected in zip(separate, fused, strict=True):
        assert same_bits(actual, expected)


def launched(name):
    case = next(case for case in CASES if case.name == name)
    with twin.separate_kernels(), twin.dry(), twin.tracing() as traces:
        case.run()
    return [Trace(trace) for trace in traces]


def test_a_kernel_for_each_step():
    prolog = ["qkv_a", "q_norm", "q_b", "kv_norm_rope_cache", "q_rope", "w_uk"]
    indexer = ["indexer_wk", "indexer_weights_proj", "indexer_norm_rope_cache"]
    indexer += ["indexer_wq_b", "indexer_q_rope"]
    assert [trace.kernel for trace in launched("mla_prolog")] == prolog
    assert [trace.kernel for trace in launched("sfa_prolog")] == prolog + indexer
    assert [trace.kernel for trace in launched("o_proj")] == ["w_uv", "o_proj"]


def test_only_inside_the_block():
    with pytest.raises(ZeroDivisionError), twin.separate_kernels():
        assert _C.separate_kernels()
        raise ZeroDivisionError
    assert not _C.separate_kernels()
    assert torch.is_tensor(FUSED[0].run()[0])
