"""Prefetches before qkv_a and o_proj: of the attention backends, and of static W8A8 layers."""

import inspect
from types import SimpleNamespace

import pytest
import torch

from ascend_prefetch import _C, planning
from ascend_prefetch.lab import twin
from ascend_prefetch.packing import nd_to_nz
from ascend_prefetch.policy import (
    Claim,
    PrefetchConfig,
    StepContext,
    WeightPrefetchMethod,
    WindowPlanner,
)
from ascend_prefetch.policy.method import MLP_MAX_TOKENS, MOE_MIN_ROWS
from ascend_prefetch.policy.sites import MAX_MLP_BYTES
from policy_model import LAUNCH_BYTES, Diary, Holder, Model, dense_layer, linear

QKV, ROW = "AscendQKVParallelLinear", "AscendRowParallelLinear"
X = torch.ones(16, 8)
OFF = PrefetchConfig(enabled=False)


def with_ratios(**ratios):
    return PrefetchConfig(enabled=True, prefetch_ratio={"attn": ratios})


def attention(**options):
    """A policy of attention sites whose caller joins, and its engine."""
    engine = Diary()
    settings = options.pop("settings", PrefetchConfig(enabled=True))
    policy = WeightPrefetchMethod(settings, **{"engine": engine, "caller_joins": True, **options})
    return policy, engine


def before_qkv_a(policy, weight, **options):
    policy.maybe_prefetch_mla_or_sla_weight_in_current_stream(
        inputs=weight, dependency=X, **options
    )


def before_o_proj(policy, layer, max_size=16 << 20):
    before_qkv_a(policy, layer.weight, max_size=max_size, linear_layer=layer)


def quantise(policy, name, weight):
    """The sites of a static W8A8 layer, as its apply() calls them."""
    policy.maybe_prefetch_attn_weight_preprocess(layer_cls_name=name, weight=weight, start_flag=X)
    policy.maybe_prefetch_attn_weight_postprocess(layer_cls_name=name, stop_flag=X)


# --- settings ---


@pytest.mark.parametrize("is_moe", [False, True])
def test_modules_by_kind_of_model(is_moe):
    policy = WeightPrefetchMethod(PrefetchConfig(enabled=True), is_moe=is_moe)
    assert policy.is_moe is is_moe
    assert policy.mla_sfa_prefetch_enable is True
    assert (policy.attn.enable, policy.moe.enable, policy.mlp.enable) == (True, is_moe, not is_moe)
    assert [module.module_name for module in (policy.attn, policy.moe, policy.mlp)] == [
        "attn",
        "moe",
        "mlp",
    ]
    assert policy.attn.prefetch_ratio == {"qkv": 1.0, "o": 1.0}
    assert policy.moe.prefetch_ratio == {"gate_up": 0.8}
    assert policy.mlp.prefetch_ratio == {"gate_up": 1.0, "down": 1.0}
    assert policy.attn.linear_prefix_map == {QKV: "qkv", ROW: "o"}
    assert not any(
        module.is_active_this_forward for module in (policy.attn, policy.moe, policy.mlp)
    )


def test_disabled():
    policy = WeightPrefetchMethod(OFF)
    assert policy.mla_sfa_prefetch_enable is False
    assert not any(module.enable for module in (policy.attn, policy.moe, policy.mlp))


def test_all_ratios_zero_disable_a_module():
    ratios = {"attn": {"qkv": 0, "o": 0}, "mlp": {"gate_up": 0}}
    settings = PrefetchConfig(enabled=True, prefetch_ratio=ratios)
    policy = WeightPrefetchMethod(settings, is_moe=False)
    assert (policy.attn.enable, policy.mlp.enable) == (False, True)


def test_settings_of_upstream():
    """Its WeightPrefetchConfig is an object with these two attributes."""
    settings = SimpleNamespace(enabled=True, prefetch_ratio={"attn": {}, "moe": {"gate_up": 0.5}})
    policy = WeightPrefetchMethod(settings)
    assert policy.attn.prefetch_ratio == {"qkv": 1.0, "o": 1.0}
    assert policy.moe.prefetch_ratio == {"gate_up": 0.5}
    settings.prefetch_ratio = {"moe": {"gate_up": 1.2}}
    message = "prefetch_ratio.moe.gate_up: expected a number from 0 to 1, got 1.2"
    with pytest.raises(ValueError, match=message):
        WeightPrefetchMethod(settings)


# --- before qkv_a and o_proj ---


