"""Ops as separate kernels: the results of the fused ones, a kernel for each step."""

import pytest
import torch

from ascend_prefetch import _lab
from ascend_prefetch.lab import twin
from ascend_prefetch.lab.bench.common import poisoned_empty
from ascend_prefetch.lab.sanitize import CASES
from mla_cases import same_bits
from traces import FIXPIPE, STORE, Trace

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


@pytest.mark.parametrize("name", ["mla_prolog", "sfa_prolog"])
def test_a_kernel_does_its_own_step(name):
    """Rows that another one writes as well would be written again by its own."""
    writers = {
        "q_c": ["q_norm"],
        "kv_cache": ["kv_norm_rope_cache"],
        "rope_cache": ["kv_norm_rope_cache"],
        "q_rope": ["q_rope"],
        "q_nope": ["w_uk"],
    }
    if name == "sfa_prolog":
        writers |= {
            "indexer_cache": ["indexer_norm_rope_cache"],
            "indexer_weights": ["indexer_weights_proj"],
            "indexer_q": ["indexer_wq_b", "indexer_q_rope"],
        }
    stored = {tensor: [] for tensor in writers}
    for trace in launched(name):
        tensors = {
            trace.tensors.get(record[2])
            for core in range(trace.core_count)
            for record in trace.records(core)
            if record[0] in (STORE, FIXPIPE)
        }
        for tensor in tensors & stored.keys():
            stored[tensor].append(trace.kernel)
    assert stored == writers


def test_only_inside_the_block():
    with pytest.raises(ZeroDivisionError), twin.separate_kernels():
        assert _lab.separate_kernels()
        raise ZeroDivisionError
    assert not _lab.separate_kernels()
    assert torch.is_tensor(FUSED[0].run()[0])
