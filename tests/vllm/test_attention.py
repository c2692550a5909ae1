"""Steps through vLLM Ascend's attention with the plugin and without it.

Every case runs three times on equal weights, inputs and caches: layers of upstream, layers with the
plugin switched off, which must be the same to the bit, and with it. What attention and the indexer
received, every byte of the caches and the outputs are compared; compare.tolerance says how closely,
and why. Ops are counted: fused where they have to be, none where a step goes upstream's way.
"""

from __future__ import annotations

import functools
from collections import Counter

import pytest

import compare
import environment
import models
from steps import Scenario

_CACHED = (5, 130, 200)
SCENARIOS = [
    Scenario("decode", _CACHED, (1, 1, 1)),
    Scenario("decode, padded rows", _CACHED, (1, 1, 1), padding=5),
    Scenario("decode, padded requests", _CACHED, (1, 1, 1), empty=5),
    Scenario("2 tokens per request", _CACHED, (2, 2, 2), padding=2, speculative=1),
    Scenario("decode, strided caches", _CACHED, (1, 1, 1), strided=True),
    Scenario("prefill and decode", (5, 130, 0), (1, 1, 6), padding=2),
    Scenario("prefill", (0, 0), (3, 5)),
    Scenario("profile run", profile=True),
]
MODELS = [models.DEEPSEEK_V3, models.DEEPSEEK_V2_LITE, models.DEEPSEEK_V32, models.GLM_5]
CASES = [
    (model, quantisation, scenario)
    for model in MODELS
    for quantisation in models.QUANTISATIONS
    for scenario in SCENARIOS
    # Upstream's own sparse layers view an indexer's cache as rows.
    if not (model.sparse and scenario.strided)
]


@functools.lru_cache(maxsize=2)
def pair(model: models.Model, quantisation: str, speculative: int) -> compare.Pair:
    return compare.Pair(model, quantisation, speculative=speculative)


def expected_ops(model: models.Model, scenario: Scenario, layers: int = 1) -> dict[str, int]:
    """Sparse attention fuses all rows; dense attention steps without prefills."""
    prefills = any(cached == 0 for cached in scenario.cached)
    if scenario.profile or (prefills and not model.sparse):
        return {}
    return {"sfa_prolog" if model.sparse else "mla_prolog": layers, "o_proj": layers}


def check(rows, layers: compare.Pair, quantisation: str, scenario: Scenario, *, name: str = ""):
    """Runs the case, adds its row to the table, and asserts."""
    model, count = layers.plain.model, len(layers.plain.modules)
    plain, off, on, calls = layers.run(scenario)
    found = compare.errors(on, plain, scenario)
    ops = Counter(name for name, _ in calls)
    fused = sum(ops.values())
    title = name or scenario.name
    rows.append(compare.table_row(model.name, quantisation, title, fused, found))
    assert not any(compare.errors(off, plain, scenario).values()), "switched off"
    assert ops == expected_ops(model, scenario, count)
    assert not compare.beyond_tolerance(quantisation, found)
    if not fused:
        assert not any(found.values()), "upstream's own path"


@pytest.mark.parametrize(
    ("model", "quantisation", "scenario"),
    CASES,
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_step_equals_upstreams(rows, model, quantisation, scenario):
    check(rows, pair(model, quantisation, scenario.speculative), quantisation, scenario)


def test_a_step_at_larger_size(rows):
    layers = compare.Pair(models.DEEPSEEK_V3_LARGE, "bf16")
    check(rows, layers, "bf16", SCENARIOS[0])


@pytest.mark.parametrize("quantisation", models.QUANTISATIONS)
def test_layers_without_an_indexer(rows, quantisation):
    """The second layer takes the first one's choice of tokens; releases before 0.23 have none."""
    overrides = {"indexer_types": ["full", "shared", "full"], "index_topk_pattern": "FSF"}
    if environment.start().startswith("0.18."):
        layers = compare.Pair(models.GLM_5, quantisation)
        assert not hasattr(layers.plain.impls[0], "has_indexer")
        return
    layers = compare.Pair(models.GLM_5, quantisation, count=2, overrides=overrides)
    assert [impl.has_indexer for impl in layers.plain.impls] == [True, False]
    check(rows, layers, quantisation, SCENARIOS[1], name="no indexer in layer 1")


@pytest.mark.parametrize("model", [models.DEEPSEEK_V3, models.DEEPSEEK_V32], ids=lambda m: m.name)
def test_a_bias_that_upstream_leaves_out(rows, model):
    """kv_a_layernorm's, which reaches no cache of upstream's: rows of ours must not differ.

    Where the first comparison fails, that release adds it, and the plugin may fuse such layers.
    """
    from ascend_prefetch.vllm import release

    layers, scenario = compare.Pair(model, "W8A8 static"), SCENARIOS[0]
    before, _, _, calls = layers.run(scenario)
    assert Counter(name for name, _ in calls) == expected_ops(model, scenario)
    for impl in (*layers.plain.impls, *layers.fused.impls):
        impl.kv_a_layernorm.bias.data.fill_(0.25)
    release()
    plain, _, on, calls = layers.run(scenario)
    assert not any(compare.errors(plain, before, scenario).values()), "upstream adds it"
    assert Counter(name for name, _ in calls) == {"o_proj": 1}
    found = compare.errors(on, plain, scenario)
    assert not compare.beyond_tolerance("W8A8 static", found)
    rows.append(compare.table_row(model.name, "W8A8 static", "kv norm bias", 1, found))
