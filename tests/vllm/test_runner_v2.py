"""Steps as Model Runner V2 makes them, which runs these layers since 0.29.

It calls the same forward of the same classes. Metadata comes from its own build_attn_metadata, and
the forward context from vLLM, with what vLLM Ascend's platform adds. Unlike the first runner it
tells attention of the rows of requests alone in eager mode and under piecewise graphs: hidden
states may have padding rows behind them, which sparse layers leave out since 0.30.
"""

from __future__ import annotations

from collections import Counter

import pytest

import compare
import environment
import models
import steps
import test_attention
from steps import Scenario

VERSION = environment.start()
if not VERSION.startswith(("0.29.", "0.30.")):
    pytest.skip("Model Runner V2 does not run these layers there", allow_module_level=True)
_CACHED = (5, 130, 200)
DECODE = Scenario("decode", _CACHED, (1, 1, 1))
PADDED = Scenario("decode, padded rows", _CACHED, (1, 1, 1), padding=5)
MIXED = Scenario("prefill and decode", (5, 130, 0), (1, 1, 6))
CASES = [
    (model, scenario)
    for model in (models.DEEPSEEK_V3, models.DEEPSEEK_V32)
    for scenario in (DECODE, PADDED, MIXED)
    # Upstream's own sparse layers want as many rows as slots before 0.30.
    if not (model.sparse and scenario.padding and VERSION.startswith("0.29."))
]


steps_metadata = steps.metadata


def metadata(layers, common) -> dict:
    """As steps.metadata, by the runner's own function."""
    import vllm.v1.worker.gpu.spec_decode.speculator  # noqa: F401, in 0.29 not imported by the next
    from vllm.v1.kv_cache_interface import KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.worker.utils import AttentionGroup
    from vllm_ascend.worker.v2.attn_utils import build_attn_metadata

    steps_metadata(layers, common)  # makes the builders
    groups = []
    for name in layers.names:
        builder = layers.builders[name]
        spec = builder.kv_cache_spec
        groups.append(AttentionGroup(type(builder), [name], spec, 0, [builder]))
    spec = groups[0].kv_cache_spec
    caches = KVCacheConfig(12, [], [KVCacheGroupSpec(layers.names, spec)])
    return build_attn_metadata(
        attn_groups=[groups],
        num_reqs=common.num_reqs,
        num_tokens=common.num_actual_tokens,
        query_start_loc_gpu=common.query_start_loc,
        query_start_loc_cpu=common.query_start_loc_cpu,
        max_query_len=common.max_query_len,
        seq_lens=common.seq_lens,
        max_seq_len=common.max_seq_len,
        block_tables=[common.block_table_tensor],
        slot_mappings=common.slot_mapping[None],
        kv_cache_config=caches,
        seq_lens_np=common.seq_lens_cpu.numpy(),
        positions=common.positions,
        attn_state=common.attn_state,
    )


def forward_context(layers, scenario: Scenario, metadata: dict | None):
    from vllm.forward_context import set_forward_context

    return set_forward_context(metadata, layers.config, num_tokens=scenario.rows)


@pytest.mark.parametrize("quantisation", ["bf16", "W8A8 dynamic"])
@pytest.mark.parametrize(
    ("model", "scenario"), CASES, ids=lambda value: value.name.replace(" ", "-")
)
def test_a_step_of_the_runner_equals_upstreams(rows, monkeypatch, model, scenario, quantisation):
    layers = compare.Pair(model, quantisation)
    # Not before: a configuration made for this runner asks for Triton.
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")
    monkeypatch.setattr(steps, "metadata", metadata)
    monkeypatch.setattr(steps, "forward_context", forward_context)
    assert layers.plain.config.use_v2_model_runner
    plain, off, on, calls = layers.run(scenario)
    found = compare.errors(on, plain, scenario)
    ops = Counter(name for name, _ in calls)
    title = f"{scenario.name}, runner V2"
    rows.append(compare.table_row(model.name, quantisation, title, sum(ops.values()), found))
    assert not any(compare.errors(off, plain, scenario).values())
    assert ops == test_attention.expected_ops(model, scenario)
    assert not compare.beyond_tolerance(quantisation, found)
