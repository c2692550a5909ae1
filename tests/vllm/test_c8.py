"""Layers with int8 caches ("C8"), with the plugin and without it, as test_attention compares them.

Upstream's own path on the double quantises rows as the device does; the plugin's quantises the same
rows where the fused op has made them. Bytes of rows that no token writes stay as they are.
"""

from __future__ import annotations

import functools
from collections import Counter

import pytest
import torch

import compare
import environment
import models
import steps
import test_attention
from graphs import Captured
from steps import Scenario
from test_graphs import ONE_BY_ONE

VERSION = environment.start()
OLD = VERSION.startswith("0.18.")
# The switches, by what they make int8: the indexer's keys, latents, or both.
_SWITCHES = {
    "keys": {"enable_sparse_c8" if OLD else "enable_sparse_li_c8": True},
    "latents": {"enable_sparse_sfa_c8": True},
    "both": {"enable_sparse_sfa_c8": True, "enable_sparse_li_c8": True},
}
FORMATS = ("keys",) if OLD else tuple(_SWITCHES)
if VERSION.startswith("0.29."):  # upstream takes the type of packed latents from that of the keys
    FORMATS = ("keys", "both")
SCENARIOS = [
    scenario
    for scenario in test_attention.SCENARIOS
    if scenario.name in ("decode, padded requests", "2 tokens per request", "prefill and decode")
]


# From 0.29 on they are options of vllm serve.
OPTIONS = VERSION.startswith(("0.29.", "0.30."))


def switched_on(form: str) -> dict:
    """The settings of layers with int8 caches."""
    if not OPTIONS:
        return {"additional": _SWITCHES[form]}

    def prepare(config):
        if form != "keys":
            config.cache_config.cache_dtype = "int8"
        if form != "latents":
            config.attention_config.indexer_kv_dtype = "int8"

    return {"prepare": prepare}


@functools.lru_cache(maxsize=2)
def sparse(model, quantisation: str, form: str, speculative: int = 0, count: int = 1):
    return compare.Pair(
        model, quantisation, speculative=speculative, count=count, **switched_on(form)
    )


def check(rows, layers: compare.Pair, quantisation: str, scenario: Scenario, form: str) -> None:
    """Runs the case, adds its row to the table, and asserts."""
    model, count = layers.plain.model, len(layers.plain.modules)
    plain, off, on, calls = layers.run(scenario)
    found = compare.errors(on, plain, scenario)
    ops = Counter(name for name, _ in calls)
    title = f"int8 {form}, {scenario.name}"
    rows.append(compare.table_row(model.name, quantisation, title, sum(ops.values()), found, True))
    assert not any(compare.errors(off, plain, scenario).values()), "switched off"
    assert ops == test_attention.expected_ops(model, scenario, count)
    assert not compare.beyond_tolerance(quantisation, found, int8_caches=True)
    # Not by chance: with these caches upstream runs its own quantising ops.
    own = {"npu_dynamic_block_quant", "npu_dynamic_quant"}
    own |= {"npu_mla_prolog_v2", "npu_mla_prolog_v3"}
    quantised = any(cache.dtype is torch.int8 for caches in plain.caches for cache in caches)
    assert bool(own & set(plain.calls.names)) == (quantised or quantisation == "W8A8 dynamic")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("model", [models.DEEPSEEK_V32, models.GLM_5], ids=lambda m: m.name)
def test_sparse_steps_equal_upstreams(rows, model, form, scenario):
    check(rows, sparse(model, "bf16", form, scenario.speculative), "bf16", scenario, form)


@pytest.mark.parametrize("quantisation", ["W8A8 static", "W8A8 dynamic"])
@pytest.mark.parametrize("form", FORMATS)
def test_sparse_steps_of_quantised_layers(rows, form, quantisation):
    layers = sparse(models.GLM_5, quantisation, form)
    check(rows, layers, quantisation, SCENARIOS[0], form)


@pytest.mark.parametrize("form", FORMATS)
def test_layers_without_an_indexer(rows, form):
    """Their keys are another layer's, so that only their latents may be int8; 0.18 has none."""
    if OLD:
        assert not hasattr(sparse(models.GLM_5, "bf16", form).plain.impls[0], "has_indexer")
        return
    layers = compare.Pair(
        models.GLM_5,
        "bf16",
        count=2,
        **switched_on(form),
        overrides={"indexer_types": ["full", "shared", "full"], "index_topk_pattern": "FSF"},
    )
    assert [impl.has_indexer for impl in layers.plain.impls] == [True, False]
    check(rows, layers, "bf16", SCENARIOS[0], form)