def test_before_qkv_a():
    policy, engine = attention()
    weight = linear(4 << 20).weight
    before_qkv_a(policy, weight)
    (start,) = engine.events
    assert start.weight is weight
    assert start.after is X
    # From the end on: what is under way when the reader starts is what it needs last.
    assert start.pieces == [((4 << 20) - LAUNCH_BYTES, LAUNCH_BYTES)]
    policy.join()
    policy.join()
    assert engine.events[1:] == ["join"]


def test_max_size():
    policy, engine = attention()
    weight = torch.randn(1024, 1024)
    before_qkv_a(policy, weight, max_size=1024)
    assert engine.starts[0].pieces == [(weight.nbytes - 1024, 1024)]


def test_disabled_backend_sites():
    policy, engine = attention(settings=OFF)
    before_qkv_a(policy, linear(4 << 20).weight)
    policy.join()
    assert engine.events == []


def test_only_for_a_caller_who_joins():
    policy, engine = attention(caller_joins=False)
    before_qkv_a(policy, linear(4 << 20).weight)
    before_o_proj(policy, linear(4 << 20))
    assert engine.events == []
    assert policy.ledger.claims == []


def test_layer_of_o_proj_by_its_name():
    policy, _ = attention()
    before_o_proj(policy, linear(1 << 20, "model.layers.7.self_attn.o_proj"))
    before_o_proj(policy, linear(1 << 20, "o_proj"))
    policy.enter_layer(5)
    before_qkv_a(policy, linear(1 << 20).weight)
    start = (1 << 20) - LAUNCH_BYTES
    assert policy.ledger.claims == [
        Claim(7, "o_proj", "before o_proj", "SDMA", start, LAUNCH_BYTES, 0),
        Claim(None, "o_proj", "before o_proj", "SDMA", start, LAUNCH_BYTES, 0),
        Claim(5, "fused_qkv_a_proj", "before qkv_a", "SDMA", start, LAUNCH_BYTES, 0),
    ]


@pytest.mark.parametrize(("ratio", "nbytes"), [(1.0, 22 * 16384), (0.05, 52428), (0, 0)])
def test_ratios_cap(ratio, nbytes):
    for site, ratios in [
        (before_qkv_a, {"qkv": ratio, "o": 1.0}),
        (lambda policy, weight: before_o_proj(policy, Holder(weight=weight)), {"o": ratio}),
    ]:
        policy, engine = attention(settings=with_ratios(**ratios))
        site(policy, linear(1 << 20).weight)
        assert [start.bytes for start in engine.starts] == ([nbytes] if nbytes else [])


def test_weights_without_memory():
    policy, engine = attention()
    layer = linear(1 << 20)
    layer.weight.data = torch.empty(0, dtype=torch.int8)
    before_o_proj(policy, layer)
    layer.weight = None
    before_o_proj(policy, layer)
    shrunk = torch.zeros(1 << 20, dtype=torch.int8)
    shrunk.untyped_storage().resize_(0)
    before_qkv_a(policy, shrunk)
    assert engine.events == []


def test_layouts():
    policy, engine = attention()
    transposed = torch.empty(1024, 512, dtype=torch.bfloat16).t()
    fractal_nz = nd_to_nz(torch.zeros(1024, 1024, dtype=torch.int8))
    holes = torch.empty(1024, 1024)[:, ::2]
    for weight in (transposed, fractal_nz, holes):
        before_qkv_a(policy, weight)
    first, second = engine.starts
    assert first.weight.is_contiguous()
    assert first.weight.data_ptr() == transposed.data_ptr()
    assert second.weight is fractal_nz
    assert first.bytes == second.bytes == LAUNCH_BYTES


# --- sizes ---


@pytest.mark.parametrize("chip", ["Ascend910_9391", "Ascend910B4", "Ascend910B3"])
def test_the_planner_decides(chip):
    constants = _C.timing_constants()
    idle_us = constants["launch_us"]["low"]
    windows = [planning.Window("before qkv_a", (idle_us, idle_us, idle_us), 0)]
    hbm = {"hbm_rate": 1.0}
    ((offset, size, reason),) = _C.plan_sdma(chip, "qkv_a", 9 << 20, 0, windows, hbm)
    assert size <= idle_us * constants["sdma_rate"]["nominal"] * 1e6 < size + 16384
    with twin.chip(chip):
        policy, engine = attention()
        before_qkv_a(policy, linear(9 << 20).weight)
    assert engine.starts[0].pieces == [(offset, size)]
    (decision,) = policy.planner.decisions()
    assert decision == ("fused_qkv_a_proj", "SDMA", "before qkv_a", idle_us, size, reason)
    assert reason == "HBM idles for 1.3 us, in which SDMA brings 0.37 MB"


