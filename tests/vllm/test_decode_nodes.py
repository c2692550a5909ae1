"""Workers that only decode, behind a KV transfer, and what upstream's fused prologs keep there.

Upstream makes copies of the weights for its own fused prologs (MLAPO, PROLOG_V3) and frees the
originals on such workers. The plugin's ops read the originals: layers whose prolog it runs keep
them, upstream makes no copies, and steps that go upstream run upstream's projections.
"""

from __future__ import annotations

import functools
from collections import Counter

import pytest
import torch

import compare
import environment
import layers
import memory
import models
from steps import Scenario
from test_attention import check, expected_ops

DECODE = Scenario("decode", (5, 130, 200), (1, 1, 1))
MIXED = Scenario("prefill and decode", (5, 130, 0), (1, 1, 6), padding=2)
PREFILL = Scenario("prefill", (0, 0), (3, 5))
MODELS = [models.DEEPSEEK_V3, models.DEEPSEEK_V32, models.GLM_5]
NODES = {"decode node": "kv_consumer", "no transfer": None}


@functools.lru_cache(maxsize=1)
def pair(model: models.Model, quantisation: str, node: str) -> compare.Pair:
    """Layers on such a node; those without the plugin are built so that upstream can run them."""
    return compare.Pair(model, quantisation, fused=dict(kv_role=NODES[node], mlapo=True))


def copies(impl) -> list[str]:
    """Names of the weights that a layer holds for upstream's own fused prologs."""
    names = ("wd_qkv", "wu_q", "weight_dq", "weight_uq_qr", "weight_dkv_kr")
    return [name for name in names if getattr(impl, name, None) is not None]


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("quantisation", models.QUANTISATIONS)
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
def test_layers_run_fused(rows, model, quantisation, node):
    found = pair(model, quantisation, node)
    for scenario in (DECODE, MIXED, PREFILL):
        check(rows, found, quantisation, scenario, name=f"{node}, {scenario.name}")
    assert not copies(found.fused.impls[0])


@pytest.mark.parametrize("model", [models.DEEPSEEK_V3, models.DEEPSEEK_V32], ids=lambda m: m.name)
def test_upstream_alone_frees_the_weights(model):
    """What the other tests stand on: without the plugin these layers have no originals."""
    (impl,) = layers.Layers(model, "W8A8 static", kv_role="kv_consumer", mlapo=True).impls
    weight = impl.fused_qkv_a_proj.weight
    assert weight is None or not weight.numel()
    assert copies(impl)


@pytest.mark.parametrize("quantisation", models.QUANTISATIONS)
@pytest.mark.parametrize("model", [models.DEEPSEEK_V3, models.DEEPSEEK_V32], ids=lambda m: m.name)
def test_memory_is_that_of_upstream_without_its_fused_prologs(monkeypatch, model, quantisation):
    layers.Layers(model, quantisation)  # makes what a process makes once
    off = measured(monkeypatch, model, quantisation)
    on = {"ascend_prefetch": {"enabled": True}}
    for role in NODES.values():
        settings = dict(kv_role=role, mlapo=True)
        fused = measured(monkeypatch, model, quantisation, additional=on, **settings)
        # The plugin's own: scale and offset of a static linear layer's input, 4 bytes each.
        own = 32 * LAYERS if quantisation == "W8A8 static" else 0
        assert fused.kept <= off.kept + own
        assert fused.peak <= off.peak + own + 1024  # for a moment, while arguments are made
        upstream = measured(monkeypatch, model, quantisation, **settings)
        if quantisation == "W8A8 static" and (role is not None or model.sparse):
            assert fused.peak < upstream.peak


LAYERS = 2


def measured(monkeypatch, model, quantisation, **settings) -> memory.Memory:
    """The memory of loaded layers, with its peak while their weights are processed, all at once."""
    environment.start()
    process, waiting = layers.process, []
    with monkeypatch.context() as patch, memory.record() as result:
        patch.setattr(layers, "process", waiting.append)
        made = layers.Layers(model, quantisation, count=LAYERS, **settings)
        with (
            environment.mlapo(settings.get("mlapo", False)),
            environment.context(made.config),
            memory.part(),
        ):
            for module in waiting:
                process(module)
    return result


def test_a_process_that_starts_switched_off_leaves_all_to_upstream():
    from ascend_prefetch.vllm import turn

    turn(False)
    try:
        on = {"ascend_prefetch": {"enabled": True}}
        settings = dict(additional=on, kv_role="kv_consumer", mlapo=True)
        (impl,) = layers.Layers(models.DEEPSEEK_V3, "W8A8 static", **settings).impls
    finally:
        turn(True)
    assert impl.fused_qkv_a_proj.weight is None
    assert copies(impl)
    assert impl.fused_weights.ready(impl) is None


def test_layers_that_go_upstream_keep_upstreams_fused_prolog():
    on = {"ascend_prefetch": {"enabled": True, "prolog": False}}
    settings = dict(additional=on, kv_role="kv_consumer", mlapo=True)
    (impl,) = layers.Layers(models.DEEPSEEK_V3, "W8A8 static", **settings).impls
    assert impl.enable_mlapo
    assert copies(impl)


def test_decode_nodes_count_ops():
    """All layers, not the first alone."""
    found = compare.Pair(
        models.DEEPSEEK_V3, "W8A8 static", count=2, fused=dict(kv_role="kv_consumer", mlapo=True)
    )
    *_, calls = found.run(DECODE)
    assert Counter(name for name, _ in calls) == expected_ops(models.DEEPSEEK_V3, DECODE, 2)
    assert all(isinstance(impl.q_proj.weight, torch.Tensor) for impl in found.fused.impls)
