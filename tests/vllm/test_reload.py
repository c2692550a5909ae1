"""Quantised weights that are reloaded under a captured graph, which reads where they were.

Upstream's processing of W8A8 weights makes them anew, transposed, and their scales too. A graph has
to compute with the new ones, wherever they were put: the plugin moves them to where the graph
reads, and says so where it cannot.
"""

from __future__ import annotations

import pytest
import torch

import compare
import environment
import models
import steps
from graphs import Captured
from layers import Layers
from steps import Scenario

CAPTURED = Scenario("captured", (1,) * 4, (1,) * 4)
REPLAYED = Scenario("replayed", (5, 130, 200, 31), (1,) * 4)
ON = {"ascend_prefetch": {"enabled": True}}


@pytest.fixture
def reasons():
    from ascend_prefetch.vllm import fallback

    fallback.forget()
    yield fallback.reasons
    fallback.forget()


def put(layers: Layers, others: Layers, how: str) -> None:
    """Gives layers the tensors of others, as tensors of their own or in place of the old values."""
    for module, other in zip(layers.modules, others.modules, strict=True):
        for part, source in zip(module.modules(), other.modules(), strict=True):
            for home, new in ((part._parameters, source._parameters), (vars(part), vars(source))):
                for name, tensor in new.items():
                    if isinstance(tensor, torch.Tensor) and tensor.numel():
                        _put(home, name, tensor, how)
    for impl, other in zip(layers.impls, others.impls, strict=True):
        # Upstream's processing copies these to where they were.
        impl.W_UK_T.copy_(other.W_UK_T)
        impl.W_UV.copy_(other.W_UV)


def _put(home, name: str, tensor: torch.Tensor, how: str) -> None:
    if how == "in place":
        home[name].data.copy_(tensor)
    elif isinstance(home[name], torch.nn.Parameter):
        home[name].data = tensor.data.clone()
    else:
        home[name] = tensor.clone()


def process(layers: Layers) -> None:
    """The plugin's part of process_weights_after_loading, which a reload calls.

    Upstream's part needs kv_b_proj, which sparse layers have given up.
    """
    with environment.context(layers.config):
        for impl in layers.impls:
            impl.fused_weights.read(impl)


@pytest.mark.parametrize("how", ["replaced", "in place"])
@pytest.mark.parametrize("quantisation", models.QUANTISATIONS)
@pytest.mark.parametrize("model", [models.DEEPSEEK_V3, models.DEEPSEEK_V32], ids=lambda m: m.name)
def test_a_graph_computes_with_the_new_weights(rows, reasons, model, quantisation, how):
    plain = Layers(model, quantisation, seed=10)
    wanted = steps.run(plain, REPLAYED)
    layers = Layers(model, quantisation, additional=ON)
    graph = Captured(layers, CAPTURED)
    before = compare.errors(graph.replay(REPLAYED), wanted, REPLAYED)
    assert before["outputs"] > 0.5, "the weights differ"
    addresses = [impl.q_proj.weight.data_ptr() for impl in layers.impls]
    put(layers, plain, how)
    process(layers)
    found = compare.errors(graph.replay(REPLAYED), wanted, REPLAYED)
    rows.append(compare.table_row(model.name, quantisation, f"graph, weights {how}", 2, found))
    assert not compare.beyond_tolerance(quantisation, found)
    assert [impl.q_proj.weight.data_ptr() for impl in layers.impls] == addresses
    eager = compare.errors(steps.run(layers, REPLAYED), wanted, REPLAYED)
    assert not compare.beyond_tolerance(quantisation, eager)
    assert not [reason for reason in reasons() if "replaced" in reason or "freed" in reason]


def test_the_next_step_moves_them_too():
    """Where nothing told the layers of a reload."""
    model, quantisation = models.DEEPSEEK_V3, "W8A8 static"
    plain = Layers(model, quantisation, seed=10)
    wanted = steps.run(plain, REPLAYED)
    layers = Layers(model, quantisation, additional=ON)
    graph = Captured(layers, CAPTURED)
    put(layers, plain, "replaced")
    steps.run(layers, REPLAYED)
    found = compare.errors(graph.replay(REPLAYED), wanted, REPLAYED)
    assert not compare.beyond_tolerance(quantisation, found)


@pytest.mark.parametrize("let_go", [False, True])
def test_what_cannot_be_restored_is_said(reasons, let_go):
    from ascend_prefetch.vllm import release

    layers = Layers(models.DEEPSEEK_V3, "W8A8 static", additional=ON)
    Captured(layers, CAPTURED)
    (impl,) = layers.impls
    if let_go:
        release()
        process(layers)
        assert not any("let go" in reason for reason in reasons()), "nothing was replaced"
        release()
        impl.q_proj.weight.data = impl.q_proj.weight.data.clone()
        expected = "weight was replaced while its memory was let go"
    else:
        impl.q_proj.weight.data = impl.q_proj.weight.data.new_empty(0)
        expected = "weight was freed, or replaced by a tensor of another shape or type"
    process(layers)
    assert expected in reasons()