def test_a_window_that_is_known_better():
    planner = WindowPlanner("Ascend910B3", idle_us={"before qkv_a": 10.0})
    policy, engine = attention(planner=planner)
    before_qkv_a(policy, linear(9 << 20).weight)
    assert engine.starts[0].bytes == 2850000 // 16384 * 16384
    before_qkv_a(policy, linear(8 << 20).weight, max_size=1 << 20)
    assert engine.starts[1].bytes == 1 << 20
    assert planner.decisions()[1].reason.endswith("SDMA brings 2.85 MB, capped at 1.05")


def test_decisions_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(WindowPlanner, "_MAX_KEPT", 8)
    policy, engine = attention()
    weight = linear(1 << 20).weight
    for size in range(1, 30):
        policy.ledger.begin_step()
        before_qkv_a(policy, weight, max_size=size)
        assert engine.starts[-1].bytes == size
        assert len(policy.planner.decisions()) <= 8


# --- static W8A8 layers ---


def test_quantise_qkv():
    policy, engine = attention(caller_joins=False)
    weight = linear(4 << 20).weight
    quantise(policy, QKV, weight)
    start, join = engine.events
    assert start.weight is weight
    assert start.after is X
    nbytes = 741000 // 16384 * 16384  # two launches
    assert start.pieces == [((4 << 20) - nbytes, nbytes)]
    assert join == "join"


def test_disabled_static_layers():
    policy, engine = attention(settings=OFF)
    quantise(policy, QKV, linear(1 << 20).weight)
    assert engine.events == []


@pytest.mark.parametrize(("qkv", "o"), [(0, 1.0), (0.5, 0)])
def test_ratio_0_beside_another_is_nothing(qkv, o):
    model = Model([dense_layer(0)], with_ratios(qkv=qkv, o=o))
    quantise(model.policy, QKV, model.weight(0, "self_attn.qkv_proj"))
    quantise(model.policy, ROW, model.weight(0, "self_attn.o_proj"))
    (name,) = [name for name, _ in model.fetched()]
    assert name == ("0.self_attn.qkv_proj.weight" if qkv else "0.self_attn.o_proj.weight")
    assert model.engine.events[-1] == "join"


@pytest.mark.parametrize("known", ["by search", "by the context", "by enter_layer"])
def test_an_output_projection_is_one(known):
    model = Model([dense_layer(i) for i in range(3)])
    if known == "by the context":
        model.next_step(layer=1)
    if known == "by enter_layer":
        model.policy.enter_layer(1)
    for _ in range(2):
        quantise(model.policy, ROW, model.weight(1, "mlp.down_proj"))
        assert model.engine.events == []
    quantise(model.policy, ROW, model.weight(1, "self_attn.o_proj"))
    assert [name for name, _ in model.fetched()] == ["1.self_attn.o_proj.weight"]
    assert [claim.layer for claim in model.policy.ledger.claims] == [1]


def test_an_output_projection_of_a_reloaded_model():
    model = Model([dense_layer(i) for i in range(2)])
    for _ in range(3):
        quantise(model.policy, ROW, model.weight(1, "self_attn.o_proj"))
        assert len(model.starts) == 1
        model.next_step()
        model.layers[1].self_attn.o_proj.weight = linear(4 << 20).weight
    assert len(model.policy._output_layers) <= 1


@pytest.mark.parametrize(
    "name",
    ["AscendRowParallelLinearX", "RowParallelLinear", "AscendReplicatedLinear", "", QKV.lower()],
)
def test_classes_by_their_exact_name(name):
    model = Model([dense_layer(0)])
    quantise(model.policy, name, model.weight(0, "self_attn.o_proj"))
    assert model.engine.events == []


def test_o_proj_is_not_fetched_twice():
    """Upstream asks for a static W8A8 o_proj before the layer and in it."""
    model = Model([dense_layer(0)], caller_joins=True)
    layer = model.layers[0].self_attn.o_proj
    before_o_proj(model.policy, layer)
    quantise(model.policy, ROW, layer.weight)
    first, second, _ = model.engine.events
    size, both = 4 << 20, 45 * 16384
    # The window of the second one is longer: it brings what that takes more.
    assert first.pieces == [(size - LAUNCH_BYTES, LAUNCH_BYTES)]
    assert second.pieces == [(size - both, both - LAUNCH_BYTES)]
    assert [claim.refused for claim in model.policy.ledger.claims] == [0, LAUNCH_BYTES]
    for _ in range(3):
        before_o_proj(model.policy, layer)
        quantise(model.policy, ROW, layer.weight)
    assert len(model.starts) == 2