def test_keys_that_are_stored_by_runs(rows):
    """With c8_enable_reshape_optim, a key of 0.23 to 0.27; later it is for prefill workers."""
    if not VERSION.startswith(("0.23.", "0.26.", "0.27.")):
        return
    settings = switched_on("both")
    additional = settings.pop("additional", {}) | {"c8_enable_reshape_optim": True}
    layers = compare.Pair(models.GLM_5, "bf16", additional=additional, **settings)
    for scenario in (SCENARIOS[-1], Scenario("over a block's end", (127, 255), (3, 4))):
        plain, _, on, _ = layers.run(scenario)
        assert plain.calls.names.count("store_kv_block") == 2
        assert on.calls.names.count("store_kv_block") == 2
        check(rows, layers, "bf16", scenario, "both, by runs")


DENSE_SCENARIOS = [s for s in SCENARIOS if s.name != "prefill and decode"]


def _with_int8_cache(config) -> None:
    if OPTIONS:
        config.cache_config.cache_dtype = "int8"


@functools.lru_cache(maxsize=2)
def dense(speculative: int = 0, count: int = 1) -> compare.Pair:
    """Layers with fa_quant, on a worker that only decodes."""
    return compare.Pair(
        models.DEEPSEEK_V3,
        "W8A8 dynamic",
        count=count,
        speculative=speculative,
        kv_role="kv_consumer",
        int8_latents=True,
        prepare=_with_int8_cache,
    )


@pytest.mark.parametrize("scenario", DENSE_SCENARIOS, ids=lambda scenario: scenario.name)
def test_dense_steps_equal_upstreams(rows, scenario):
    """fa_quant, which upstream runs on workers that only decode; upstream's path is its prolog."""
    layers = dense(scenario.speculative)
    assert all(impl.fa_quant_layer for impl in layers.plain.impls)
    plain, _, _, _ = layers.run(scenario)
    assert {"npu_mla_prolog_v2", "npu_mla_prolog_v3"} & set(plain.calls.names)
    check(rows, layers, "W8A8 dynamic", scenario, "latents, fa_quant")


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"dtype": torch.float8_e4m3fn}, "fa_quant caches in torch.float8_e4m3fn"),
        (
            {"fak_descale_float": torch.ones(2)},
            "prolog: fak_descale_float, the scale of fa_quant caches: [2], not [1]",
        ),
    ],
)
def test_other_dense_formats_go_upstream(change, reason):
    from ascend_prefetch.vllm import fallback

    (impl,) = dense.__wrapped__().fused.impls  # one of its own, as it is changed
    vars(impl).update(change)
    fallback.forget()
    arguments = impl.fused_weights.read(impl)
    assert arguments.prolog is None
    assert any(reason in line for line in fallback.reasons())


def test_other_types_go_upstream():
    """The newer chips' caches in float8, which 0.18 does not have."""
    if OLD:
        return
    (impl,) = compare.Pair(models.GLM_5, "bf16", **switched_on("keys")).fused.impls
    refusal = impl.family.seam.sfa_refusal
    assert refusal(impl) is None
    owner = getattr(impl.indexer, "impl", impl)  # since 0.28 the indexer has the type
    owner.c8_k_cache_dtype = torch.float8_e4m3fn
    assert refusal(impl) == "caches of sparse attention in torch.float8_e4m3fn"


@pytest.mark.parametrize("form", [*FORMATS, "fa_quant"])
def test_replays_equal_steps(rows, form):
    captured, replayed = ONE_BY_ONE
    if form == "fa_quant":
        layers, quantisation = dense(count=2), "W8A8 dynamic"
    else:
        layers, quantisation = sparse(models.GLM_5, "bf16", form, count=2), "bf16"
    layers.plain.enter()
    wanted = [steps.run(layers.plain, scenario, seed) for seed, scenario in enumerate(replayed)]
    layers.fused.enter()
    graph = Captured(layers.fused, captured)
    fused = [name for name in graph.calls if name.startswith("ascend_prefetch::")]
    assert len(fused) == 4
    for seed, scenario in enumerate(replayed):
        found = compare.errors(graph.replay(scenario, seed), wanted[seed], scenario)
        title = f"int8 {form}, replayed graph, {scenario.name}"
        name = layers.plain.model.name
        rows.append(compare.table_row(name, quantisation, title, len(fused), found, True))
        assert not compare.beyond_tolerance(quantisation, found, int8_caches=True)
