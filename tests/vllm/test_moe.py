"""Decoder layers with experts: what they compute, and what the plugin counts of their weights."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import compare
import models
import moe
from steps import Scenario

MODELS = [models.DEEPSEEK_V3_MOE, models.DEEPSEEK_V32_MOE]
QUANTISATIONS = ("bf16", "W8A8 dynamic")
DECODE = Scenario("decode, experts", (5, 130, 200), (1, 1, 1))
PLUGIN = {"ascend_prefetch": {"enabled": True}}


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_experts_compute_their_formula(quantisation):
    model = models.DEEPSEEK_V3_MOE
    layers = moe.MoELayers(model, quantisation, count=2)
    x = torch.randn(7, 512, generator=torch.Generator().manual_seed(3)).bfloat16()
    for layer in range(2):
        found = moe.feed_forward(layers, layer, x)
        wanted = moe.reference(model, quantisation, layer, x)
        tolerance = compare.tolerance(quantisation, "outputs")
        assert compare.distance(found, wanted) < tolerance


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_step_equals_upstreams(rows, model, quantisation):
    plain = moe.MoELayers(model, quantisation, count=2)
    fused = moe.MoELayers(model, quantisation, count=2, additional=PLUGIN)
    plain.enter()
    wanted = moe.run(plain, DECODE)
    fused.enter()
    with compare.count_ops() as ops:
        found = moe.run(fused, DECODE)
    errors = compare.errors(found, wanted, DECODE)
    rows.append(compare.table_row(model.name, quantisation, DECODE.name, len(ops), errors))
    prolog = "sfa_prolog" if model.sparse else "mla_prolog"
    assert Counter(name for name, _ in ops) == {prolog: 2, "o_proj": 2}
    assert not moe.beyond_tolerance(quantisation, errors)
    # The first layer's o_proj knows what passes before the second layer's prolog.
    passing = [arguments.get("prefetch_passing_bytes") for name, arguments in ops if "o_" in name]
    read = feed_forward_of(fused, 0).bytes(DECODE.rows)
    assert passing[1] in (None, [read])


def feed_forward_of(layers: moe.MoELayers, layer: int):
    from ascend_prefetch.vllm.neighbours import FeedForward, place_of

    return FeedForward(layers.config, place_of(layers.names[layer]))


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_what_passes_through_l2_is_what_is_loaded(quantisation):
    model = models.DEEPSEEK_V3_MOE
    layers = moe.MoELayers(model, quantisation)
    found = feed_forward_of(layers, 0)
    expert, always = moe.bytes_of(model, quantisation)
    assert (found.experts, found.expert, found.chosen) == (8, expert, 2)
    assert always <= found.dense < 1.2 * always  # scales and offsets are small
    assert found.bytes(1) == found.dense + 2 * expert
    assert found.bytes(100) == found.dense + 8 * expert


def test_a_layer_without_its_experts_is_unknown():
    from ascend_prefetch.vllm.fallback import UpstreamChanged

    layers = moe.MoELayers(models.DEEPSEEK_V3_MOE, "bf16")
    kept = layers.config.compilation_config.static_forward_context
    for name in [name for name in kept if name.endswith("experts")]:
        del kept[name]
    with pytest.raises(UpstreamChanged, match="layer 0 of model has no experts"):
        feed_forward_of(layers, 0)