def test_what_a_kernel_brings_is_left_to_it():
    policy, engine = attention()
    layer = linear(1 << 20, "model.layers.2.self_attn.o_proj")
    policy.ledger.claim(layer.weight, layer=2, site="mla_prolog", engine="MTE2", name="o_proj")
    before_o_proj(policy, layer)
    assert engine.events == []
    assert policy.ledger.totals.refused == LAUNCH_BYTES


# --- steps and switches ---


def test_again_in_every_step():
    model = Model([dense_layer(0)], caller_joins=True)
    for _ in range(3):
        for _ in range(2):
            before_o_proj(model.policy, model.layers[0].self_attn.o_proj)
        assert len(model.starts) == 1
        model.next_step()


def test_the_layer_is_forgotten_with_its_step():
    model = Model([dense_layer(i) for i in range(2)], caller_joins=True)
    model.policy.enter_layer(1)
    model.next_step()
    before_qkv_a(model.policy, linear(1 << 20).weight)
    assert [claim.layer for claim in model.policy.ledger.claims] == [None]


@pytest.mark.parametrize(
    "context",
    [None, StepContext(None), StepContext(object(), None, None, 3), StepContext(1, 5, [])],
)
@pytest.mark.parametrize("is_moe", [False, True])
def test_no_context_no_crash(context, is_moe):
    policy, engine = attention(context=lambda: context, is_moe=is_moe)
    policy.enter_layer(0)
    before_qkv_a(policy, linear(1 << 20).weight)
    before_o_proj(policy, linear(1 << 20))
    quantise(policy, QKV, linear(1 << 20).weight)
    assert len(engine.starts) == 3
    quantise(policy, ROW, linear(1 << 20).weight)
    policy.maybe_prefetch_moe_weight_preprocess(torch.ones(96, 8), "gate_up")
    policy.maybe_prefetch_moe_weight_postprocess(X)
    prefix = "model.layers.0.self_attn.o_proj"
    policy.maybe_prefetch_mlp_weight_preprocess(policy.MLP_GATE_UP, X, prefix)
    policy.maybe_prefetch_mlp_weight_postprocess(X)
    policy.maybe_prefetch_mlp_weight_preprocess(policy.MLP_DOWN, None)
    policy.maybe_prefetch_mlp_weight_postprocess(X)
    assert len(engine.starts) == 3


def test_switch():
    on = [False]
    policy, engine = attention(switch=lambda: on[0])
    weight = linear(1 << 20).weight
    before_qkv_a(policy, weight)
    quantise(policy, QKV, weight)
    assert engine.events == []
    on[0] = True
    before_qkv_a(policy, weight)
    on[0] = False
    policy.join()
    assert engine.events[1:] == ["join"]


# --- call sites of vLLM Ascend 0.18.0 and 0.23.0 ---


@pytest.mark.parametrize(
    ("site", "parameters"),
    [
        (
            "maybe_prefetch_mla_or_sla_weight_in_current_stream",
            "inputs, dependency, max_size=0, linear_layer=None",
        ),
        ("maybe_prefetch_attn_weight_preprocess", "layer_cls_name, weight, start_flag"),
        ("maybe_prefetch_attn_weight_postprocess", "layer_cls_name, stop_flag"),
        ("maybe_prefetch_moe_weight_preprocess", "hidden_states, prefix"),
        ("maybe_prefetch_moe_weight_postprocess", "stop_flag"),
        (
            "maybe_prefetch_mlp_weight_preprocess",
            "prefetch_layer_name, x_dependency, curr_layer_prefix=None",
        ),
        ("maybe_prefetch_mlp_weight_postprocess", "stop_flag"),
    ],
)
def test_signatures(site, parameters):
    signature = inspect.signature(getattr(WeightPrefetchMethod, site))
    given = [
        name if parameter.default is parameter.empty else f"{name}={parameter.default}"
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    assert ", ".join(given) == parameters


def test_constants():
    names = (WeightPrefetchMethod.MLP_GATE_UP, WeightPrefetchMethod.MLP_DOWN)
    assert names == ("gate_up", "down")
    assert (MOE_MIN_ROWS, MLP_MAX_TOKENS, MAX_MLP_BYTES) == (96, 499, 18 * 1024 * 1024)
